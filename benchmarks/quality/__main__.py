"""Measure the CAM and every refinement of it, on composite scenes or on a data set with boxes.

    python -m benchmarks.quality --scenes 249
    python -m benchmarks.quality --data "wsolevaluation:photographs/*/test" \\
        --choose "wsolevaluation:photographs/*/tune"

No training. No threshold is chosen on the images that it is measured on: those of scenes come from
the validation split, those of a data set from --choose, or else from the other half of its images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.common import RESULTS, origin
from benchmarks.quality.data_sets import Options, add_options, open_options
from benchmarks.quality.run import Run
from wsolrefine.models import DEFAULT_CLASSIFIER


def parsed() -> Options:
    """Return the options of the command, or stop with a message."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--scenes", type=int, default=249, help="number of test scenes, and of validation scenes"
    )
    add_options(
        parser,
        data="measure on these images instead of scenes",
        choose="choose thresholds on these, which --data must not hold",
    )
    parser.add_argument(
        "--runs", type=int, default=5, help="least number of times that a row is timed; 0 tries"
    )
    parser.add_argument("--model", default=DEFAULT_CLASSIFIER, help="as load_classifier takes it")
    parser.add_argument("--folder", type=Path, help="folder with the unpacked packages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for JSON and Markdown")
    parser.add_argument(
        "--search",
        action="store_true",
        help="print settings of scg and conv_crf, on validation scenes and the images of --choose",
    )
    parser.add_argument(
        "--thresholds",
        action="store_true",
        help="print thresholds of all methods, on validation scenes and the images of --choose",
    )
    parser.add_argument("--pictures", type=Path, help="folder for plots and cases, of scenes only")
    options = parser.parse_args(namespace=Options())
    if options.data and (options.search or options.thresholds or options.pictures):
        parser.error("--data: expected no --search, --thresholds or --pictures with it")
    if options.choose and not (options.data or options.thresholds or options.search):
        parser.error("--choose: expected --data, --thresholds or --search with it")
    open_options(parser, options)
    return options


def main() -> None:
    begun, options = origin(), parsed()
    run = Run(options, begun)
    if options.search:
        run.search(options.choosing)
    if options.thresholds:
        run.thresholds(options.choosing)
    if options.search or options.thresholds:
        return
    if options.sets:
        run.data(options.sets, options.choosing)
    else:
        run.scenes()


if __name__ == "__main__":
    main()
