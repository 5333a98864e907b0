"""Time the library next to the least that its results need, in one run.

    python -m benchmarks.speed --ops scg evaluate --json speed.json

All calls take turns, again and again. Milliseconds are medians. A ratio is the median of the ratios
of calls made right after each other, so that a drift of the machine's speed cancels.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from benchmarks.common import MACHINE, in_words, machine, origin, write_json
from benchmarks.speed.class_activation import bench_class_activation
from benchmarks.speed.conv_crf import bench_conv_crf
from benchmarks.speed.evaluate import bench_evaluate
from benchmarks.speed.functions import bench_functions
from benchmarks.speed.gppl import bench_gppl
from benchmarks.speed.gpu import bench_gpu
from benchmarks.speed.label_spreading import bench_label_spreading
from benchmarks.speed.pamr import bench_pamr
from benchmarks.speed.report import render
from benchmarks.speed.scg import bench_scg

OPS = {
    "scg": bench_scg,
    "label_spreading": bench_label_spreading,
    "pamr": bench_pamr,
    "conv_crf": bench_conv_crf,
    "gppl": bench_gppl,
    "class_activation": bench_class_activation,
    "functions": bench_functions,
    "evaluate": bench_evaluate,
    "gpu": bench_gpu,
}
# Boxes are counted on the CPU; what else is left out for a GPU is in its own part.
DEFAULTS = {
    "cpu": sorted(OPS.keys() - {"gpu"}),
    "cuda": ["class_activation", "functions", "gppl", "gpu", "scg"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--ops", choices=sorted(OPS), nargs="+", help="default: all of the device")
    parser.add_argument(
        "--runs", type=int, default=5, help="least number of calls; 0 tries one case of each"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write all results of the run, and beside it FILE.md",
    )
    options = parser.parse_args()
    ops = options.ops or DEFAULTS[options.device]
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("highest")
    record: dict[str, object] = {
        "command": f"python -m benchmarks.speed --ops {' '.join(ops)}"
        f" --runs {options.runs} --threads {options.threads} --device {options.device}",
        **origin(),
        **machine(options.device),
        "threads": options.threads,
    }
    print(f"{in_words(record, MACHINE)}, threads {options.threads}")
    start = time.perf_counter()
    results: dict[str, object] = {}
    for name in ops:
        results[name] = OPS[name](options.runs, options.device)
        if options.json:  # after each part: a run that ends early has what it has measured
            seconds = round(time.perf_counter() - start)
            record = {**record, "seconds": seconds, "results": results}
            write_json(options.json, record)
            options.json.with_suffix(".md").write_text(render(record), "utf-8")


if __name__ == "__main__":
    main()
