"""Measure the CAM and every refinement of it on composite images with exact masks.

    python -m benchmarks.quality --scenes 249

EfficientNet-Lite0, no training. Thresholds are chosen on the validation split and applied to the
test split. The best threshold of the test split itself is given too, as papers report it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.common import RESULTS, origin
from benchmarks.quality.maps import ROWS, Located, locate
from benchmarks.quality.measure import at_thresholds_of, measure
from benchmarks.quality.report import draw_cases, draw_curves, record_of, render, save
from benchmarks.quality.search import search_crf, search_scg, search_thresholds
from benchmarks.scenes import Scenes, load_sources


def row(name: str, found: dict[str, Located]) -> tuple[dict[str, str | float], list[float]]:
    """Return the results of one method as fractions, and its box accuracy at 0, 0.01, ... 0.99."""
    chosen, test = (measure(ROWS[name](found[split]), found[split]) for split in found)
    peak = int(chosen.gray.peak_threshold)
    results: dict[str, str | float] = {
        "method": name,
        "MaxBoxAccV2": at_thresholds_of(chosen.all_boxes, test.all_boxes),
        "best MaxBoxAccV2": test.all_boxes.accuracy.item(),
        "box accuracy 0.5": at_thresholds_of(chosen.one_box, test.one_box),
        "PxAP": test.pixels,
        "Peak-IoU": test.gray.curve[peak].item(),
        "best Peak-IoU": test.gray.peak_iou.item(),
        "Peak-T": peak,
        "threshold 0.5": chosen.one_box.best_thresholds.item(),
    }
    return results, test.one_box.curve[0, ::10].tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--scenes", type=int, default=249, help="number of test scenes, and of validation scenes"
    )
    parser.add_argument("--folder", type=Path, help="folder with the unpacked packages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for JSON and Markdown")
    parser.add_argument(
        "--search", action="store_true", help="print settings of scg and conv_crf, on validation"
    )
    parser.add_argument(
        "--thresholds", action="store_true", help="print thresholds of all methods, on validation"
    )
    parser.add_argument("--pictures", type=Path, help="folder for plots, best and worst cases")
    options = parser.parse_args()
    start, begun = time.perf_counter(), origin()
    sources = load_sources(options.folder)
    choosing = options.search or options.thresholds
    splits = ("validation",) if choosing else ("validation", "test")
    scenes = {name: Scenes(sources, name, options.scenes, seed=options.seed) for name in splits}
    found = {name: locate(of_split) for name, of_split in scenes.items()}
    if options.search:
        search_scg(found["validation"])
        search_crf(found["validation"])
    if options.thresholds:
        search_thresholds(found["validation"])
    if choosing:
        return
    rows, curves = [], {}
    for name in ROWS:
        results, curves[name] = row(name, found)
        rows.append(results)
        print(f"\r{len(rows)}/{len(ROWS)} methods", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    seconds = time.perf_counter() - start
    record = record_of("quality", rows, scenes, options.seed, seconds=seconds, begun=begun)
    save(options.out, "quality", record)
    print(render("quality", record))
    if options.pictures:
        draw_curves(options.pictures, rows, curves)
        draw_cases(options.pictures, scenes["test"], found["test"], rows)


if __name__ == "__main__":
    main()
