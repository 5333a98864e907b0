"""Localizers and what they found: a changed choice computes only what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from PIL import Image

from wsolrefine import Classifier, Layers, Localization, Localizer, find_stages
from wsolrefine.cli.browser_app.choices import Choices
from wsolrefine.data import read_image
from wsolrefine.localization.methods import CAM_ALONE

LIKELY = 5
"""So many of the most probable classes are listed first."""


class Found(NamedTuple):
    """What there is to show of a photograph.

    Attributes:
        cam: heatmap, mask and box of the CAM alone.
        refined: those of the method, at the chosen threshold.
        layers: names of the layers whose features are used.

    """

    cam: Localization
    refined: Localization
    layers: tuple[str, ...]


class Finder:
    """The classifiers that the page offers.

    Args:
        classifiers: by the names that :func:`wsolrefine.load_classifier` takes.
        device: where they run.

    """

    def __init__(self, classifiers: dict[str, Classifier], device: torch.device) -> None:
        self.classifiers, self.device = classifiers, device
        self._layers: dict[tuple[str, Sequence[str]], dict[tuple[int, ...], Layers]] = {}
        self._localizer = lru_cache(maxsize=64)(self._new_localizer)
        self._locate = lru_cache(maxsize=4)(self._locate_anew)
        self.stages = lru_cache(maxsize=None)(self._find_stages)

    def __call__(self, path: str, choices: Choices) -> Found:
        """Localize in a photograph.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no image, or the model does not have such a class or layer.

        """
        refined = self._locate(path, choices._replace(threshold=0.0))
        label = int(refined.labels)
        alone = choices._replace(label=label, method="cam", threshold=0.0)
        return Found(
            self._locate(path, alone),
            refined.at(choices.threshold),
            self._used(choices, path),
        )

    def _locate_anew(self, path: str, choices: Choices) -> Localization:
        localizer = self._localizer(choices.model, choices.method, choices.layers)
        return localizer.open(path, choices.label)

    def _new_localizer(self, model: str, method: str, layers: Sequence[str]) -> Localizer:
        classifier = self.classifiers[model]
        names = None if method in CAM_ALONE else layers or None
        made: Localizer = Localizer(classifier, refine=method, layers=names).to(self.device)
        # To find layers takes longer than a photograph: one for all methods.
        made._found = self._layers.setdefault((model, names or ()), made._found)
        return made

    def _find_stages(self, model: str) -> tuple[str, ...]:
        """Return the names of the layers that can be chosen, from fine to coarse."""
        localizer = self._localizer(model, "cam", ())
        gray = localizer.prepare_image(Image.new("RGB", (64, 64), "gray"))
        images = localizer.prepare_batch([gray])
        return find_stages(localizer.model, images, logits=localizer.logits, call=localizer.call)

    def _used(self, choices: Choices, path: str) -> tuple[str, ...]:
        """Return the names of the layers that were used."""
        if choices.method in CAM_ALONE:
            return ()
        localizer = self._localizer(choices.model, choices.method, choices.layers)
        images = localizer.prepare_batch([localizer.prepare_image(read_image(path))])
        return localizer._layers(images).features
