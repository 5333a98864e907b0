"""The formats of ``wsolrefine export``, and the options of each."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

from wsolrefine import export


class Format(StrEnum):
    """The formats."""

    coco = "coco"
    coco_results = "coco-results"
    yolo = "yolo"
    yolo_seg = "yolo-seg"
    voc = "voc"
    masks = "masks"
    labelme = "labelme"
    labelstudio = "labelstudio"
    csv = "csv"
    sam = "sam"


class Writer(NamedTuple):
    """The function of a format, and which options of the command it takes."""

    write: Callable[..., None]
    options: frozenset[str]
    named: bool = False
    """Whether it takes the names of all classes."""


def _writer(write: Callable[..., None], options: str, named: bool = False) -> Writer:
    return Writer(write, frozenset(options.split()), named)


WRITERS = {
    Format.coco: _writer(export.write_coco, "images polygons tolerance", True),
    Format.coco_results: _writer(export.write_coco_results, "like"),
    Format.yolo: _writer(export.write_yolo, "images validation", True),
    Format.yolo_seg: _writer(
        partial(export.write_yolo, segments=True), "images validation tolerance", True
    ),
    Format.voc: _writer(export.write_voc, "images"),
    Format.masks: _writer(export.write_masks, "images foreground background overlap", True),
    Format.labelme: _writer(export.write_labelme, "images tolerance"),
    Format.labelstudio: _writer(export.write_labelstudio, "prefix shapes tolerance", True),
    Format.csv: _writer(export.write_csv, ""),
    Format.sam: _writer(export.write_sam, "points negatives background"),
}


def options_of(form: Format, given: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given, for the function of a format.

    Raises:
        ValueError: one would have no effect.

    """
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in chosen:
        if name not in WRITERS[form].options:
            raise ValueError(f"{name}: --to {form} does not use it")
    if "tolerance" in chosen and form is Format.coco and not chosen.get("polygons"):
        raise ValueError("tolerance: --to coco uses it with --polygons only")
    return chosen
