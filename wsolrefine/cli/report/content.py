"""What the page knows of images and classes: numbers and names, as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from wsolrefine import __version__
from wsolrefine.cli.report.agreement import Entry
from wsolrefine.cli.report.assets import palette
from wsolrefine.cli.report.runs import Image, Run
from wsolrefine.localization.masks import mask_size


def content(
    runs: Sequence[Run],
    images: Sequence[Image],
    entries: Sequence[Entry],
    maps: dict[tuple[int, int], tuple[int, int]],
    lost: set[int],
    evaluation: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return what the page is made of, but for pictures and maps.

    Args:
        runs: the folders of results.
        images: the images of all of them.
        entries: their classes.
        maps: the (height, width) of each map that could be read, by number of entry and run.
        lost: numbers of the images that could not be read.
        evaluation: see :func:`wsolrefine.cli.report.charts.read_evaluation`.

    """
    return {
        "version": __version__,
        "palette": palette(),
        "runs": [
            {
                "name": run.name,
                "method": run.method,
                "threshold": run.threshold,
                "parts": run.parts,
            }
            for run in runs
        ],
        "images": [
            {
                "name": image.name,
                "width": image.size[0],
                "height": image.size[1],
                "mask": mask_size(image.size[::-1]),  # its rounding is Python's
                "lost": number in lost,
            }
            for number, image in enumerate(images)
        ],
        "entries": [
            {
                "image": entry.image,
                "agreement": entry.agreement,
                "found": [
                    {
                        "run": run,
                        "label": found.label,
                        "name": found.name,
                        "score": found.score,
                        "boxes": found.boxes,
                        "area": found.area,
                        "map": maps.get((number, run)),
                    }
                    for run, found in entry.found.items()
                ],
            }
            for number, entry in enumerate(entries)
        ],
        "evaluation": evaluation,
    }


def script_json(value: Any) -> str:
    r"""Return JSON that may stand in a page, whatever its names are.

    Example:
        >>> print(script_json("</script>&\u2028"))
        "\u003c/script\u003e\u0026\u2028"

    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":  # nothing that ends a script or begins a comment
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
