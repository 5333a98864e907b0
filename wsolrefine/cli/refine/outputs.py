"""The files of results: ``FOLDER/BASE.png``, or with the class ``FOLDER/BASE.LABEL.png``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from wsolrefine.data.images import SUFFIXES
from wsolrefine.localization.masks import MASK_SIDE

ENDINGS = {"maps": ".png", "masks": ".png", "overlays": ".jpg"}
"""The folders of results, and how the files in them end."""

FOLDERS = tuple(ENDINGS)

OVERLAY_SIZE = MASK_SIDE
"""Longest side of an overlay in pixels: images are read with as many, and it is enough to look."""


def parse_write(text: str) -> list[str]:
    """Return the folders that the ``--write`` option names, in their usual order.

    Raises:
        ValueError: a word is no folder.

    Example:
        >>> parse_write("masks, maps"), parse_write("none")
        (['maps', 'masks'], [])

    """
    words = [word.strip() for word in text.split(",")]
    if words == ["none"]:
        return []
    for word in words:
        if word not in FOLDERS:
            raise ValueError(f"write: expected none or {', '.join(FOLDERS)}, got {word!r:.80}")
    return [folder for folder in FOLDERS if folder in words]


def result_file(folder: str, base: str, label: int | None = None) -> str:
    """Return the path of a result.

    Args:
        folder: one of ``FOLDERS``.
        base: base of the results of an image, with ``/`` between folders.
        label: class that the result is for; None if there is only one for the image.

    Example:
        >>> result_file("masks", "birds/wren"), result_file("overlays", "birds/wren", 5)
        ('masks/birds/wren.png', 'overlays/birds/wren.5.jpg')

    """
    end = ENDINGS[folder] if label is None else f".{label}{ENDINGS[folder]}"
    return f"{folder}/{base}{end}"


def bases_of(file: str) -> Iterator[str]:
    """Yield the bases of which a file would be a result.

    Example:
        >>> list(bases_of("maps/birds/wren.5.png")), list(bases_of("maps/wren.jpg"))
        (['birds/wren.5', 'birds/wren'], [])

    """
    folder, _, rest = file.partition("/")
    ending = ENDINGS.get(folder)
    if ending is not None and rest.endswith(ending):
        base = rest.removesuffix(ending)
        yield base
        if label := re.fullmatch(r"(.+)\.[0-9]+", base, re.DOTALL):
            yield label[1]


def without_suffix(name: str) -> str:
    """Return the name of an image without its suffix, if it has that of an image.

    Example:
        >>> [without_suffix(name) for name in ("birds/wren.JPG", "v1.5/crane", "..png")]
        ['birds/wren', 'v1.5/crane', '..png']

    """
    suffix = PurePosixPath(name).suffix
    if suffix.lower() not in SUFFIXES:
        return name
    stem = name.removesuffix(suffix)
    return stem if PurePosixPath(stem).name.strip(".") else name
