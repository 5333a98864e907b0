"""The run of ``train``: train what has been prepared, save one file."""

from __future__ import annotations

import signal

from wsolrefine.cli.console import Problems, stop
from wsolrefine.cli.files import (
    FolderInUse,
    lock_folder,
    remove_temporary,
    termination_as_interrupt,
)
from wsolrefine.cli.train.batches import TrainingImages
from wsolrefine.cli.train.build import model_hash
from wsolrefine.cli.train.checkpoints import ForeignCheckpoint, Whole, last_whole
from wsolrefine.cli.train.options import Options, command_to_resume
from wsolrefine.cli.train.prepare import Run, prepare
from wsolrefine.cli.train.processes import is_first_process, starting_others
from wsolrefine.cli.train.report import exit_interrupted, print_file, print_resumed, print_run
from wsolrefine.cli.train.run_folder import CHECKPOINTS, read_run, write_run
from wsolrefine.cli.train.trainer import TrainingData, quiet_lightning
from wsolrefine.data import UnreadableImage
from wsolrefine.data.augment import RandomCrop
from wsolrefine.recipes import save_recipe


def run(options: Options) -> None:
    """Train a recipe, or stop."""
    first = is_first_process()
    ready = prepare(options, first)
    built, path = ready.built, options.out / f"{options.recipe.value}.safetensors"
    again = command_to_resume(options)
    try:
        if not first:
            _fit(ready, _last_whole(ready)[0])
            return
        options.out.mkdir(parents=True, exist_ok=True)
        with lock_folder(options.out), termination_as_interrupt():
            whole, problems = _last_whole(ready)  # before anything is replaced
            _register(ready)
            print_run(options, ready.settings, ready.reader, built)
            if options.resume:
                print_resumed(whole, problems)
            _fit(ready, whole)
            save_recipe(path, built.recipe, built.metadata)
    except FolderInUse:
        stop(f"another run is writing to {options.out}: wait for it, or choose another --out", 1)
    except KeyboardInterrupt:
        exit_interrupted(options, ready.saving.epochs, built.recipe.epochs)
    except UnreadableImage as error:
        stop(f"{error}. Fix this image and continue: {again}", 1)
    except FloatingPointError as error:
        epochs = ready.saving.epochs
        kept = f" The checkpoint after epoch {epochs} is kept." if epochs else ""
        stop(f"{error}. Choose a lower --lr or other settings, and another --out.{kept}", 1)
    except OSError as error:
        reason = error.strerror or error
        stop(f"cannot write to {options.out} ({reason}). Mend this and continue: {again}", 1)
    print_file(path)


def _register(ready: Run) -> None:
    """Write the settings of the run, now that no other run can write to the folder."""
    out = ready.options.out
    if not ready.options.resume and read_run(out) is not None:
        stop(f"another run has started in {out}: choose another --out", 1)
    remove_temporary(out, out / CHECKPOINTS)
    write_run(out, ready.settings, ready.data, model_hash(ready.built))


def _last_whole(ready: Run) -> tuple[Whole | None, Problems]:
    """Return where a resumed run continues, or stop if a checkpoint is not of this run."""
    if not ready.options.resume:
        return None, []
    try:
        whole, problems = last_whole(ready.options.out, ready.saving.run, ready.built.recipe)
    except ForeignCheckpoint as error:
        stop(f"{error}. Nothing was changed: move this file, or choose another --out", 1)
    except PermissionError as error:
        stop(f"{error.filename}: {error.strerror}", 1)
    ready.saving.resume(whole)
    return whole, problems


def _fit(ready: Run, whole: Whole | None) -> None:
    """Train to the end. An interruption, which Lightning turns into an exit, is raised as such."""
    options, settings, trainer = ready.options, ready.settings, ready.trainer
    crop = RandomCrop(settings["size"], settings["crop"])
    images = TrainingImages(ready.reader, crop, ready.built.preprocess, settings["seed"])
    handler = signal.getsignal(signal.SIGINT)
    try:
        with quiet_lightning(), starting_others():
            trainer.fit(
                ready.built.recipe,
                datamodule=TrainingData(images, settings["batch_size"], options.workers),
                ckpt_path=whole.path if whole else None,
                weights_only=True,
            )
    except SystemExit:
        if not trainer.interrupted:
            raise
        raise KeyboardInterrupt from None
    except MemoryError:
        stop("training needs more memory than there is: choose a smaller --batch-size", 1)
    except UnreadableImage:
        raise
    except (RuntimeError, TypeError, ValueError) as error:  # of torch, or of the user's backbone
        line = (str(error).splitlines() or [type(error).__name__])[0]
        stop(f"training failed in epoch {trainer.current_epoch + 1} ({line})", 1)
    finally:
        signal.signal(signal.SIGINT, handler)
