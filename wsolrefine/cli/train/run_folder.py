"""The folder of a training run: what is written there, and its file of settings."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from wsolrefine import __version__
from wsolrefine._files import read_json
from wsolrefine.cli.console import stop
from wsolrefine.cli.files import foreign_files, foreign_message, replacing
from wsolrefine.cli.train.settings import check_content
from wsolrefine.recipes import read_metadata

RUN = "run.json"
CHECKPOINTS = "checkpoints"
LOSSES = "losses.csv"
HEADER = "epoch,step,loss"
"""The first line of the table of losses."""

LARGEST = 1 << 26
"""Bytes of the largest file of settings that is read."""


def check_places(out: Path, recipe: str, *, resumed: bool, first: bool) -> None:
    """Stop if files of the user are where a run is to write."""
    trained = f"{recipe}.safetensors"
    names = (trained, LOSSES, CHECKPOINTS)
    if not resumed and first and (foreign := foreign_files(out, names, ())):
        stop(foreign_message(out, foreign))
    for name in names:
        path, folder = out / name, name == CHECKPOINTS
        if os.path.lexists(path) and (not path.is_dir() if folder else not path.is_file()):
            stop(f"{path}: expected a {'folder' if folder else 'file'}, got something else", 1)
    own = [CHECKPOINTS]  # what is in there is checked file by file
    own += [name for name, ours in ((trained, _is_recipe), (LOSSES, _is_table)) if ours(out / name)]
    if resumed and first and (foreign := foreign_files(out, names, own)):
        stop(foreign_message(out, foreign))


def _is_recipe(path: Path) -> bool:
    try:
        read_metadata(path)
    except (OSError, ValueError):
        return False
    return not path.is_symlink()


def _is_table(path: Path) -> bool:
    """Tell whether a file is a table of losses; an empty one has nothing to lose."""
    try:
        with path.open("rb") as file:
            first = file.readline(100)
    except OSError:
        return False
    return first.strip() in (b"", HEADER.encode()) and not path.is_symlink()


def read_run(out: Path) -> dict[str, Any] | None:
    """Return the content of a run's file; None if the folder contains no run.

    The file may come from somebody else, so every value of it is checked.
    """
    path = out / RUN
    if not os.path.lexists(path):
        return None
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise ValueError("expected a file of settings")
        content = read_json(path)
        check_content(content)
        if content["sha256"] != _hash(content):
            raise ValueError("expected what was written when the run began, got other values")
    except OSError as error:
        stop(f"{path}: {error.strerror or error}", 1)
    except (ValueError, TypeError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        stop(f"{path}: not written by wsolrefine train ({reason})")
    return dict(content)


def write_run(out: Path, settings: dict[str, Any], data: dict[str, Any], model: str) -> None:
    """Write everything that determines the result of a run.

    Raises:
        OSError: the folder cannot be written to.

    """
    content: dict[str, Any] = {"settings": settings, "data": data, "model": model}
    content["version"] = __version__
    content["sha256"] = _hash(content)
    write_durably(out / RUN, json.dumps(content, indent=1).encode())


def identify(settings: dict[str, Any], data: dict[str, Any]) -> str:
    """Return what tells runs apart: all that determines the result, but not where images are."""
    what = {key: value for key, value in settings.items() if key not in ("root", "metadata")}
    return _hash({"settings": what, "data": data})


def _hash(content: dict[str, Any]) -> str:
    """Return the SHA-256 of a content without its own ``sha256``, independent of the layout."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def write_durably(path: Path, data: bytes | memoryview) -> None:
    """Replace a file once the new content is on the disk, so that even a power cut loses nothing.

    Raises:
        OSError: it cannot be written; then the old file is unchanged.

    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(OSError):  # not every system can do that with a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def resumed_settings(run: dict[str, Any], given: dict[str, Any], out: Path) -> dict[str, Any]:
    """Return the settings of a resumed run, or stop if the user gave others.

    The folders of the data set may change; whether the images are the same is checked later.
    """
    stored = run["settings"]
    moved = {name: given[name] for name in ("root", "metadata") if name in given}
    changes = [
        f"{name}: {stored.get(name)} then, {value} now"
        for name, value in given.items()
        if name not in moved and stored.get(name) != value
    ]
    if changes:
        stop(
            f"--resume: expected the settings of the run in {out} (you can leave them out), "
            f"got others ({'; '.join(changes)})"
        )
    return {**stored, **moved}
