"""The folder of a training run: its settings and its checkpoints."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from wsolrefine import __version__
from wsolrefine._files import read_json
from wsolrefine.cli.console import stop
from wsolrefine.cli.files import replacing

RUN = "run.json"
CHECKPOINTS = "checkpoints"
CHECKPOINT = re.compile(r"epoch-(\d+)\.ckpt")


def read_run(out: Path) -> dict[str, Any] | None:
    """Return the content of a run's file; None if the folder contains no run."""
    path = out / RUN
    try:
        content = read_json(path)
        if not isinstance(content["settings"], dict) or not isinstance(content["data"], dict):
            raise TypeError("expected objects")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        stop(f"{path}: not written by wsolrefine train ({type(error).__name__}: {error})")
    return dict(content)


def write_run(out: Path, settings: dict[str, Any], data: dict[str, Any]) -> None:
    """Write everything that determines the result of a run.

    Raises:
        OSError: the folder cannot be written to.

    """
    content = {"settings": settings, "data": data, "version": __version__}
    with replacing(out / RUN) as temporary:
        temporary.write_text(json.dumps(content, indent=1), "utf-8")


def last_checkpoint(out: Path) -> tuple[Path, int] | None:
    """Return the last checkpoint and the number of epochs before it; None if there is none.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> out = Path(mkdtemp())
        >>> (out / "checkpoints").mkdir()
        >>> for name in ("epoch-002.ckpt", "epoch-010.ckpt", "last.ckpt"):
        ...     (out / "checkpoints" / name).touch()
        >>> path, epochs = last_checkpoint(out)
        >>> path.name, epochs
        ('epoch-010.ckpt', 11)

    """
    folder = out / CHECKPOINTS
    found = [
        (int(match[1]), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := CHECKPOINT.fullmatch(path.name))
    ]
    if not found:
        return None
    epoch, path = max(found)
    return path, epoch + 1  # epochs are counted from 0


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
