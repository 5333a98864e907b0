"""The parts of the table: each yields its rows, trained with one seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from lightning import LightningModule, seed_everything
from torch import nn

from benchmarks.recipes import distillation, edges, ornet, rows
from benchmarks.recipes.features import Features, Images
from benchmarks.recipes.measured import Row
from benchmarks.recipes.run import Run
from benchmarks.recipes.splits import SIDE, Split, first
from wsolrefine.nn import FeatureList

Part = Callable[[Run, int], Iterator[Row]]


def _of_features(part: str, run: Run, seed: int) -> Iterator[Row]:
    return run.of_features(part, seed)


def _ornet(run: Run, seed: int) -> Iterator[Row]:
    seed_everything(seed, verbose=False)
    data = {name: ornet.Stage(run.features[name]) for name in ("validation", "test")}
    whole = FeatureList(run.backbone.model, run.backbone.layers[ornet.FIRST :])

    def train(recipe: LightningModule, epochs: int, examples: Any) -> float:
        return run.train(recipe, examples, epochs=epochs, seed=seed, batch=ornet.BATCH)

    for name, recipe, seconds in ornet.rows(
        run.features["train"],
        run.channels[ornet.FIRST :],
        len(run.class_names),
        Images(run.splits["train"], run.preprocess),
        whole,
        (run.options.ornet_train, run.options.ornet_refine),
        train,
    ):
        yield run.row(f"ORNet, {name}", recipe, data, seconds)


def _edges(run: Run, seed: int) -> Iterator[Row]:
    seed_everything(seed, verbose=False)
    epochs, num_classes = run.options.epochs, len(run.class_names)
    classifier = rows.Cam(nn.Identity(), run.channels[-1:], num_classes, epochs=epochs)
    last = run.features["train"].only(slice(-1, None))
    run.train(classifier, last, epochs=epochs, seed=seed)
    pool = first(run.splits["train"], run.options.edge_train)
    test = first(run.splits["test"], run.options.edge_tests)

    def features(split: Split) -> Features:
        # Edges need the finest maps: too large to be kept for all images.
        return Features.of(run.backbone, split, run.preprocess, finest=SIDE)

    def train(recipe: LightningModule, epochs: int, data: Any) -> float:
        return run.train(recipe, data, epochs=epochs, seed=seed, batch=edges.BATCH)

    of_test = features(test)
    for name, recipe, seconds in edges.rows(
        run.channels,
        num_classes,
        classifier.classes,
        features(pool),
        pool,
        run.preprocess,
        run.options.edge_epochs,
        train,
    ):
        found, maps = edges.scores(recipe, of_test, test)
        run.shown.setdefault(name, maps)
        yield name, {**found, "seconds": seconds}


PARTS: dict[str, Part] = {
    **{part: partial(_of_features, part) for part in rows.PARTS},
    "ornet": _ornet,
    "distill": distillation.rows,
    "edges": _edges,
}
WITHOUT_MASKS = [part for part in PARTS if part != "edges"]
"""Parts that need no masks of the test images."""
