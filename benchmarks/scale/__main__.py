"""Time labelling of whole data sets next to decoding and the model, and the driver's memory.

    python -m benchmarks.scale --json scale.json

Every ratio is of times within one run, in which both take turns. What Ray needs to start is
measured apart and is in none of the ratios.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.common import MACHINE, in_words, machine, origin, table, write_json
from benchmarks.scale.memory import measure_memory
from benchmarks.scale.rates import measure_rates, measure_start

SIZES = {"224 px": (224, 224), "12 megapixels": (4000, 3000)}


def show_rates(images: int, runs: int, folder: Path) -> list[dict[str, Any]]:
    records = [
        {"images": name, **measure_rates(folder, size, images, runs)}
        for name, size in SIZES.items()
    ]
    heads = ["images", "decode and model, ms", "label, ms", "ratio", "two processes"]
    lines = [
        [r["images"], f"{r['floor_ms']:.1f}", f"{r['label_ms']:.1f}", f"{r['ratio']:.2f}",
         f"{r['speedup']:.2f} times one"]
        for r in records
    ]  # fmt: skip
    print(table(heads, lines))
    return records


def show_memory(rows: list[int], folder: Path) -> list[dict[str, Any]]:
    records = [{"rows": count, "mb": measure_memory(count, folder)} for count in rows]
    print(table(["rows", "driver, MB"], [[f"{r['rows']:,}", f"{r['mb']:.0f}"] for r in records]))
    return records


def show_start(folder: Path) -> dict[str, float]:
    record = measure_start(folder)
    first = f"its first row comes {record['row_s']:.1f} s later"
    print(f"Ray starts in {record['ray_s']:.1f} s, and {first}")
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--images", type=int, default=192, help="images in a measured run")
    parser.add_argument("--runs", type=int, default=5, help="runs of each, in turn")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results of the run")
    options = parser.parse_args()
    record: dict[str, Any] = {
        "command": f"python -m benchmarks.scale --images {options.images} --runs {options.runs} "
        f"--rows {' '.join(map(str, options.rows))}",
        **origin(),
        **machine(),
    }
    print(in_words(record, MACHINE))
    begin = time.perf_counter()
    with TemporaryDirectory() as folder:
        place = Path(folder)
        steps: dict[str, Callable[[], Any]] = {
            "start": lambda: show_start(place),
            "rates": lambda: show_rates(options.images, options.runs, place),
            "memory": lambda: show_memory(options.rows, place),
        }
        results = {name: step() for name, step in steps.items()}
    if options.json:
        seconds = round(time.perf_counter() - begin)
        write_json(options.json, {**record, "seconds": seconds, "results": results})


if __name__ == "__main__":
    main()
