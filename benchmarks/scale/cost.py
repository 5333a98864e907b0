"""What a whole data set costs, computed from the rates that ``python -m benchmarks.scale`` wrote.

    python -m benchmarks.scale.cost --images 1300000

Nothing is measured here: rates are multiplied. More processes than two are assumed to be as
efficient as two were.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, table

IMAGES = 1_300_000
"""About as many as the training images of ILSVRC."""

PROCESSES = (1, 2, 8, 64)


def hours(rate: Mapping[str, Any], images: int, processes: int) -> float:
    """Return the hours of a data set, in processes with a core each."""
    one = images * float(rate["milliseconds"]["label"]) / 3.6e6
    return one if processes == 1 else one / (processes * float(rate["label / two"]) / 2)


def cost_table(record: Mapping[str, Any], images: int = IMAGES) -> str:
    """Return the table of a number of images, and how it was computed, as Markdown."""
    heads = ["photographs", *(_cores(number) for number in PROCESSES), "results"]
    lines = [
        [
            rate["images"],
            *(f"{hours(rate, images, number):.1f} h" for number in PROCESSES),
            f"{images * rate['bytes'] / 1e9:.2f} GB",
        ]
        for rate in record["rates"]
    ]
    about = (
        f"{images:,} images, one class each: computed, not measured. The time of `label` times the "
        "number of images; from two processes on divided by their number and by the efficiency "
        "of two. Copying the images to the processes is not in it. Results are with maps."
    )
    return f"{table(heads, lines)}\n\n{about}"


def _cores(number: int) -> str:
    return "1 core" if number == 1 else f"{number} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument(
        "--record", type=Path, default=RESULTS / "scale.json", help="of python -m benchmarks.scale"
    )
    options = parser.parse_args()
    try:
        record = json.loads(options.record.read_text("utf-8"))
    except FileNotFoundError:
        parser.error(f"--record: expected a file of python -m benchmarks.scale, got none: "
                     f"{options.record}")  # fmt: skip
    print(cost_table(record, options.images))


if __name__ == "__main__":
    main()
