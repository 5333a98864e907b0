"""Label Studio: tasks with predictions, to be corrected by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from os import PathLike
from typing import Any, Literal, get_args
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from wsolrefine import __version__
from wsolrefine._options import check_choice, check_number, check_text
from wsolrefine.export.brush import brush
from wsolrefine.export.folders import new_folder, write_text
from wsolrefine.export.names import Names, add_names, check_names
from wsolrefine.export.pixels import mask_of
from wsolrefine.export.polygons import polygons
from wsolrefine.export.records import Object, Record, checked, detections

Shapes = Literal["brush", "polygon", "none"]
IMAGE = "image"
TAGS = {"box": "RectangleLabels", "brush": "BrushLabels", "polygon": "PolygonLabels"}
PREFIX = "/data/local-files/?d="
"""The address of local files in Label Studio."""


def write_labelstudio(
    records: Iterable[Record],
    out: str | PathLike[str],
    *,
    names: Names = None,
    prefix: str = PREFIX,
    shapes: Shapes = "brush",
    tolerance: float = 1.0,
) -> None:
    """Write pre-annotations for Label Studio: ``tasks.json``, and ``config.xml`` for the project.

    Each image is a task with one prediction: for each object a rectangle, and its mask. Rectangles
    and polygons are in percent of the image, from its edges. The score of the prediction is the
    highest of its objects, so that tasks can be sorted by it.

    Args:
        records: of :func:`wsolrefine.export.records_of` or :func:`wsolrefine.export.read_results`.
        out: a new or empty folder.
        names: names of the classes, by index; None: those of the objects. Those of the
            configuration are these, so rather few.
        prefix: what the address of an image begins with, before its name.
        shapes: masks as ``"brush"``, with all their pixels; as ``"polygon"``, one for each
            component; or ``"none"``, rectangles only.
        tolerance: how far in pixels polygons may be from the outline of the mask; 0: exact.

    Raises:
        OSError: something cannot be read or written.
        TypeError: an argument is of another kind.
        ValueError: ``out`` is no new or empty folder, or an option is out of range.

    Example:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> from wsolrefine.export import Object, Record
        >>> record = Record("a.jpg", 4, 8, [Object(0, "cat", 0.5, (1, 0, 3, 2))])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_labelstudio([record], Path(folder) / "set")
        ...     task = json.loads((Path(folder) / "set/tasks.json").read_text())[0]
        >>> value = task["predictions"][0]["result"][0]["value"]
        >>> [value[name] for name in ("x", "y", "width", "height")], task["data"]
        ([25.0, 0.0, 50.0, 25.0], {'image': '/data/local-files/?d=a.jpg'})

    """
    known, prefix = check_names(names), check_text("prefix", prefix)
    check_choice("shapes", shapes, get_args(Shapes))
    tolerance = check_number("tolerance", tolerance, low=0)
    found = checked(records)
    with new_folder(out) as folder:
        tasks = []
        for record in found:
            add_names(known, record)
            task = _task(record, prefix, shapes, tolerance)
            tasks.append(json.dumps(task, allow_nan=False))
        write_text(folder / "tasks.json", "[\n" + ",\n".join(tasks) + "\n]\n")
        kinds = ["box", *([] if shapes == "none" else [shapes])]
        write_text(folder / "config.xml", _config(kinds, list(known.values())))


def _task(record: Record, prefix: str, shapes: Shapes, tolerance: float) -> dict[str, Any]:
    result: list[dict[str, Any]] = []
    for number, found in enumerate(detections(record)):
        for place, (kind, value) in enumerate(_values(found, record, shapes, tolerance)):
            tag = TAGS[kind].lower()
            entry = {
                "id": f"object-{number}-{place}",
                "type": tag,
                "from_name": kind,
                "to_name": IMAGE,
                "original_width": record.width,
                "original_height": record.height,
                "image_rotation": 0,
                "value": {"rotation": 0, **value, tag: [found.name]},
            }
            if kind != "box":
                del entry["value"]["rotation"]  # type: ignore[attr-defined]
            if found.score is not None:
                entry["score"] = round(found.score, 6)
            result.append(entry)
    prediction: dict[str, Any] = {"model_version": f"wsolrefine {__version__}", "result": result}
    scores = [found.score for found in detections(record) if found.score is not None]
    if scores:
        prediction["score"] = round(max(scores), 6)
    return {"data": {"image": f"{prefix}{quote(record.name)}"}, "predictions": [prediction]}


def _values(
    found: Object, record: Record, shapes: Shapes, tolerance: float
) -> Iterable[tuple[str, dict[str, Any]]]:
    """Yield the kind and the value of each shape of an object."""
    across, down = 100 / record.width, 100 / record.height
    if found.box is not None:
        x0, y0, x1, y1 = found.box
        size = {"width": (x1 - x0) * across, "height": (y1 - y0) * down}
        yield "box", {"x": x0 * across, "y": y0 * down, **size}
    mask = None if shapes == "none" else mask_of(found, record)
    if mask is not None and shapes == "brush":
        yield "brush", {"format": "rle", "rle": brush(mask)}
    elif mask is not None:
        for ring in polygons(mask, tolerance):
            yield "polygon", {"points": (ring * (across, down)).tolist(), "closed": True}


def _config(kinds: list[str], names: list[str]) -> str:
    labels = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in names)
    tags = "".join(
        f'  <{TAGS[kind]} name="{kind}" toName="{IMAGE}">\n{labels}  </{TAGS[kind]}>\n'
        for kind in kinds
    )
    return f'<View>\n  <Image name="{IMAGE}" value="${IMAGE}"/>\n{tags}</View>\n'
