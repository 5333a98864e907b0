"""Splits and their features in files, so that a run that goes on does not compute them again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

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
    digest, found = _digest(source), {}
    for name in SPLITS:
        path = folder / f"{source.title}-{digest}-{name}.pt"
        if not path.exists():
            _write(path, made(name))
        found[name] = _read(path)
    return found


def _digest(source: Source) -> str:
    parts = [repr(source.key).encode(), *(path.read_bytes() for path in CODE)]
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
