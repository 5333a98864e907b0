"""Splits, features and teachers' maps in files: a run that goes on does not make them again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

import wsolrefine
from benchmarks.common import replacing
from benchmarks.recipes.features import Features
from benchmarks.recipes.splits import SPLITS, Source, Split, Truth
from wsolrefine import Preprocess

CODE = [
    Path(__file__).parents[1] / name
    for name in (
        *("scenes/scenes.py", "recipes/scenes.py", "recipes/photographs.py"),
        *("recipes/groups.py", "recipes/features.py", "recipes/splits.py"),
    )
]
"""The modules that make what is in a file: another version of them makes another file."""
LIBRARY = Path(wsolrefine.__file__).parent


class Prepared(NamedTuple):
    """A split and the features of its images."""

    split: Split
    features: Features


def prepare(
    source: Source, backbone: nn.Module, preprocess: Preprocess, folder: Path | None
) -> dict[str, Prepared]:
    """Return all splits of a source, from files in the folder if they were made before."""

    def made(name: str) -> Prepared:
        split = source.split(name)
        return Prepared(split, Features.of(backbone, split, preprocess))

    if folder is None:
        return {name: made(name) for name in SPLITS}
    digest, found = _digest(source, CODE), {}
    for name in SPLITS:
        path = folder / f"{source.title}-{digest}-{name}.pt"
        if not path.exists():
            _write(path, made(name))
        found[name] = _read(path)
    return found


def kept_maps(
    source: Source, name: str, make: Callable[[], Sequence[Tensor]], folder: Path | None
) -> Sequence[Tensor]:
    """Return what a teacher found, from a file in the folder if it was made before.

    Args:
        source: the images.
        name: the method, the split and the number of images.
        make: computes it.
        folder: None: nothing is kept.

    """
    if folder is None:
        return make()
    # Any module of the library may have a part in the maps.
    path = folder / f"{source.title}-{_digest(source, [*CODE, *_library()])}-{name}.pt"
    if not path.exists():
        with replacing(path) as unfinished:
            torch.save([*make()], unfinished)
    found: list[Tensor] = torch.load(path, weights_only=True)
    return found


def _library() -> list[Path]:
    return sorted(LIBRARY.rglob("*.py"))


def _digest(source: Source, code: Iterable[Path]) -> str:
    parts = [repr(source.key).encode(), *(path.read_bytes() for path in code)]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:12]


def _write(path: Path, prepared: Prepared) -> None:
    images, labels, truth = prepared.split
    stages, known = prepared.features.stages, None if truth is None else truth._asdict()
    content = {"images": images, "labels": labels, "truth": known, "stages": stages}
    with replacing(path) as unfinished:
        torch.save(content, unfinished)


def _read(path: Path) -> Prepared:
    # Read from the file where it is needed: a pool is larger than the memory of small machines.
    found = torch.load(path, mmap=True, weights_only=True)
    truth = None if found["truth"] is None else Truth(**found["truth"])
    split = Split(found["images"], found["labels"], truth)
    return Prepared(split, Features(found["stages"], split.labels))
