"""Which classes ``label`` maps: chosen ones, the most probable ones, or those of the source."""

from __future__ import annotations

from functools import partial

from wsolrefine import Localizer
from wsolrefine.cli.console import stop
from wsolrefine.cli.refine.classes import class_index, parse_classes
from wsolrefine.scale.localizing import Classes
from wsolrefine.scale.record import Record

SOURCE = "source"
"""The value of ``--classes`` for the classes that the source names."""


def chosen_classes(localizer: Localizer, record: Record) -> Classes:
    """Return which classes are mapped, or stop if the model has not all of them."""
    names, number = localizer.class_names, localizer.num_classes or 0
    index = partial(class_index, names=names, number=number)
    text, labels = record.settings["classes"], record.facts.labels
    if text == SOURCE or (text is None and labels is not None):
        if labels is None and record.facts.kind == "files":
            stop("--classes: expected a source that names classes for source, got one without")
        try:
            for label in labels or ():
                index(label)
        except ValueError as error:
            stop(f"--{error}; or choose --classes top1")
        return Classes(None, index)
    if text is None and record.facts.kind != "files":  # nobody has looked inside
        return Classes(None, index, needed=False)
    try:
        return Classes(parse_classes("top1" if text is None else text, names, number), index)
    except ValueError as error:
        stop(f"--{error}")
