"""The classifier, and batches that its methods are run on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.common import show_progress
from benchmarks.quality.images import Images, Sample
from benchmarks.quality.measure import SIDE
from wsolrefine import class_activation, find_layers, find_stages, load_classifier
from wsolrefine.activation import ClassActivation

BATCH = 8
AGREE = 0.2  # chance agrees in 1 of 1000 images


class Network:
    """A classifier with the layers that the rows use: the last of its last three stages."""

    def __init__(self, spec: str) -> None:
        self.classifier = load_classifier(spec)
        self.model = self.classifier.model
        images = self.classifier.preprocess(Image.new("RGB", (SIDE, SIDE)))[None]
        stages = find_stages(self.model, images)[-3:]
        self.layers = find_layers(self.model, images)._replace(features=stages)
        features = class_activation(self.model, images, layers=self.layers).features
        if len(features) < 3:
            raise ValueError(f"model: expected stages on 3 grids, got {len(features)} of {spec}")
        self.grids = [f"{layer.shape[2]}x{layer.shape[3]}" for layer in features]
        """The sizes of the grids, from fine to coarse: 28x28, 14x14, 7x7 of EfficientNet-Lite0."""

    def batch(self, samples: list[Sample], labels: Tensor) -> Batch:
        """Return images as a batch, preprocessed."""
        pixels = [self.classifier.preprocess(sample.image) for sample in samples]
        return Batch(self, samples, torch.stack(pixels), labels)


class Batch:
    """Images as the network gets them, and what it makes of them, computed when asked for."""

    def __init__(
        self, network: Network, samples: list[Sample], pixels: Tensor, labels: Tensor
    ) -> None:
        self.network, self.samples = network, samples
        self.pixels, self.labels = pixels, labels

    @cached_property
    def activation(self) -> ClassActivation:
        """One run of the network."""
        model, layers = self.network.model, self.network.layers
        return class_activation(model, self.pixels, labels=self.labels, layers=layers)

    @property
    def cam(self) -> Tensor:
        """The CAM ``(B, h, w)`` in [0, 1]."""
        return self.activation.cam[:, 0]

    def stages(self, *which: int) -> list[Tensor]:
        """Return the features of stages: 0 is the finest, 2 the coarsest."""
        return [self.activation.features[stage] for stage in which]

    @cached_property
    def colors(self) -> Tensor:
        """The images ``(B, 3, SIDE, SIDE)`` in [0, 1]."""
        return torch.stack([small(sample) for sample in self.samples]) / 255


class Labels(NamedTuple):
    """The classes whose maps are measured, and how they were chosen."""

    labels: Tensor
    given: bool
    agreement: float | None  # of the labels of the data set with what the network predicts

    def __str__(self) -> str:
        if self.agreement is None:
            return "predicted for the object on gray"
        kind = "given" if self.given else "predicted"
        return f"{kind} (the labels are those predicted in {100 * self.agreement:.0f} %)"


def labels_of(network: Network, images: Images) -> Labels:
    """Return the labels of a data set if they are classes of the network, else what it predicts.

    They are if the network predicts a fair share of them: its own numbering cannot be told
    from another one otherwise.
    """
    predicted, given = [], []
    for index in range(len(images)):
        sample = images[index]
        with torch.inference_mode():
            scores = network.model(network.classifier.preprocess(sample.alone)[None])
        predicted.append(int(scores.argmax(1)))
        given.append(sample.label)
        show_progress(f"classes of {images.name}", index + 1, len(images))
    labels = [label for label in given if label is not None]
    if len(labels) < len(given):
        return Labels(torch.tensor(predicted), False, None)
    agreement = float(np.mean(np.equal(labels, predicted)))
    agrees = agreement >= AGREE
    return Labels(torch.tensor(labels if agrees else predicted), agrees, agreement)


def batches(network: Network, images: Images, labels: Tensor) -> Iterator[Batch]:
    """Yield images in batches, and print how many are done."""
    for start in range(0, len(images), BATCH):
        stop = min(start + BATCH, len(images))
        samples = [images[index] for index in range(start, stop)]
        yield network.batch(samples, labels[start:stop])
        show_progress(images.name, stop, len(images))


def small(sample: Sample) -> Tensor:
    """Return an image as ``(3, SIDE, SIDE)`` uint8."""
    pixels = np.asarray(sample.image.convert("RGB"))
    resized = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(resized).permute(2, 0, 1)
