"""Time the library against what its results need at least, in one run.

    python -m benchmarks.speed --ops scg evaluate

All are called in turn, again and again. Milliseconds are medians; a ratio is the median of the
ratios of calls made right after each other, so that a drift of the machine's speed cancels.
"""

from __future__ import annotations

import argparse
import platform

import torch

from benchmarks.speed_evaluate import bench_evaluate
from benchmarks.speed_scg import bench_scg

OPS = {"scg": bench_scg, "evaluate": bench_evaluate}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--ops", choices=sorted(OPS), nargs="+", default=sorted(OPS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        machine = torch.cuda.get_device_name()
    else:
        machine = f"{platform.machine()} CPU, {options.threads} threads"
    print(f"{machine}, torch {torch.__version__}, Python {platform.python_version()}")
    for name in options.ops:
        OPS[name](options.runs, options.device)


if __name__ == "__main__":
    main()
