"""Train every recipe and its baselines on composite images, or on photographs.

    python -m benchmarks.recipes --cache features
    python -m benchmarks.recipes --cache features \\
        --photographs-train "wsolevaluation:photographs/*/tune" \\
        --photographs-test "wsolevaluation:photographs/*/test" --group cub=birds

The papers' ablations in small, on a frozen EfficientNet-Lite0. Each training image is new: a pool
of scenes, or of crops of photographs, of which every epoch is a slice. Thresholds are chosen on
validation. Parts and seeds that the record holds are not measured again.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings

from benchmarks.common import machine, origin
from benchmarks.recipes.options import Options, command_of, compared, own, parsed
from benchmarks.recipes.parts import PARTS
from benchmarks.recipes.record import Record
from benchmarks.recipes.report import draw, render, values
from benchmarks.recipes.run import Run


def main() -> None:
    options, begun = parsed(), origin()
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    run = Run(options, options.source)
    head = {
        "command": command_of(options),
        **machine(),
        "options": compared(options),
        "images": {name: len(split.labels) for name, split in run.splits.items()},
        "classes": run.class_names,
    }
    path = options.out / f"{options.name}.json"
    record = Record(path, head, begun, [*PARTS], own(options))
    for part in options.parts:
        measure(part, run, record, options)
        path.with_suffix(".md").write_text(render(record.record), "utf-8")
        if options.pictures:
            draw(options.pictures, part, run.splits["test"], run.shown)
    print(render(record.record))


def measure(part: str, run: Run, record: Record, options: Options) -> None:
    """Train and measure the seeds of a part that the record does not hold."""
    done = 0 if options.anew else record.seeds_of(part, options.seeds)
    if done:
        print(f"{part}: {done} seeds are in the record", file=sys.stderr, flush=True)
    for seed in range(done, options.seeds):
        start, rows = time.perf_counter(), []
        for name, row in PARTS[part](run, seed):
            rows.append((name, row))
            shown = " | ".join([name, *values([row])])
            seconds = time.perf_counter() - start
            print(f"{part}, seed {seed}, {seconds:.0f} s: {shown}", file=sys.stderr, flush=True)
        record.add(part, seed, rows, time.perf_counter() - start)


if __name__ == "__main__":
    main()
