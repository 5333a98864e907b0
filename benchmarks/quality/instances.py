"""Several objects of a class in one image: recall, precision and F1 of boxes at IoU 0.5.

    python -m benchmarks.quality.instances --data wsolevaluation:photographs/test \\
        --choose wsolevaluation:photographs/tune

Each photograph is localized for the class that the network predicts. Found and true boxes are
matched one to one. Images with several true boxes and those with one are measured apart, with the
thresholds that are best on the images of ``--choose`` with several, or else the method's own.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import machine, origin, show_progress, write_json
from benchmarks.quality.data_sets import Options, add_options, open_options, shown
from benchmarks.quality.images import Photographs
from benchmarks.quality.measure import SIDE
from benchmarks.quality.objects import ROWS, Photograph, choose, measure, render, search
from wsolrefine import Localizer, load_classifier
from wsolrefine.localization.methods import DEFAULT, METHODS


def parsed() -> Options:
    """Return the options of the command, or stop with a message."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add_options(
        parser,
        data="measure on these photographs",
        choose="choose thresholds on these, which --data must not hold",
        required=True,
    )
    parser.add_argument("--methods", nargs="+", choices=[*METHODS], default=["cam", DEFAULT])
    parser.add_argument(
        "--search", action="store_true", help="print F1 by threshold and prominence, on --data"
    )
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args(namespace=Options())
    open_options(parser, options)
    return options


def located(localizer: Localizer, sets: Sequence[Photographs]) -> list[Photograph]:
    """Localize the predicted class in every photograph of the data sets."""
    found = []
    for source, photographs in enumerate(sets):
        for index in range(len(photographs)):
            sample = photographs[index]
            map = localizer(sample.image, size=(SIDE, SIDE)).maps[0]
            found.append(Photograph(map, sample.scaled_boxes(), source))
            text = f"{localizer.method}, {photographs.name}"
            show_progress(text, index + 1, len(photographs))
    return found


def several(photographs: Sequence[Photograph]) -> list[Photograph]:
    """Return those with several boxes."""
    return [photograph for photograph in photographs if len(photograph.boxes) > 1]


def thresholds_of(localizer: Localizer, choosing: Sequence[Photographs]) -> dict[str, float]:
    """Return the threshold of each row."""
    if not choosing:
        return dict.fromkeys(ROWS, localizer.threshold)
    photographs = several(located(localizer, choosing))
    if not photographs:
        raise SystemExit("--choose: expected images with several boxes, got none")
    return {row: choose(row, photographs) for row in ROWS}


def command(options: Options) -> str:
    """Return the command as it is recorded."""
    words = ["python -m benchmarks.quality.instances --data", shown(options.data)]
    words += ["--choose", shown(options.choose)] if options.choose else []
    return " ".join([*words, "--methods", *options.methods])


def main() -> None:
    begun, options = origin(), parsed()
    classifier = load_classifier()
    results: dict[str, dict[str, object]] = {}
    for method in options.methods:
        localizer = Localizer(classifier, refine=method)
        found = located(localizer, options.sets)
        if options.search:
            some = several(found)
            print(f"\n{method}, F1, {len(some)} images with several boxes\n\n{search(some)}")
            continue
        thresholds = thresholds_of(localizer, options.choosing)
        single = [photograph for photograph in found if len(photograph.boxes) == 1]
        for title, some in (("several boxes", several(found)), ("one box", single)):
            if some:
                measured = measure(some, thresholds)
                results.setdefault(method, {})[title] = measured
                print(f"\n{method}, {len(some)} images with {title}\n\n{render(measured)}")
    if options.json:
        record: dict[str, Any] = {"command": command(options), **begun, **machine()}
        for name, sets in (("data", options.sets), ("choose", options.choosing)):
            record[name] = {images.name: len(images) for images in sets}
        write_json(options.json, {**record, "results": results})


if __name__ == "__main__":
    main()
