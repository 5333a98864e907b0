"""A folder of ``label`` as a run of the report."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wsolrefine.cli.console import stop
from wsolrefine.cli.label.folder import fail, open_labels
from wsolrefine.cli.report.runs import Found, Image, Levels, Run, StoredMap, short_name
from wsolrefine.scale.parts import done, read_part
from wsolrefine.scale.rows import stored_map


def read_labeled(folder: Path, limit: int | None) -> Run:
    """Read a folder of labels with maps, or stop.

    Args:
        folder: of ``label``, ``threshold`` or ``merge``.
        limit: the most images to take, from the first; None: all.

    """
    try:
        store, record = open_labels(str(folder))
        settings = record.settings
        if not settings.get("maps"):
            stop(f"RESULTS: expected labels with maps, got {folder}, made with --no-maps")
        if settings.get("recipe") == "sem_edges":
            stop(f"RESULTS: expected labels with masks, got {folder}, the edges of sem_edges")
        images: dict[Any, Image] = {}
        for number in done(store):
            for row in read_part(store, number)[1].to_pylist():
                if row["error"] is not None or row["map"] is None:
                    continue
                if row["id"] not in images:
                    if limit is not None and len(images) == limit:
                        break
                    images[row["id"]] = _image(row, record.facts.kind)
                images[row["id"]].found.append(_found(row))
    except (OSError, ValueError) as error:
        fail(error)
    method = str(settings.get("method") or settings.get("recipe"))
    name = folder.name or str(folder)
    return Run(name, method, settings["threshold"], settings["parts"], list(images.values()))


def _image(row: Mapping[str, Any], kind: str) -> Image:
    """Return the image of a row; those in containers and at addresses are not looked for."""
    single = kind == "files" and "://" not in row["path"]
    path = Path(os.path.realpath(row["path"])) if single else None
    name = Path(row["path"]).name if single and isinstance(row["id"], int) else str(row["id"])
    return Image(name, path, (row["width"], row["height"]), [])


def _found(row: dict[str, Any]) -> Found:
    boxes = [] if row["box"] is None else [tuple(row["box"])]

    def load() -> Levels:
        levels: Levels = (stored_map(row) * 255).round().byte().numpy()
        return levels

    return Found(
        row["label"],
        short_name(row["class_name"]),
        row["score"],
        boxes,
        row["area"] or 0,
        StoredMap(load),
    )
