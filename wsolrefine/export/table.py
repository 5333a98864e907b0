"""A table of boxes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from os import PathLike, fspath

from wsolrefine.export.folders import new_folder, write_text
from wsolrefine.export.pixels import area_of, run_lengths_of
from wsolrefine.export.records import Record, checked, detections

COLUMNS = ("name", "image", "width", "height", "label", "class_name", "score",
           "x0", "y0", "x1", "y1", "area")  # fmt: skip


def write_csv(records: Iterable[Record], out: str | PathLike[str]) -> None:
    """Write ``objects.csv``: a row for each object, with its half-open box in pixels.

    ``area`` is the number of pixels of the mask, empty without one. An image without objects has no
    row.

    Args:
        records: of :func:`wsolrefine.export.records_of` or :func:`wsolrefine.export.read_results`.
        out: a new or empty folder.

    Raises:
        OSError: something cannot be written.
        TypeError: an argument is of another kind.
        ValueError: ``out`` is no new or empty folder.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from wsolrefine.export import Object, Record
        >>> record = Record("a.jpg", 4, 3, [Object(0, "cat", 0.5, (1, 0, 3, 2))])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_csv([record], Path(folder) / "table")
        ...     (Path(folder) / "table/objects.csv").read_text().splitlines()[1]
        'a.jpg,,4,3,0,cat,0.5,1,0,3,2,'

    """
    found = checked(records)
    with new_folder(out) as folder:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for record in found:
            image = "" if record.image is None else fspath(record.image)
            for one in detections(record):
                runs = run_lengths_of(one, record)
                score = "" if one.score is None else f"{one.score:.6g}"
                corners = [f"{value:g}" for value in one.box or ()]
                row = [record.name, image, record.width, record.height, one.label, one.name, score]
                writer.writerow([*row, *corners, "" if runs is None else area_of(runs)])
        write_text(folder / "objects.csv", text.getvalue())
