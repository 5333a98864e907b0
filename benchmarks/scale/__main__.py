"""Time labelling of whole data sets next to decoding and the model, and the driver's memory.

    python -m benchmarks.scale

Every ratio is of times within one run, in which all take turns. What Ray needs to start is measured
apart and is in none of the ratios.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.common import RESULTS, machine, origin, show_progress, write_record
from benchmarks.scale.memory import measure_memory
from benchmarks.scale.rates import SIZES, measure_rates, measure_start
from benchmarks.scale.report import render


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--images", type=int, default=192, help="images in a measured run")
    parser.add_argument("--runs", type=int, default=5, help="runs of each, in turn")
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="runs for the memory"
    )
    parser.add_argument(
        "--out", type=Path, default=RESULTS, help="folder for scale.json and scale.md"
    )
    return parser.parse_args()


def measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    total = 1 + len(SIZES) + len(options.rows)
    show_progress("scale", 0, total)
    results: dict[str, Any] = {"start": measure_start(folder), "rates": [], "memory": []}
    show_progress("scale", 1, total)
    for name, size in SIZES.items():
        rates = measure_rates(folder, size, options.images, options.runs)
        results["rates"].append({"images": name, **rates})
        show_progress("scale", 1 + len(results["rates"]), total)
    for rows in options.rows:
        results["memory"].append({"rows": rows, "megabytes": measure_memory(rows, folder)})
        show_progress("scale", 1 + len(SIZES) + len(results["memory"]), total)
    return results


def main() -> None:
    options = parsed()
    rows = " ".join(map(str, options.rows))
    record: dict[str, Any] = {
        "command": f"python -m benchmarks.scale --images {options.images} --runs {options.runs} "
        f"--rows {rows}",
        **origin(),
        **machine(),
        "images": options.images,
        "runs": options.runs,
    }
    begin = time.perf_counter()
    with TemporaryDirectory() as folder:
        record |= measured(options, Path(folder))
    record["seconds"] = round(time.perf_counter() - begin)
    text = render(record)
    write_record(options.out, "scale", record, text)
    print(text)


if __name__ == "__main__":
    main()
