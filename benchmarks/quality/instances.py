"""Several objects of a class in one image: recall, precision and F1 of boxes at IoU 0.5.

    python -m benchmarks.quality.instances --data wsolevaluation:photographs/test \\
        --choose wsolevaluation:photographs/tune

Each photograph is localized for the class that the network predicts. Found and true boxes are
matched one to one. Images with several true boxes and those with one are measured apart, with the
thresholds that are best on the several boxes of ``--choose``, or else the method's own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import machine, origin, write_json
from benchmarks.quality.objects import ROWS, Photograph, choose, measure, render, search
from wsolrefine import Localizer, load_classifier
from wsolrefine.data import WsolEvaluation
from wsolrefine.localization.methods import DEFAULT, METHODS

SIDE = 224
"""Maps and boxes are measured at this size, as wsolevaluation does."""


def located(method: str, specs: Sequence[str], classifier: Any) -> list[Photograph]:
    """Localize the predicted class in every photograph of the data sets that has a box."""
    localizer = Localizer(classifier, refine=method)
    found = []
    for spec in specs:
        reader, _, folder = spec.partition(":")
        if reader != "wsolevaluation" or not folder:
            raise SystemExit(f"--data: expected wsolevaluation:FOLDER, got {spec}")
        photographs = WsolEvaluation(folder, images=Path(folder) / "images")
        for index in range(len(photographs)):
            image, annotation = photographs[index]
            if len(annotation.boxes):
                maps = localizer(image, size=(SIDE, SIDE)).maps
                scale = SIDE / torch.tensor([image.width, image.height] * 2)
                found.append(Photograph(maps[0], annotation.boxes * scale))
            print(f"\r{method}, {index + 1}/{len(photographs)}", end="", file=sys.stderr)
        print(file=sys.stderr)
    return found


def _shown(spec: str) -> str:
    """Return the last two folders of a data set: a record has no path of the machine."""
    return "/".join(Path(spec).parts[-2:])


def parsed() -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    where = "wsolevaluation:FOLDER, with the lists of a split, and the images in images/"
    for name, text in (
        ("--data", f"measure on these photographs: {where}"),
        ("--choose", "choose thresholds on these, which should be others"),
    ):
        parser.add_argument(
            name, nargs="+", default=[], metavar="SPEC", required=name == "--data", help=text
        )
    parser.add_argument("--methods", nargs="+", choices=[*METHODS], default=["cam", DEFAULT])
    parser.add_argument(
        "--search", action="store_true", help="print F1 by threshold and prominence, on --data"
    )
    parser.add_argument("--json", type=Path, help="file to write the results to")
    return parser.parse_args()


def main() -> None:
    begun, options = origin(), parsed()
    classifier = load_classifier()
    record: dict[str, Any] = {
        "command": f"python -m benchmarks.quality.instances --methods {' '.join(options.methods)}",
        **begun,
        **machine(),
        **{name: [*map(_shown, getattr(options, name))] for name in ("data", "choose")},
        "results": {},
    }
    for method in options.methods:
        found = located(method, options.data, classifier)
        several = [photograph for photograph in found if len(photograph.boxes) > 1]
        single = [photograph for photograph in found if len(photograph.boxes) == 1]
        if options.search:
            print(f"\n{method}, F1, {len(several)} images with several boxes\n\n{search(several)}")
            continue
        thresholds = dict.fromkeys(ROWS, METHODS[method].threshold)
        if options.choose:
            tune = located(method, options.choose, classifier)
            tune = [photograph for photograph in tune if len(photograph.boxes) > 1]
            thresholds = {row: choose(row, tune) for row in ROWS}
        for title, photographs in (("several boxes", several), ("one box", single)):
            if not photographs:
                continue
            results = measure(photographs, thresholds)
            record["results"].setdefault(method, {})[title] = results
            print(f"\n{method}, {len(photographs)} images with {title}\n\n{render(results)}")
    if options.json:
        write_json(options.json, record)


if __name__ == "__main__":
    main()
