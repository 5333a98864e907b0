"""Data sets named on the command line: ``READER:FOLDER``."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from benchmarks.quality.images import Photographs
from wsolrefine.data import CUB, ILSVRC, WsolEvaluation

READERS = ("cub", "ilsvrc", "wsolevaluation")
"""Those whose images have boxes."""

HELP = (
    "READER:FOLDER, with READER one of " + ", ".join(READERS) + "; wsolevaluation: the folder with "
    "the lists of a split, and the images in images/; cub and ilsvrc: READER:FOLDER@SPLIT. "
    "FOLDER may hold wildcards"
)


class Options(argparse.Namespace):
    """The options, with the data sets opened."""

    sets: list[Photographs]
    choosing: list[Photographs]


def add_options(
    parser: argparse.ArgumentParser, *, data: str, choose: str, required: bool = False
) -> None:
    """Add ``--data`` and ``--choose``, with what each is for."""
    for name, text in (("--data", data), ("--choose", choose)):
        parser.add_argument(
            name,
            nargs="+",
            action="extend",
            default=[],
            metavar="SPEC",
            required=required and name == "--data",
            help=f"{text}: {HELP}",
        )


def open_options(parser: argparse.ArgumentParser, options: Options) -> None:
    """Open the data sets of ``--data`` and of ``--choose``, or stop with a message."""
    try:
        options.sets, options.choosing = open_data(options.data), open_data(options.choose)
        check_disjoint(options.choosing, options.sets)
    except (OSError, ValueError) as error:
        parser.error(str(error))


class Spec(NamedTuple):
    """A data set on the command line; an empty split is that of the reader."""

    reader: str
    folder: Path
    split: str


def open_data(texts: Sequence[str]) -> list[Photographs]:
    """Open the data sets that are named, each wildcard standing for all folders that fit.

    Raises:
        OSError: a folder or a file is missing.
        ValueError: a spec is malformed, or a data set has no boxes.

    """
    specs = [spec for text in texts for spec in _specs(text)]
    names = _names(specs)
    return [Photographs(name, _open(spec)) for name, spec in zip(names, specs, strict=True)]


def check_disjoint(
    chosen: Sequence[Photographs], measured: Sequence[Photographs], *, option: str = "choose"
) -> None:
    """Raise if a file that is measured is also among those of the option."""
    digests = {_digest(file): file for some in measured for file in some.files()}
    for some in chosen:
        for file in some.files():
            if (same := digests.get(_digest(file))) is not None:
                raise ValueError(
                    f"{option}: expected other images than those measured, got {file.name} of "
                    f"{some.name}, which is {same.name} of them"
                )


def shown(texts: Sequence[str]) -> str:
    """Return specs for a record, without absolute paths."""
    return " ".join(_relative(text) for text in texts)


def _relative(text: str) -> str:
    reader, _, folder = text.partition(":")
    path = Path(folder)
    return f"{reader}:{Path('...', *path.parts[-3:])}" if path.is_absolute() else text


def _specs(text: str) -> list[Spec]:
    reader, _, folder = text.partition(":")
    if reader not in READERS or not folder:
        raise ValueError(
            f"data: expected READER:FOLDER with READER one of {', '.join(READERS)}, got {text!r}"
        )
    split = ""
    if reader != "wsolevaluation":  # whose folder is a split
        folder, _, split = folder.partition("@")
    return [Spec(reader, some, split) for some in _fitting(Path(folder))]


def _fitting(folder: Path) -> list[Path]:
    """Return the folders that fit wildcards; without any, the folder itself."""
    fixed = [*takewhile(lambda part: not {*part} & {*"*?["}, folder.parts)]
    rest = folder.parts[len(fixed) :]
    if not rest:
        return [folder]
    found = sorted(path for path in Path(*fixed).glob("/".join(rest)) if path.is_dir())
    if not found:
        raise FileNotFoundError(f"data: expected folders that fit {folder}, got none")
    return found


def _open(spec: Spec) -> CUB | ILSVRC | WsolEvaluation:
    if spec.reader == "wsolevaluation":
        return WsolEvaluation(spec.folder, images=spec.folder / "images")
    if spec.reader == "cub":
        return CUB(spec.folder, split=spec.split or "test")
    return ILSVRC(spec.folder, split=spec.split or "val")


def _names(specs: Sequence[Spec]) -> list[str]:
    """Return what tells the folders and splits apart; of a single one, its last two parts."""
    parts = [spec.folder.parts + ((spec.split,) if spec.split else ()) for spec in specs]
    if len({*parts}) < len(parts):
        twice = next(spec for spec, some in zip(specs, parts, strict=True) if parts.count(some) > 1)
        raise ValueError(f"data: expected each data set once, got {twice.folder} twice")
    while len({some[-1] for some in parts}) == 1 < len(parts) and min(map(len, parts)) > 1:
        parts = [some[:-1] for some in parts]
    length = 1 if len(parts) > 1 else 2
    while len({some[-length:] for some in parts}) < len(parts):
        length += 1
    return ["/".join(some[-length:]) for some in parts]


def _digest(file: Path) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()
