"""The run of ``train``: read the data, build the recipe, train it, save one file."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.fabric.utilities import rank_zero
from lightning.pytorch import Trainer

from wsolrefine.cli.console import stop
from wsolrefine.cli.files import (
    FolderInUse,
    lock_folder,
    remove_temporary,
    termination_as_interrupt,
)
from wsolrefine.cli.loading import choose_device
from wsolrefine.cli.options import Dataset, check_out
from wsolrefine.cli.train.batches import Batches, TrainingImages
from wsolrefine.cli.train.build import Built, build
from wsolrefine.cli.train.checkpoints import SaveEveryEpoch, find_checkpoints, last_whole
from wsolrefine.cli.train.dataset import fingerprint, open_reader
from wsolrefine.cli.train.options import Options, command_to_resume, settings_of
from wsolrefine.cli.train.report import exit_interrupted, print_file, print_resumed, print_run
from wsolrefine.cli.train.run_folder import (
    CHECKPOINTS,
    RUN,
    check_places,
    identify,
    read_run,
    resumed_settings,
    write_run,
)
from wsolrefine.cli.train.settings import DEFAULTS, SPLITS, check
from wsolrefine.cli.train.trainer import TrainingData, make_trainer, quiet_lightning
from wsolrefine.data import UnreadableImage
from wsolrefine.data.augment import RandomCrop
from wsolrefine.data.reader import Reader
from wsolrefine.models import DEFAULT_CLASSIFIER
from wsolrefine.recipes import save_recipe


class Run(NamedTuple):
    """A run that is ready: everything has been tried, and nothing was written yet."""

    options: Options
    settings: dict[str, Any]
    data: dict[str, Any]
    reader: Reader
    built: Built
    trainer: Trainer
    saving: SaveEveryEpoch

    @property
    def name(self) -> str:
        """What tells this run from others."""
        return identify(self.settings, self.data)


def run(options: Options) -> None:
    """Train a recipe, or stop."""
    first = is_first_process()
    ready = _prepare(options, first)
    built, path = ready.built, options.out / f"{options.recipe.value}.safetensors"
    again = command_to_resume(options)
    try:
        if not first:
            _fit(ready)
            return
        options.out.mkdir(parents=True, exist_ok=True)
        with lock_folder(options.out), termination_as_interrupt():
            _register(ready)
            print_run(options, ready.settings, ready.reader, built)
            _fit(ready)
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


def is_first_process() -> bool:
    """Tell whether the user started this process; it starts the others with the same command."""
    return int(getattr(rank_zero.rank_zero_only, "rank", 0) or 0) == 0


def _prepare(options: Options, first: bool) -> Run:
    """Try everything that can go wrong before training, or stop; nothing is written."""
    settings = _settings(options, first)
    check_places(options.out, options.recipe.value, resumed=options.resume or not first)
    reader = open_reader(settings)
    device = choose_device(options.device)
    data = fingerprint(reader, settings["classes"])
    if options.resume:
        _check_images(options.out, data)
    torch.manual_seed(settings["seed"])
    built = build(settings, reader)
    saving = SaveEveryEpoch(options.out, keep_all=options.keep_all)
    trainer = _trainer(options, settings, data, reader, device, built, saving)
    return Run(options, settings, data, reader, built, trainer, saving)


def _settings(options: Options, first: bool) -> dict[str, Any]:
    """Return all settings of the run: the given ones, those of a resumed run, and defaults."""
    given, out = settings_of(options), options.out
    check_out(out)
    before = read_run(out)
    if options.resume and before is None:
        stop(f"--resume: expected a folder with a run, got {out}")
    if options.resume and before is not None:
        settings = resumed_settings(before, given, out)
        _check_backbone(options, settings["backbone"])
    else:
        if before is not None and first:
            name, found = before["settings"]["recipe"], find_checkpoints(out)
            finished = found[0][0] + 1 if found else 0
            stop(
                f"--out: expected a folder without a run, got {out} ({name}, {finished} epochs "
                f"done); choose another one, or continue: {command_to_resume(options)}"
            )
        settings = {**DEFAULTS, **given}
        if settings["split"] is None and "dataset" in given:
            settings["split"] = SPLITS.get(Dataset(given["dataset"]))
    check(settings, out)
    return settings


def _check_backbone(options: Options, backbone: str) -> None:
    """Stop if only the folder of the run names the backbone, which may be code or a download."""
    if options.backbone is None and backbone != DEFAULT_CLASSIFIER:
        command = command_to_resume(options._replace(backbone=backbone))
        stop(
            f"--backbone: expected {backbone}, the backbone of {options.out / RUN}, because a file "
            f"must not choose which code runs or what is downloaded; got none. If you trust it: "
            f"{command}"
        )


def _check_images(out: Path, data: dict[str, Any]) -> None:
    """Stop if a resumed run would train on other images."""
    before = read_run(out)
    if before is not None and before["data"] != data:
        then, now = (f"{d['images']} of {d['classes']} classes" for d in (before["data"], data))
        now = now if then != now else "others of the same number"
        stop(f"--resume: expected the images of the run in {out}: {then}, got {now}")


def _register(ready: Run) -> None:
    """Write the settings of the run, now that no other run can write to the folder."""
    out = ready.options.out
    if not ready.options.resume and read_run(out) is not None:
        stop(f"another run has started in {out}: choose another --out", 1)
    remove_temporary(out, out / CHECKPOINTS)
    write_run(out, ready.settings, ready.data)


def _trainer(
    options: Options,
    settings: dict[str, Any],
    data: dict[str, Any],
    reader: Reader,
    device: torch.device,
    built: Built,
    saving: SaveEveryEpoch,
) -> Trainer:
    """Return the trainer, or stop if devices or precision are not available."""
    devices, precision = settings["devices"], settings["precision"]
    batch_size, seed = settings["batch_size"], settings["seed"]
    steps = len(Batches(len(reader), batch_size, seed=seed, epoch=0, processes=devices))
    if steps == 0:
        stop(f"--devices: expected at most one for every 2 images, got {devices}")
    try:
        with quiet_lightning():
            return make_trainer(
                options.out,
                epochs=built.recipe.epochs,
                steps=steps,
                seed=seed,
                device=device,
                devices=devices,
                precision=precision,
                saving=saving,
                run=identify(settings, data),
            )
    except Exception as error:  # Lightning raises exceptions of its own
        line = (str(error).splitlines() or [""])[0]
        stop(f"--device {options.device}, --devices {devices}, --precision {precision}: {line}")


def _fit(ready: Run) -> None:
    """Train to the end. An interruption, which Lightning turns into an exit, is raised as such."""
    options, settings, trainer = ready.options, ready.settings, ready.trainer
    crop = RandomCrop(settings["size"], settings["crop"])
    images = TrainingImages(ready.reader, crop, ready.built.preprocess, settings["seed"])
    whole = None
    if options.resume:
        whole, problems = last_whole(options.out, ready.name, ready.built.recipe)
        ready.saving.resume(whole)
        if is_first_process():
            print_resumed(whole, problems)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with quiet_lightning():
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
