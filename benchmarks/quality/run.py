"""The runs of the command: on scenes, on data sets, and those that choose settings."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence

from torch import Tensor

from benchmarks.quality.bootstrap import DRAWS
from benchmarks.quality.cost import forwards
from benchmarks.quality.counts import Tables, count_rows
from benchmarks.quality.data_sets import shown
from benchmarks.quality.images import Composites, Images, Photographs
from benchmarks.quality.network import BATCH, Labels, Network, labels_of
from benchmarks.quality.pictures import draw_cases, draw_curves
from benchmarks.quality.report import record_of, render, save, splits_of
from benchmarks.quality.results import results_of, size_counts
from benchmarks.quality.rows import main_rows, reference, rows_of
from benchmarks.quality.search import search
from benchmarks.quality.thresholds import search_thresholds
from benchmarks.scenes import Scenes, load_sources
from wsolrefine.models import DEFAULT_CLASSIFIER

Begun = Mapping[str, str | None]


class Run:
    """A run of the command, with its options and the classifier."""

    def __init__(self, options: argparse.Namespace, begun: Begun) -> None:
        self.options, self.begun, self.start = options, begun, time.perf_counter()
        self.network = Network(options.model)
        self.rows = rows_of(self.network)

    def scenes(self) -> None:
        """Measure on test scenes, with thresholds from validation scenes."""
        validation, test = self._drawn("validation"), self._drawn("test")
        labels = labels_of(self.network, test)
        measured, results = self._measure([test], [labels], [validation])
        splits = splits_of({"validation": validation.scenes, "test": test.scenes})
        command = f"quality --scenes {self.options.scenes}"
        about = "Thresholds are those of the validation scenes"
        self._save("quality", command, measured, results, splits, [about])
        if self.options.pictures:
            folder = self.options.pictures
            draw_curves(folder, results, measured)
            draw_cases(folder, self.network, test, labels.labels, self.rows, results)

    def data(self, sets: Sequence[Photographs], choosing: Sequence[Photographs]) -> None:
        """Measure on data sets, with thresholds from others or from the other half of each."""
        labels = [labels_of(self.network, images) for images in sets]
        measured, results = self._measure(sets, labels, choosing)
        splits = {"results": _sizes(sets)}
        command = f"quality --data {shown(self.options.data)}"
        chosen = "Thresholds of each half of the images are those of the other half"
        if choosing:
            splits = {"thresholds": _sizes(choosing), **splits}
            command += f" --choose {shown(self.options.choose)}"
            chosen = "Thresholds are those of other images, of all sets together"
        names = [images.name for images in sets]
        classes = [f"{name} {some}" for name, some in zip(names, labels, strict=True)]
        about = [chosen, f"Classes: {', '.join(classes)}"]
        self._save("quality_photographs", command, measured, results, splits, about)

    def search(self, choosing: Sequence[Photographs]) -> None:
        """Print settings, on the validation scenes and on data sets, if there are any."""
        search(self.network, self._kinds(choosing))

    def thresholds(self, choosing: Sequence[Photographs]) -> None:
        """Print thresholds, chosen on the validation scenes and on data sets, if there are any."""
        search_thresholds(self.network, self._kinds(choosing))

    def _kinds(self, choosing: Sequence[Photographs]) -> dict[str, list[tuple[Images, Tensor]]]:
        """Return the images that settings are chosen on, with the classes of their maps."""
        kinds: dict[str, Sequence[Images]] = {"scenes": [self._drawn("validation")]}
        if choosing:
            kinds["photographs"] = choosing
        return {
            kind: [(images, self._labels(images)) for images in sets]
            for kind, sets in kinds.items()
        }

    def _drawn(self, split: str) -> Composites:
        options = self.options
        sources = load_sources(options.folder)
        return Composites(Scenes(sources, split, options.scenes, seed=options.seed))

    def _labels(self, images: Images) -> Tensor:
        return labels_of(self.network, images).labels

    def _measure(
        self, sets: Sequence[Images], labels: Sequence[Labels], choosing: Sequence[Images]
    ) -> tuple[Tables, list[dict[str, object]]]:
        """Return the counts of all rows on some sets, and their results with costs."""
        elsewhere = None
        if choosing:
            of_choosing = [self._labels(images) for images in choosing]
            elsewhere = count_rows(self.rows, self.network, choosing, of_choosing)
        of_sets = [some.labels for some in labels]
        measured = count_rows(self.rows, self.network, sets, of_sets)
        names = [images.name for images in sets]
        results = results_of(measured, elsewhere, names, reference(self.network))
        for column, size in (("forwards", 1), ("forwards in a batch", BATCH)):
            samples = [sets[0][index] for index in range(min(size, len(sets[0])))]
            some = of_sets[0][: len(samples)]
            costs = forwards(self.rows, self.network, samples, some, runs=self.options.runs)
            for row in results:
                row[column] = costs.get(row["method"], 0.0)  # baselines do not run the network
        return measured, results

    def _save(
        self,
        name: str,
        command: str,
        measured: Tables,
        results: Sequence[Mapping[str, object]],
        splits: Mapping[str, Mapping[str, int]],
        about: Sequence[str],
    ) -> None:
        """Write and print the record."""
        model = self.options.model
        if model != DEFAULT_CLASSIFIER:
            command, name = f"{command} --model {model}", f"{name}_{_plain(model)}"
        record = record_of(
            command,
            results,
            splits,
            self.options.seed,
            seconds=time.perf_counter() - self.start,
            begun=self.begun,
            model=model,
            sizes=size_counts(measured.facts),
            main=main_rows(self.network),
            about=[*about, _explained(reference(self.network))],
        )
        save(self.options.out, name, record)
        print(render(record))


def _sizes(sets: Sequence[Images]) -> dict[str, int]:
    return {f"images of {images.name}": len(images) for images in sets}


def _explained(row: str) -> str:
    return (
        f"± is a standard error by bootstrap, {DRAWS} draws of images (of scenes: of cut-outs), "
        f"with thresholds as they are; gains are over `{row}`, paired; sizes are shares of the "
        "image; forwards is the time from images to maps as a multiple of that of the network, in "
        f"one thread, with one image and in a batch of {BATCH}"
    )


def _plain(model: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in model)
