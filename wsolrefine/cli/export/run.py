"""A run of ``export``: results are read, selected, and written in a format."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.text import Text

from wsolrefine.cli.console import output_console, printable, progress_bar, stop
from wsolrefine.cli.export.formats import WRITERS, Format
from wsolrefine.cli.files import system_error, termination_as_interrupt
from wsolrefine.cli.refine.classes import class_index
from wsolrefine.data._image_labels import read_image_labels
from wsolrefine.export import Record, Results, read_results, select_objects, used_classes
from wsolrefine.export.records import Changed, detections

OPTIONS = (
    *("out", "images", "validation", "tolerance", "like", "foreground", "background", "overlap"),
    *("prefix", "shapes", "points", "negatives", "labels", "min_score"),
)
"""Arguments whose errors are those of an option of the same name."""


def run(
    place: str,
    form: Format,
    out: Path,
    options: dict[str, Any],
    used: bool,
    labels: Path | None,
    min_score: float | None,
) -> None:
    """Export results, and print how much there is.

    Args:
        place: the folder or the address of the results.
        form: the format.
        out: a new or empty folder.
        options: those of the format.
        used: whether only classes with an object are counted.
        labels: a file of image-level labels.
        min_score: the lowest score of an object.

    """
    try:
        with termination_as_interrupt():
            images, objects = _export(place, form, out, options, used, labels, min_score)
    except OSError as error:
        stop(system_error(error), 1)
    except ImportError as error:
        stop(error, 1)
    except ValueError as error:
        _fail(str(error))
    console = output_console(soft_wrap=True)
    console.print(f"{images:,} images, {objects:,} objects.")
    console.print(Text.assemble("Results: ", printable(out, console)))


def _export(
    place: str,
    form: Format,
    out: Path,
    options: dict[str, Any],
    used: bool,
    labels: Path | None,
    min_score: float | None,
) -> tuple[int, int]:
    results = read_results(place)
    records: Iterable[Record] = results
    if labels is not None or min_score is not None:
        records = select_objects(
            results,
            labels=None if labels is None else _labels_of(labels, results),
            min_score=min_score or 0.0,
        )
    names = results.names
    if used:
        records, names = used_classes(records)
    counts = [0, 0]
    with progress_bar("exporting", len(results)) as advance:

        def counted(record: Record) -> Record:
            counts[0] += 1
            counts[1] += len(detections(record))
            advance(1)
            return record

        writer = WRITERS[form]
        known = {"names": names} if writer.named else {}
        writer.write(Changed(records, counted), out, **known, **options)
    return counts[0], counts[1]


def _labels_of(path: Path, results: Results) -> dict[str, list[int]]:
    """Return the class indices of all images."""
    images = [record.name for record in results]
    found = read_image_labels(path, images)
    count = max(results.names, default=-1) + 1
    names = [results.names.get(label, f"class {label}") for label in range(count)]
    indices: dict[int | str, int | None] = {}

    def index(label: int | str) -> int | None:
        if label not in indices:
            try:
                word = f"index:{label}" if isinstance(label, int) else label
                indices[label] = class_index(word, names, count)
            except ValueError:
                # The results of label know the classes of their rows only.
                if results.records is not None:
                    raise ValueError(
                        f"labels: expected classes of the results, got {label!r:.80}"
                    ) from None
                indices[label] = None
        return indices[label]

    return {
        name: [i for label in found.of(name) if (i := index(label)) is not None] for name in images
    }


def _fail(message: str) -> None:
    name, colon, rest = message.partition(":")
    if colon and name == "folder":
        stop(f"RESULTS:{rest}")
    if colon and name == "names":
        stop(f"--used:{rest}")
    if colon and name in OPTIONS:
        stop(f"--{name.replace('_', '-')}:{rest}")
    stop(message.removeprefix("records: "), 1)
