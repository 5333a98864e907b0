"""Train and measure the parts of the table, on the same scenes with the same frozen backbone."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from lightning import LightningModule, Trainer, seed_everything
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.quality.measure import at_thresholds_of, measure
from benchmarks.recipes import edges, ornet
from benchmarks.recipes.rows import PARTS, Cam, segmentation_from
from benchmarks.recipes.scenes import Features, Images, Split, load, pretrained
from wsolrefine.recipes import Recipe

Results = dict[str, float]
Row = tuple[str, Results]


def train(recipe: LightningModule, data: Any, *, epochs: int, batch: int) -> float:
    """Train with Lightning, without a log or a checkpoint; return the seconds it took."""
    loader = DataLoader(
        data, batch_size=batch, shuffle=True, drop_last=True, collate_fn=lambda batch: batch
    )
    trainer = Trainer(
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        devices=1,
    )
    start = time.perf_counter()
    trainer.fit(recipe, loader)
    return time.perf_counter() - start


@torch.no_grad()
def located(recipe: Recipe, data: Features | Images) -> tuple[Tensor, Tensor, Tensor]:
    """Return class scores, maps of the true classes and maps of the predicted ones."""
    recipe = recipe.cpu().eval()
    logits, of_true, of_predicted = [], [], []
    for start in range(0, len(data), 32):
        inputs, labels = data.__getitems__([*range(start, min(start + 32, len(data)))])
        # Not class_maps, which takes images only: most recipes get features here.
        scores, maps_of = recipe.activate(inputs)  # type: ignore[arg-type]
        logits.append(scores)
        of_true.append(maps_of(labels))
        of_predicted.append(maps_of(scores.argmax(1)))
    return torch.cat(logits), torch.cat(of_true), torch.cat(of_predicted)


def results_of(
    recipe: Recipe, data: Mapping[str, Any], splits: Mapping[str, Split]
) -> tuple[Results, Tensor]:
    """Return a row, with the thresholds of the validation split, and the maps of the test split."""
    chosen = measure(located(recipe, data["validation"])[1], splits["validation"])
    logits, of_true, of_predicted = located(recipe, data["test"])
    test = measure(of_true, splits["test"])
    correct = logits.argmax(1) == splits["test"].labels
    hits = measure(of_predicted, hidden(splits["test"], correct))
    row = {
        "MaxBoxAccV2": at_thresholds_of(chosen.all_boxes, test.all_boxes),
        "GT-known": at_thresholds_of(chosen.one_box, test.one_box),
        "Top-1 Loc": at_thresholds_of(chosen.one_box, hits.one_box),
        "PxAP": test.pixels,
        "accuracy": correct.double().mean().item(),
        "best MaxBoxAccV2": test.all_boxes.accuracy.item(),
        "threshold 0.5": chosen.one_box.best_thresholds.item(),
    }
    return row, of_true


def hidden(split: Split, shown: Tensor) -> Split:
    """Return the split without boxes, which no map can hit, where an image does not count."""
    boxes = [
        box if keep else box[:0] for box, keep in zip(split.boxes, shown.tolist(), strict=True)
    ]
    return split._replace(boxes=boxes)


class Run:
    """All parts of the table on the same scenes, with the same frozen backbone."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        held_out = options.scenes
        counts = {"train": options.train, "validation": held_out, "test": held_out}
        self.names, self.splits = load(counts, 0, options.folder)
        self.backbone, self.channels, self.preprocess = pretrained()
        self.features = {
            name: Features.of(self.backbone, split, self.preprocess)
            for name, split in self.splits.items()
        }
        self.shown: dict[str, Tensor] = {}  # maps of the first seed, for the images

    def rows(self, part: str, seed: int) -> Iterator[Row]:
        """Yield the rows of one part, trained with one seed."""
        seed_everything(seed, verbose=False)
        if part == "ornet":
            return self.ornet()
        return self.edges() if part == "edges" else self.of_frozen_features(part, seed)

    def of_frozen_features(self, part: str, seed: int) -> Iterator[Row]:
        trained: dict[str, Mapping[str, Tensor]] = {}
        for training in PARTS[part]:
            seed_everything(seed, verbose=False)
            channels = self.channels[training.stages]
            recipe = training.make(channels, len(self.names), self.options.epochs)
            if training.after is not None:
                recipe.load_state_dict(segmentation_from(trained[training.after]), strict=False)
            data = {name: some.only(training.stages) for name, some in self.features.items()}
            seconds = train(recipe, data["train"], epochs=recipe.epochs, batch=self.options.batch)
            for name, settings in training.rows.items():
                for key, value in settings.items():
                    setattr(recipe.settings, key, value)
                row, maps = results_of(recipe, data, self.splits)
                self.shown.setdefault(name, maps)
                yield name, {**row, "seconds": seconds}
                trained[name] = recipe.state_dict()

    def ornet(self) -> Iterator[Row]:
        data = {name: Images(self.splits[name], self.preprocess) for name in ("validation", "test")}

        def trained(recipe: LightningModule, epochs: int, images: Images) -> float:
            return train(recipe, images, epochs=epochs, batch=min(ornet.BATCH, self.options.batch))

        for name, recipe, seconds in ornet.rows(
            self.backbone,
            self.channels,
            len(self.names),
            self.splits["train"],
            self.preprocess,
            self.options.ornet_epochs,
            trained,
        ):
            row, maps = results_of(recipe, data, self.splits)
            self.shown.setdefault(name, maps)
            yield name, {**row, "seconds": seconds}

    def edges(self) -> Iterator[Row]:
        classifier = Cam(
            torch.nn.Identity(), self.channels[-1:], len(self.names), epochs=self.options.epochs
        )
        last = self.features["train"].only(slice(-1, None))
        train(classifier, last, epochs=self.options.epochs, batch=self.options.batch)
        few = [*range(min(self.options.edge_scenes, len(self.splits["train"].labels)))]
        some = [*range(min(self.options.edge_tests, len(self.splits["test"].labels)))]

        def trained(recipe: LightningModule, epochs: int, data: Any) -> float:
            return train(recipe, data, epochs=epochs, batch=min(edges.BATCH, self.options.batch))

        for name, recipe, seconds in edges.rows(
            self.channels,
            len(self.names),
            classifier.classes,
            self.features["train"].some(few),
            self.splits["train"].some(few),
            self.preprocess,
            self.options.edge_epochs,
            trained,
        ):
            test = self.features["test"].some(some)
            found, maps = edges.scores(recipe, test, self.splits["test"].some(some))
            self.shown.setdefault(name, maps)
            yield name, {**found, "seconds": seconds}
