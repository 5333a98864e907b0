"""Options that change a classifier: its weights, its names of classes, its preprocessing."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from wsolrefine._files import open_regular
from wsolrefine._options import check_numbers
from wsolrefine.cli.console import stop
from wsolrefine.cli.files import kind_of, system_error
from wsolrefine.cli.options import parse_path, refuse

OPTIONS = {
    "checkpoint": "--checkpoint",
    "class_names": "--class-names",
    "size": "--input-size",
    "mean": "--mean",
    "std": "--std",
    "layers": "--layer",
}
"""What the arguments of the library are called on the command line."""

LARGEST = 4096


def parse_size(text: str) -> tuple[int, int]:
    """Return height and width: one number for a square, or ``HxW``.

    Raises:
        ValueError: it is neither, or a side is not from 1 to 4096.

    Example:
        >>> parse_size("384"), parse_size("224x320")
        ((384, 384), (224, 320))

    """
    sides = text.strip().lower().split("x")
    whole = all(side.isascii() and side.isdecimal() and len(side) < 9 for side in sides)
    if not whole or len(sides) > 2 or not all(1 <= int(side) <= LARGEST for side in sides):
        expected = f"pixels or HEIGHTxWIDTH, each from 1 to {LARGEST}"
        raise ValueError(f"size: expected {expected}, got {text!r:.80}")
    return int(sides[0]), int(sides[-1])


def parse_channels(name: str, text: str, above: float | None = None) -> tuple[float, ...]:
    """Return a number for each channel.

    Raises:
        ValueError: it is not three finite numbers, all above a limit.

    Example:
        >>> parse_channels("mean", "0.5, 0.4, 0.5")
        (0.5, 0.4, 0.5)

    """
    try:
        numbers = check_numbers("", [float(word) for word in text.split(",")], above=above)
    except ValueError:
        numbers = []
    if len(numbers) != 3:
        kind = "three numbers" if above is None else f"three numbers above {above}"
        raise ValueError(f"{name}: expected {kind} with commas, got {text!r:.80}")
    return tuple(numbers)


Checkpoint = Annotated[
    Path | None,
    typer.Option(
        parser=parse_path,
        metavar="FILE",
        help="Your own weights of the architecture that --model names: a file of torch.save or "
        "safetensors. The head gives the number of classes.",
    ),
]
ClassNames = Annotated[
    Path | None,
    typer.Option(
        parser=parse_path,
        metavar="FILE",
        help="Names of the classes: a text file with a name a line, or JSON.",
    ),
]
InputSize = Annotated[
    str | None,
    typer.Option(
        metavar="N|HxW",
        help="Size in pixels to which images are resized for the model. Default: that of the "
        "classifier.",
        show_default=False,
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="R,G,B",
        help="Mean of each channel, for values in [0, 1]. Default: that of the classifier.",
        show_default=False,
    ),
]
Std = Annotated[
    str | None,
    typer.Option(
        metavar="R,G,B",
        help="Standard deviation of each channel. Default: that of the classifier.",
        show_default=False,
    ),
]


class Changes(NamedTuple):
    """The options that change a classifier; None: not given."""

    checkpoint: Path | None = None
    class_names: Path | tuple[str, ...] | None = None
    size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def arguments(self) -> dict[str, Any]:
        """Return those that are given, as arguments of :func:`wsolrefine.load_classifier`."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    def refuse(self, reason: str) -> None:
        """Stop if one is given, because it would have no effect."""
        refuse({OPTIONS[name][2:]: value for name, value in self._asdict().items()}, reason)

    def settings(self) -> dict[str, Any]:
        """Return what a later run must have in common; of files, hashes of their content.

        It stops where a file cannot be read.
        """
        found: dict[str, Any] = {}
        for name, value in self.arguments().items():
            if isinstance(value, Path):
                found[name] = _hash(value, OPTIONS[name])
            else:
                found[OPTIONS[name][2:].replace("-", "_")] = [*value]
        return found


def _hash(path: Path, option: str) -> str:
    if (kind := kind_of(path)) != "file":
        stop(f"{option}: expected a file, got {path} ({kind})")
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        stop(f"{option}: {system_error(error)}", 1)


def changes_of(
    checkpoint: Path | None,
    class_names: Path | None,
    input_size: str | None,
    mean: str | None,
    std: str | None,
) -> Changes:
    """Return the values of the options of these names, or stop."""
    try:
        return Changes(
            checkpoint,
            class_names,
            None if input_size is None else parse_size(input_size),
            None if mean is None else parse_channels("mean", mean),
            None if std is None else parse_channels("std", std, above=0),
        )
    except ValueError as error:
        stop(as_option(str(error)) or error)


def with_texts(changes: Changes, model: str | None, classes: str | None) -> Changes:
    """Return the changes with the texts that ``clip:NAME`` compares images with, or stop.

    Args:
        changes: the options.
        model: name of the classifier.
        classes: the ``--classes`` option, which gives the texts where ``--class-names`` does not.

    """
    if not (model or "").startswith("clip:") or changes.class_names is not None:
        return changes
    texts = tuple(text.strip() for text in (classes or "top1").split(","))
    if re.fullmatch(r"top\d+|source", texts[0].lower()) or not all(texts):
        stop(
            f"--classes: expected the texts that {model} compares images with, such as "
            f"'a cup,a saucer', or a file of them as --class-names, got {classes or 'none'}"
        )
    return changes._replace(class_names=tuple(dict.fromkeys(texts)))


def as_option(reason: str) -> str | None:
    """Return an error of an argument of the library as that of its option; None for others.

    Example:
        >>> as_option("size: expected a square"), as_option("model: expected a module")
        ('--input-size: expected a square', None)

    """
    name, colon, rest = reason.removeprefix("spec: ").partition(":")
    return f"{OPTIONS[name]}:{rest}" if colon and name in OPTIONS else None
