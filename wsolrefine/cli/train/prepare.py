"""What ``train`` does before it writes anything: settings, data, recipe and trainer are tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Trainer

from wsolrefine.cli.changes import OPTIONS
from wsolrefine.cli.console import stop
from wsolrefine.cli.loading import choose_device
from wsolrefine.cli.options import Dataset, check_out
from wsolrefine.cli.train.batches import Batches
from wsolrefine.cli.train.build import Built, build, model_hash
from wsolrefine.cli.train.checkpoints import find_checkpoints
from wsolrefine.cli.train.dataset import fingerprint, open_reader
from wsolrefine.cli.train.options import Options, command_to_resume, settings_of
from wsolrefine.cli.train.run_folder import (
    RUN,
    check_places,
    identify,
    read_run,
    resumed_settings,
)
from wsolrefine.cli.train.saving import SaveEveryEpoch
from wsolrefine.cli.train.settings import DEFAULTS, FILES, SPLITS, check
from wsolrefine.cli.train.trainer import make_trainer, quiet_lightning
from wsolrefine.data.reader import Reader
from wsolrefine.models import DEFAULT_CLASSIFIER


class Run(NamedTuple):
    """A run that is ready: everything has been tried, and nothing was written yet."""

    options: Options
    settings: dict[str, Any]
    data: dict[str, Any]
    reader: Reader
    built: Built
    trainer: Trainer
    saving: SaveEveryEpoch


def prepare(options: Options, first: bool) -> Run:
    """Try everything that can go wrong before training, or stop; nothing is written."""
    settings = _settings(options, first)
    check_places(options.out, options.recipe.value, resumed=options.resume, first=first)
    reader = open_reader(settings)
    device = choose_device(options.device)
    data = fingerprint(reader, settings["classes"])
    if options.resume:
        _check_images(options.out, data)
    torch.manual_seed(settings["seed"])
    built = build(settings, reader, options.changes)
    if options.resume:
        _check_model(options.out, built)
    saving = SaveEveryEpoch(options.out, identify(settings, data), keep_all=options.keep_all)
    trainer = _trainer(options, settings, reader, device, built, saving, first)
    return Run(options, settings, data, reader, built, trainer, saving)


def _settings(options: Options, first: bool) -> dict[str, Any]:
    """Return all settings of the run: the given ones, those of a resumed run, and defaults."""
    given, out = settings_of(options), options.out
    check_out(out)
    before = read_run(out)
    if options.resume and before is None:
        stop(f"--resume: expected a folder with a run, got {out}")
    if options.resume and before is not None:
        _check_files(before["settings"], given, out)
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


def _check_files(stored: dict[str, Any], given: dict[str, Any], out: Path) -> None:
    """Stop unless the files that change the backbone are given again: a run has only hashes."""
    for name in FILES:
        then, now = stored.get(name), given.get(name)
        if then != now:
            which = f"the file of the run in {out} again, SHA-256 {then}" if then else "none"
            got = "none" if now is None else "another one" if then else f"one for the run in {out}"
            stop(f"{OPTIONS[name]}: expected {which}, got {got}")


def _check_images(out: Path, data: dict[str, Any]) -> None:
    """Stop if a resumed run would train on other images."""
    before = read_run(out)
    if before is not None and before["data"] != data:
        then, now = _counted(before["data"]), _counted(data)
        now = now if then != now else "others of the same number"
        stop(f"--resume: expected the images of the run in {out}: {then}, got {now}")


def _counted(data: dict[str, Any]) -> str:
    return str(data["images"]) + (f" of {data['classes']} classes" if data["classes"] else "")


def _check_model(out: Path, built: Built) -> None:
    """Stop if the backbone of a resumed run, which may be the user's code, is another one."""
    before = read_run(out)
    if before is not None and before["model"] != model_hash(built):
        stop(
            f"--resume: expected the backbone of the run in {out}, got another one: its weights "
            "have other names or shapes, or its preprocessing differs; restore it, or choose "
            "another --out"
        )


def _trainer(
    options: Options,
    settings: dict[str, Any],
    reader: Reader,
    device: torch.device,
    built: Built,
    saving: SaveEveryEpoch,
    first: bool,
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
                first=first,
            )
    except Exception as error:  # Lightning raises exceptions of its own
        line = (str(error).splitlines() or [""])[0]
        stop(f"--device {options.device}, --devices {devices}, --precision {precision}: {line}")
