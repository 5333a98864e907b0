"""The run of ``train``: read the data, build the recipe, fit, save one file."""

from __future__ import annotations

import signal
from typing import Any

import torch
from lightning.fabric.utilities import rank_zero
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wsolrefine.cli.console import plain, stop
from wsolrefine.cli.files import InUse, alone_in, termination_as_interrupt
from wsolrefine.cli.loading import choose_device
from wsolrefine.cli.options import Dataset
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
from wsolrefine.cli.train.run_folder import agree, last_checkpoint, read_run, write_run
from wsolrefine.cli.train.trainer import Images, calm, make_trainer
from wsolrefine.data import UnreadableImage
from wsolrefine.data.augment import RandomCrop
from wsolrefine.data.reader import Reader
from wsolrefine.recipes import save_recipe


def run(options: Options) -> None:
    """Train what the options name, or stop with the reason."""
    first = is_first()  # the others are started by the first one, in the same words
    settings = _settings(options, first)
    reader = open_reader(settings)
    device = choose_device(options.device)
    torch.manual_seed(settings["seed"])
    built = build(settings, reader)
    epochs = built.recipe.epochs
    data = fingerprint(reader)
    try:
        if not first:
            _fit(options, settings, reader, device, built, epochs)
            return
        options.out.mkdir(parents=True, exist_ok=True)
        with alone_in(options.out), termination_as_interrupt():
            _start(options, settings, data)
            _introduce(options, settings, reader, built)
            _fit(options, settings, reader, device, built, epochs)
            path = options.out / f"{options.recipe.value}.safetensors"
            save_recipe(path, built.recipe, built.metadata)
    except InUse:
        stop(f"another run writes to {options.out}: wait for it, or choose another --out", 1)
    except KeyboardInterrupt:
        _stopped(options, epochs)
    except UnreadableImage as error:
        stop(f"{error}. Repair it and go on: {command_to_resume(options)}", 1)
    except OSError as error:
        stop(f"cannot write to {options.out} ({error.strerror or error})", 1)
    console = Console(highlight=False)
    console.print(Text.assemble("Wrote ", plain(path, console)), soft_wrap=True)


def is_first() -> bool:
    """Tell whether this is the process that the user started."""
    return int(getattr(rank_zero.rank_zero_only, "rank", 0) or 0) == 0


def _settings(options: Options, first: bool) -> dict[str, Any]:
    """Return all settings of the run: those given, those of the run that goes on, the defaults."""
    given, out = settings_of(options), options.out
    if out.exists() and not out.is_dir():
        stop(f"--out: expected a folder, {out} is a file")
    before = read_run(out)
    if options.resume and before is None:
        stop(f"--resume: expected a folder with a run in it, got {out}")
    if options.resume and before is not None:
        settings = agree(before, given, out)
    else:
        if before is not None and first:
            done = last_checkpoint(out)
            name, epochs = before["settings"].get("recipe"), done[1] if done else 0
            stop(
                f"--out: {out} holds a run already ({name}, {epochs} epochs done): choose another "
                f"folder, or go on with it: {command_to_resume(options)}"
            )
        settings = {**DEFAULTS, **given}
        if settings["split"] is None and "dataset" in given:
            settings["split"] = SPLITS.get(Dataset(given["dataset"]))
    check(settings, out)
    return settings


def _start(options: Options, settings: dict[str, Any], data: dict[str, Any]) -> None:
    """Note a new run, or see that the one that goes on has the same images."""
    before = read_run(options.out)
    if before is None:
        write_run(options.out, settings, data)
    elif before["data"] != data:
        then, now = (f"{d['images']} of {d['classes']} classes" for d in (before["data"], data))
        stop(f"--resume: expected the images of the run in {options.out}: {then}, got {now}")
    elif not options.resume:
        stop(f"another run has begun in {options.out}: choose another --out", 1)
    else:
        write_run(options.out, settings, data)


def _introduce(options: Options, settings: dict[str, Any], reader: Reader, built: Built) -> None:
    """Say what is about to be trained."""
    console, recipe = Console(highlight=False), built.recipe
    lines = Table.grid(padding=(0, 2))
    split = f", {settings['split']}" if settings["split"] else ""
    said = {
        "recipe": f"{options.recipe}, {recipe.epochs} epochs",
        "data set": f"{settings['dataset']} ({options.root or settings['root']}{split})",
        "images": f"{len(reader)} of {built.metadata.num_classes} classes",
        "backbone": f"{settings['backbone']}, {', '.join(built.metadata.layers)}",
        "hyper-parameters": ", ".join(f"{k} {v}" for k, v in recipe.hparams.items()),
    }
    for question, answer in said.items():
        lines.add_row(question, plain(answer, console))
    console.print(lines)


def _fit(
    options: Options, settings: dict[str, Any], reader: Reader, device: torch.device, built: Built,
    epochs: int,
) -> None:  # fmt: skip
    """Train to the end; what Lightning turns into an exit comes out as KeyboardInterrupt."""
    size, crop, seed = settings["size"], settings["crop"], settings["seed"]
    cut = RandomCrop(size, crop)
    devices, batch_size = settings["devices"], settings["batch_size"]
    images = TrainingImages(reader, cut, built.preprocess, seed)
    steps = len(Batches(len(reader), batch_size, seed=seed, epoch=0, processes=devices))
    if steps == 0:
        stop(f"--devices: expected at most one for every 2 images, got {devices}")
    checkpoint = last_checkpoint(options.out) if options.resume else None
    handler = signal.getsignal(signal.SIGINT)
    with calm():
        try:
            trainer = make_trainer(
                options.out,
                epochs=epochs,
                steps=steps,
                seed=seed,
                device=device,
                devices=devices,
                precision=settings["precision"],
                keep_all=options.keep_all,
            )
        except Exception as error:  # Lightning raises kinds of its own
            stop(f"--devices {devices}, --precision {settings['precision']}: {error}")
        data = Images(images, batch_size, options.workers)
        try:
            trainer.fit(
                built.recipe,
                datamodule=data,
                ckpt_path=checkpoint[0] if checkpoint else None,
                weights_only=True,
            )
        except SystemExit:
            if not trainer.interrupted:
                raise
            raise KeyboardInterrupt from None
        finally:
            signal.signal(signal.SIGINT, handler)


def _stopped(options: Options, epochs: int) -> None:
    done = last_checkpoint(options.out)
    number = done[1] if done else 0
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"Stopped with {number} of {epochs} epochs done.")
    console.print(Text.assemble("Go on: ", plain(command_to_resume(options), console)))
    raise SystemExit(130)
