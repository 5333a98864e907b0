"""Train every recipe and its baselines on composite images.

    python -m benchmarks.recipes

The papers' ablations in small: EfficientNet-Lite0, classes are folders of cut-outs, train,
validation and test share neither a cut-out nor a background. Thresholds are chosen on validation.
Parts can be run one by one: the record keeps those of earlier runs on the same scenes.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, machine, origin
from benchmarks.recipes.report import draw, merged, render, values
from benchmarks.recipes.rows import PARTS
from benchmarks.recipes.run import Results, Run

COMPARED = (
    "train",
    "scenes",
    "epochs",
    "ornet_epochs",
    "edge_epochs",
    "edge_scenes",
    "edge_tests",
    "batch",
)
"""Options on which all parts of a record agree."""


def main() -> None:
    parts = [*PARTS, "ornet", "edges"]
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--train", type=int, default=600, help="number of training scenes")
    parser.add_argument(
        "--scenes", type=int, default=249, help="number of validation scenes, and of test scenes"
    )
    parser.add_argument("--epochs", type=int, default=16, help="on frozen features")
    parser.add_argument("--ornet-epochs", type=int, default=16, help="of ORNet's two stages")
    parser.add_argument("--edge-epochs", type=int, default=5, help="of the edge head")
    parser.add_argument("--edge-scenes", type=int, default=240, help="to learn edges from")
    parser.add_argument("--edge-tests", type=int, default=80, help="to measure edges on")
    parser.add_argument("--batch", type=int, default=32, help="batch size")
    parser.add_argument("--seeds", type=int, default=3, help="on frozen features")
    parser.add_argument("--image-seeds", type=int, default=1, help="of ORNet and of edges")
    parser.add_argument("--folder", type=Path, help="folder with the unpacked packages")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for JSON and Markdown")
    parser.add_argument("--pictures", type=Path, help="folder for images of each recipe's maps")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    begun = origin()
    run = Run(options)
    head = {
        "command": "python -m benchmarks.recipes",
        **machine(),
        "options": {name: getattr(options, name) for name in COMPARED},
        "classes": run.names,
    }
    record: dict[str, Any] = {}
    for part in options.parts:
        start = time.perf_counter()
        rows: dict[str, list[Results]] = {}
        for seed in range(options.seeds if part in PARTS else options.image_seeds):
            for name, row in run.rows(part, seed):
                rows.setdefault(name, []).append(row)
                seconds = time.perf_counter() - start
                shown = " | ".join([name, *values([row])])
                print(f"{seconds:6.0f} s | {shown} |", file=sys.stderr, flush=True)
            found = {
                **begun,
                "seeds": seed + 1,
                "seconds": round(time.perf_counter() - start),
                "rows": rows,
            }
            record = merged(options.out / "recipes.json", head, part, found)
            (options.out / "recipes.md").write_text(render(record), "utf-8")
        if options.pictures:
            draw(options.pictures, part, run.splits["test"], run.shown)
    print(render(record))


if __name__ == "__main__":
    main()
