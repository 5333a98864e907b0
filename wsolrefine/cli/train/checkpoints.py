"""Checkpoints of ``train``: written whole or not at all, and used only if whole."""

from __future__ import annotations

import io
import re
import stat
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch.plugins.io import CheckpointIO

from wsolrefine.cli.console import Problems
from wsolrefine.cli.hashes import digest
from wsolrefine.cli.train.run_folder import CHECKPOINTS, write_durably
from wsolrefine.recipes import Recipe

NAME = re.compile(r"epoch-(\d{3,9})\.ckpt")
SIGNATURE = "wsolrefine"
"""Key of a checkpoint under which its run and the hash of its content are."""


class ForeignCheckpoint(ValueError):  # noqa: N818 - the file is whole
    """A checkpoint is whole but does not belong to this run: it must not be replaced."""


class Whole(NamedTuple):
    """A checkpoint that can be used; ``epochs`` are finished in it."""

    path: Path
    epochs: int


def checkpoint_name(epoch: int) -> str:
    """Return the name of the file written after an epoch, counted from 0.

    Example:
        >>> checkpoint_name(2)
        'epoch-002.ckpt'

    """
    return f"epoch-{epoch:03d}.ckpt"


def find_checkpoints(out: Path) -> list[tuple[int, Path]]:
    """Return the epochs and paths of all that is named like a checkpoint, the last one first."""
    folder = out / CHECKPOINTS
    entries = folder.iterdir() if folder.is_dir() else ()
    named = [(match, path) for path in entries if (match := NAME.fullmatch(path.name))]
    found = [(int(match[1]), path) for match, path in named]
    return sorted(((e, p) for e, p in found if p.name == checkpoint_name(e)), reverse=True)


def last_whole(out: Path, run: str, recipe: Recipe) -> tuple[Whole | None, Problems]:
    """Return the last checkpoint that is whole, and those after it with what is wrong with them.

    Args:
        out: folder of the run.
        run: what identifies the run, its settings and its data.
        recipe: the recipe whose weights are restored.

    Raises:
        ForeignCheckpoint: one that is whole belongs to something else.
        PermissionError: one may not be read, so nobody knows whether it is whole.

    """
    problems: Problems = []
    for epoch, path in find_checkpoints(out):
        try:
            check_checkpoint(path, run, epoch, recipe)
        except PermissionError:
            raise
        except ForeignCheckpoint as error:
            raise ForeignCheckpoint(f"{path}: {error}") from None
        except OSError as error:
            problems.append((str(path), error.strerror or str(error)))
        except ValueError as error:
            problems.append((str(path), str(error)))
        else:
            return Whole(path, epoch + 1), problems
    return None, problems


def check_checkpoint(path: Path, run: str, epoch: int, recipe: Recipe) -> None:
    """Raise unless a file is what ``train`` wrote after an epoch of this run.

    Nothing in the file is run: it is read with ``weights_only``.

    Raises:
        OSError: it cannot be read.
        ForeignCheckpoint: it is whole, but of another run, epoch or backbone.
        ValueError: it is damaged, or something else.

    """
    content, signature = _read(path)
    if signature.get("sha256") != digest(content):
        raise ValueError("expected the content that was written, got a changed one")
    if signature.get("run") != run:
        raise ForeignCheckpoint("expected a checkpoint of this run, got one of another run")
    if content["epoch"] != epoch:
        raise ForeignCheckpoint(f"expected epoch {epoch} as in its name, got {content['epoch']}")
    shapes = {key: value.shape for key, value in recipe.state_dict().items()}
    if {key: value.shape for key, value in content["state_dict"].items()} != shapes:
        raise ForeignCheckpoint("expected the weights of this recipe on this backbone, got others")


def is_own(path: Path, run: str) -> bool:
    """Tell whether a file is a checkpoint of this run, whole or changed."""
    try:
        return bool(_read(path)[1].get("run") == run)
    except (OSError, ValueError):
        return False


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the content of a checkpoint and its signature, or raise as above."""
    mode = path.lstat().st_mode  # a link would lead outside, opening a FIFO would wait for ever
    if not stat.S_ISREG(mode):
        raise ValueError(f"expected a file, got {_kind(mode)}")
    content = _load(path)
    signature = content.pop(SIGNATURE, None) if isinstance(content, dict) else None
    if not isinstance(signature, dict):
        raise ValueError("expected a checkpoint of wsolrefine train, got another file")
    return content, signature


def _load(path: Path) -> Any:
    data = path.read_bytes()  # apart, because torch.load raises OSError for damaged files too
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except Exception:  # a damaged file may fail anywhere in the unpickler
            got = "a damaged file, or another one" if data else "an empty file"
            raise ValueError(f"expected a checkpoint, got {got}") from None


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFLNK: "a link"}
    return kinds.get(stat.S_IFMT(mode), "a device or a socket")


class DurableFiles(CheckpointIO):
    """Writes a checkpoint beside its final name and renames it, signed with its run and hash."""

    def __init__(self, run: str) -> None:
        self.run = run

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint; if that fails, nothing has changed.

        Raises:
            OSError: the file cannot be written.

        """
        signature = {"run": self.run, "sha256": digest(checkpoint)}
        buffer = io.BytesIO()  # on a full disk, torch.save of a path raises no OSError
        torch.save({**checkpoint, SIGNATURE: signature}, buffer)
        write_durably(Path(path), buffer.getbuffer())

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint that :func:`check_checkpoint` has accepted."""
        content: dict[str, Any] = _load(Path(path))
        return content

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)
