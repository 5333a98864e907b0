"""Train every recipe and what it is compared with on composed photographs.

    python -m benchmarks.recipes

The papers' own ablations in small: EfficientNet-Lite0, classes are folders of cut-outs, train,
validation and test share neither a cut-out nor a background. Thresholds are chosen on validation.
Parts may be run one by one: the record keeps those of earlier runs on the same scenes.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer, seed_everything
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks import recipe_edges, recipe_ornet
from benchmarks.quality import at_thresholds_of, measure
from benchmarks.quality_report import machine
from benchmarks.recipe_report import draw, line, merged, report
from benchmarks.recipe_rows import PARTS, Cam, segmentation_from
from benchmarks.recipe_scenes import Features, Images, Split, load, pretrained

Figures = dict[str, float]
Row = tuple[str, Figures]


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
def located(recipe: LightningModule, data: Features | Images) -> tuple[Tensor, Tensor, Tensor]:
    """Return class scores, maps of the true classes and maps of the predicted ones."""
    recipe = recipe.cpu().eval()
    logits, of_true, of_predicted = [], [], []
    for start in range(0, len(data), 32):
        inputs, labels = data.__getitems__([*range(start, min(start + 32, len(data)))])
        found = recipe(inputs, labels)
        logits.append(found.logits)
        of_true.append(found.maps)
        of_predicted.append(recipe(inputs).maps)
    return torch.cat(logits), torch.cat(of_true), torch.cat(of_predicted)


def figures(
    recipe: LightningModule, data: Mapping[str, Any], splits: Mapping[str, Split]
) -> tuple[Figures, Tensor]:
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
    """Return the split with boxes that nothing can hit where an image does not count."""
    outside = torch.tensor([[1e6, 1e6, 1e6 + 1, 1e6 + 1]])
    boxes = [
        box if keep else outside for box, keep in zip(split.boxes, shown.tolist(), strict=True)
    ]
    return split._replace(boxes=boxes)


class Run:
    """All parts of the table on the same scenes, with the same frozen backbone."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        held = options.scenes
        counts = {"train": options.train, "validation": held, "test": held}
        self.names, self.splits = load(counts, 0, options.folder)
        self.backbone, self.channels, self.preprocess = pretrained()
        self.features = {
            name: Features.of(self.backbone, split, self.preprocess)
            for name, split in self.splits.items()
        }
        self.shown: dict[str, Tensor] = {}  # maps of the first seed, for the pictures

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
            epochs: Any = recipe.epochs  # which every recipe has
            seconds = train(recipe, data["train"], epochs=epochs, batch=self.options.batch)
            for name, settings in training.rows.items():
                for key, value in settings.items():
                    setattr(recipe.settings, key, value)
                row, maps = figures(recipe, data, self.splits)
                self.shown.setdefault(name, maps)
                yield name, {**row, "seconds": seconds}
                trained[name] = recipe.state_dict()

    def ornet(self) -> Iterator[Row]:
        data = {name: Images(self.splits[name], self.preprocess) for name in ("validation", "test")}

        def trained(recipe: LightningModule, epochs: int, images: Images) -> float:
            return train(recipe, images, epochs=epochs, batch=recipe_ornet.BATCH)

        for name, recipe, seconds in recipe_ornet.rows(
            self.backbone,
            self.channels,
            len(self.names),
            self.splits["train"],
            self.preprocess,
            self.options.ornet_epochs,
            trained,
        ):
            row, maps = figures(recipe, data, self.splits)
            self.shown.setdefault(name, maps)
            yield name, {**row, "seconds": seconds}

    def edges(self) -> Iterator[Row]:
        classifier = Cam(self.channels[-1:], len(self.names), epochs=self.options.epochs)
        last = self.features["train"].only(slice(-1, None))
        train(classifier, last, epochs=self.options.epochs, batch=self.options.batch)
        few = [*range(min(self.options.edge_scenes, len(self.splits["train"].labels)))]
        some = [*range(min(self.options.edge_tests, len(self.splits["test"].labels)))]

        def trained(recipe: LightningModule, epochs: int, data: Any) -> float:
            return train(recipe, data, epochs=epochs, batch=8)

        for name, recipe, seconds in recipe_edges.rows(
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
            found, edges = recipe_edges.scores(recipe, test, self.splits["test"].some(some))
            self.shown.setdefault(name, edges)
            yield name, {**found, "seconds": seconds}


def main() -> None:
    parts = [*PARTS, "ornet", "edges"]
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--train", type=int, default=600, help="scenes to train on")
    parser.add_argument("--scenes", type=int, default=249, help="of validation, and of test")
    parser.add_argument("--epochs", type=int, default=16, help="on frozen features")
    parser.add_argument("--ornet-epochs", type=int, default=16, help="of ORNet's two stages")
    parser.add_argument("--edge-epochs", type=int, default=5, help="of the edge head")
    parser.add_argument("--edge-scenes", type=int, default=240, help="to learn edges from")
    parser.add_argument("--edge-tests", type=int, default=80, help="to measure edges on")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=3, help="on frozen features")
    parser.add_argument("--image-seeds", type=int, default=1, help="of ORNet and of edges")
    parser.add_argument("--folder", type=Path, help="where the packages are unpacked already")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--pictures", type=Path, help="folder for pictures of each recipe's maps")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    run = Run(options)
    same = (
        "train",
        "scenes",
        "epochs",
        "ornet_epochs",
        "edge_epochs",
        "edge_scenes",
        "edge_tests",
        "batch",
    )
    head = {
        "command": "python -m benchmarks.recipes",
        **machine(),
        "options": {name: getattr(options, name) for name in same},
        "classes": run.names,
    }
    record: dict[str, Any] = {}
    for part in options.parts:
        start = time.perf_counter()
        rows: dict[str, list[Figures]] = {}
        for seed in range(options.seeds if part in PARTS else options.image_seeds):
            for name, row in run.rows(part, seed):
                rows.setdefault(name, []).append(row)
                seconds = time.perf_counter() - start
                print(f"{seconds:6.0f} s {line(name, [row])}", file=sys.stderr, flush=True)
            found = {"seeds": seed + 1, "seconds": round(time.perf_counter() - start), "rows": rows}
            record = merged(options.out / "recipes.json", head, part, found)
            (options.out / "recipes.md").write_text(report(record))
        if options.pictures:
            draw(options.pictures, part, run.splits["test"], run.shown)
    print(report(record))


if __name__ == "__main__":
    main()
