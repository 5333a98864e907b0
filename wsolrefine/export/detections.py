"""The list of detections that COCO's evaluation takes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from os import PathLike
from pathlib import PurePosixPath
from typing import Any

from wsolrefine._files import read_json
from wsolrefine._options import check_path
from wsolrefine.export.coco import annotation
from wsolrefine.export.folders import new_folder, write_text
from wsolrefine.export.records import Record, checked, detections

FILE = "detections.json"


def write_coco_results(
    records: Iterable[Record], out: str | PathLike[str], *, like: str | PathLike[str] | None = None
) -> None:
    """Write ``detections.json``, the list of detections that ``COCO.loadRes`` of pycocotools takes.

    Each has ``image_id``, ``category_id``, ``bbox`` (``x y width height``), ``score`` (1 where it
    is not known) and ``segmentation`` (run lengths).

    Args:
        records: of :func:`wsolrefine.export.records_of` or :func:`wsolrefine.export.read_results`.
        out: a new or empty folder.
        like: the COCO file of the true annotations: images have its ids by their name, or where
            only one image has it, the last part of the name; classes by their name. None: the ids
            of :func:`wsolrefine.export.write_coco`.

    Raises:
        OSError: something cannot be read or written.
        TypeError: an argument is of another kind.
        ValueError: ``out`` is no new or empty folder, or ``like`` lacks an image or a class.

    Example:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> from wsolrefine.export import Object, Record
        >>> record = Record("a.jpg", 4, 3, [Object(2, "cat", 0.5, (1, 0, 3, 2))])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_coco_results([record], Path(folder) / "found")
        ...     json.loads((Path(folder) / "found/detections.json").read_text())
        [{'image_id': 1, 'category_id': 2, 'bbox': [1, 0, 2, 2], 'score': 0.5}]

    Reference:
        Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.

    """
    ids = None if like is None else _Ids(check_path("like", like))
    found = checked(records)
    with new_folder(out) as folder:
        lines = []
        for number, record in enumerate(found, 1):
            identity = number if record.id is None else record.id
            for one in detections(record):
                known = annotation(one, record)
                label = one.label
                if ids is not None:
                    identity, label = ids.image(record.name), ids.category(one.name)
                entry: dict[str, Any] = {"image_id": identity, "category_id": label}
                entry |= {"bbox": known["bbox"], "score": known.get("score", 1.0)}
                if "segmentation" in known:
                    entry["segmentation"] = known["segmentation"]
                lines.append(json.dumps(entry, allow_nan=False))
        write_text(folder / FILE, "[\n" + ",\n".join(lines) + "\n]\n")


class _Ids:
    """The ids of images and categories of a COCO file."""

    def __init__(self, path: str) -> None:
        self._path = path
        content = read_json(path)
        try:
            self._images = {str(one["file_name"]): one["id"] for one in content["images"]}
            self._categories = {str(one["name"]): one["id"] for one in content["categories"]}
        except (KeyError, TypeError):
            raise ValueError(f"like: expected a COCO file, got {path}") from None
        ends: dict[str, list[int]] = {}
        for name, identity in self._images.items():
            ends.setdefault(PurePosixPath(name).name, []).append(identity)
        self._ends = {name: several[0] for name, several in ends.items() if len(several) == 1}

    def image(self, name: str) -> int:
        end = PurePosixPath(name).name
        found: int | None = self._images.get(name, self._ends.get(end))
        if found is None:
            raise ValueError(f"like: expected an image {name!r} in {self._path}, got none")
        return found

    def category(self, name: str) -> int:
        found: int | None = self._categories.get(name)
        if found is None:
            raise ValueError(f"like: expected a category {name!r} in {self._path}, got none")
        return found
