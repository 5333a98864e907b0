"""The run of ``train``: read the data, build the recipe, train it, save one file."""

from __future__ import annotations

import signal
from typing import Any

import torch
from lightning.fabric.utilities import rank_zero

from wsolrefine.cli.console import stop
from wsolrefine.cli.files import FolderInUse, lock_folder, termination_as_interrupt
from wsolrefine.cli.loading import choose_device
from wsolrefine.cli.options import Dataset, check_out
from wsolrefine.cli.train.batches import Batches, TrainingImages
from wsolrefine.cli.train.build import Built, build
from wsolrefine.cli.train.dataset import fingerprint, open_reader
from wsolrefine.cli.train.options import (
    DEFAULTS,
    SPLITS,
    Options,
    check,
    command_to_resume,
    settings_of,
)
from wsolrefine.cli.train.report import exit_interrupted, print_file, print_run
from wsolrefine.cli.train.run_folder import (
    last_checkpoint,
    read_run,
    resumed_settings,
    write_run,
)
from wsolrefine.cli.train.trainer import TrainingData, make_trainer, quiet_lightning
from wsolrefine.data import UnreadableImage
from wsolrefine.data.augment import RandomCrop
from wsolrefine.data.reader import Reader
from wsolrefine.recipes import save_recipe


def run(options: Options) -> None:
    """Train a recipe, or stop."""
    first = is_first_process()
    settings = _settings(options, first)
    reader = open_reader(settings)
    device = choose_device(options.device)
    torch.manual_seed(settings["seed"])
    built = build(settings, reader)
    data = fingerprint(reader)
    path = options.out / f"{options.recipe.value}.safetensors"
    try:
        if not first:
            _fit(options, settings, reader, device, built)
            return
        options.out.mkdir(parents=True, exist_ok=True)
        with lock_folder(options.out), termination_as_interrupt():
            _register(options, settings, data)
            print_run(options, settings, reader, built)
            _fit(options, settings, reader, device, built)
            save_recipe(path, built.recipe, built.metadata)
    except FolderInUse:
        stop(f"another run is writing to {options.out}: wait for it, or choose another --out", 1)
    except KeyboardInterrupt:
        exit_interrupted(options, built.recipe.epochs)
    except UnreadableImage as error:
        stop(f"{error}. Fix this image and continue: {command_to_resume(options)}", 1)
    except OSError as error:
        stop(f"cannot write to {options.out} ({error.strerror or error})", 1)
    print_file(path)


def is_first_process() -> bool:
    """Tell whether the user started this process; it starts the others with the same command."""
    return int(getattr(rank_zero.rank_zero_only, "rank", 0) or 0) == 0


def _settings(options: Options, first: bool) -> dict[str, Any]:
    """Return all settings of the run: the given ones, those of a resumed run, and defaults."""
    given, out = settings_of(options), options.out
    check_out(out)
    before = read_run(out)
    if options.resume and before is None:
        stop(f"--resume: expected a folder with a run, got {out}")
    if options.resume and before is not None:
        settings = resumed_settings(before, given, out)
    else:
        if before is not None and first:
            checkpoint = last_checkpoint(out)
            name, finished = before["settings"].get("recipe"), checkpoint[1] if checkpoint else 0
            stop(
                f"--out: expected a folder without a run, got {out} ({name}, {finished} epochs "
                f"done); choose another one, or continue: {command_to_resume(options)}"
            )
        settings = {**DEFAULTS, **given}
        if settings["split"] is None and "dataset" in given:
            settings["split"] = SPLITS.get(Dataset(given["dataset"]))
    check(settings, out)
    return settings


def _register(options: Options, settings: dict[str, Any], data: dict[str, Any]) -> None:
    """Write the settings of the run, after a check that a resumed one has the same images."""
    before = read_run(options.out)
    if before is not None and not options.resume:
        stop(f"another run has started in {options.out}: choose another --out", 1)
    if before is not None and before["data"] != data:
        then, now = (f"{d['images']} of {d['classes']} classes" for d in (before["data"], data))
        stop(f"--resume: expected the images of the run in {options.out}: {then}, got {now}")
    write_run(options.out, settings, data)


def _fit(
    options: Options, settings: dict[str, Any], reader: Reader, device: torch.device, built: Built
) -> None:
    """Train to the end. An interruption, which Lightning turns into an exit, is raised as such."""
    seed, devices, precision = settings["seed"], settings["devices"], settings["precision"]
    batch_size, crop = settings["batch_size"], RandomCrop(settings["size"], settings["crop"])
    images = TrainingImages(reader, crop, built.preprocess, seed)
    steps = len(Batches(len(reader), batch_size, seed=seed, epoch=0, processes=devices))
    if steps == 0:
        stop(f"--devices: expected at most one for every 2 images, got {devices}")
    checkpoint = last_checkpoint(options.out) if options.resume else None
    handler = signal.getsignal(signal.SIGINT)
    with quiet_lightning():
        try:
            trainer = make_trainer(
                options.out,
                epochs=built.recipe.epochs,
                steps=steps,
                seed=seed,
                device=device,
                devices=devices,
                precision=precision,
                keep_all=options.keep_all,
            )
        except Exception as error:  # Lightning raises exceptions of its own
            stop(f"--devices {devices}, --precision {precision}: {error}")
        try:
            trainer.fit(
                built.recipe,
                datamodule=TrainingData(images, batch_size, options.workers),
                ckpt_path=checkpoint[0] if checkpoint else None,
                weights_only=True,
            )
        except SystemExit:
            if not trainer.interrupted:
                raise
            raise KeyboardInterrupt from None
        finally:
            signal.signal(signal.SIGINT, handler)
