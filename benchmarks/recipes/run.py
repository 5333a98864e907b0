"""What all parts of the table share: data, the frozen network, training and measuring."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from typing import Any

from lightning import LightningModule, Trainer, seed_everything
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.recipes.cache import prepare
from benchmarks.recipes.features import Examples, pretrained
from benchmarks.recipes.measured import Row, results_of
from benchmarks.recipes.pool import Slices
from benchmarks.recipes.rows import PARTS
from benchmarks.recipes.splits import Source
from wsolrefine.recipes import Recipe


class Run:
    """The same images and the same frozen backbone for all parts.

    Attributes:
        splits: the splits by name; "train" is the pool.
        features: the features of their images.
        shown: the maps of the test split of each row, with the first seed that was trained.
        taught: what each teacher of distillation found, which is the same for every seed.

    """

    def __init__(self, options: argparse.Namespace, source: Source) -> None:
        self.options, self.class_names = options, source.class_names
        self.backbone, self.channels, self.preprocess = pretrained()
        prepared = prepare(source, self.backbone, self.preprocess, options.cache)
        self.splits = {name: some.split for name, some in prepared.items()}
        self.features = {name: some.features for name, some in prepared.items()}
        self.shown: dict[str, Tensor] = {}
        self.taught: dict[str, Any] = {}

    def train(
        self,
        recipe: LightningModule,
        data: Any,
        *,
        epochs: int,
        seed: int,
        batch: int | None = None,
    ) -> float:
        """Train with Lightning, each image seen once; return the seconds it took.

        No log and no checkpoint is written. The batch is at most that of the options.
        """
        batch = self.options.batch if batch is None else min(batch, self.options.batch)
        order = Slices(len(data), epochs, seed=seed)
        if len(order) < batch:
            raise ValueError(
                f"train: expected at least {batch * epochs} images for {epochs} epochs of a batch "
                f"of {batch}, got {len(data)}"
            )
        # Data sets return whole batches, so there is nothing to collate.
        loader = DataLoader(
            data, batch, sampler=order, drop_last=True, collate_fn=lambda some: some
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

    def row(self, name: str, recipe: Recipe, data: Mapping[str, Examples], seconds: float) -> Row:
        """Measure a trained recipe on the test split, with thresholds of the validation split."""
        found, maps = results_of(recipe, data, self.splits)
        self.shown.setdefault(name, maps)
        return name, {**found, "seconds": seconds}

    def of_features(self, part: str, seed: int) -> Iterator[Row]:
        """Yield the rows of a part whose recipes read frozen features."""
        trained: dict[str, Mapping[str, Tensor]] = {}
        for training in PARTS[part]:
            seed_everything(seed, verbose=False)
            channels = self.channels[training.stages]
            recipe = training.make(channels, len(self.class_names), self.options.epochs)
            if training.after is not None:
                recipe.load_state_dict(trained[training.after], strict=False)
            data = {name: some.only(training.stages) for name, some in self.features.items()}
            seconds = self.train(recipe, data["train"], epochs=recipe.epochs, seed=seed)
            for name, settings in training.rows.items():
                recipe.settings.update(settings)
                yield self.row(name, recipe, data, seconds)
                trained[name] = recipe.state_dict()
