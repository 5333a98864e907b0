"""What is found in a classifier: stages, layers of features, CAM and head."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wsolrefine import Classifier, class_activation, find_layers, find_stages
from wsolrefine.nn import FeatureList


class Layer(NamedTuple):
    """A layer: its stage if it ends one, its output if that is a map, and what it is used for."""

    stage: int | None
    name: str
    kind: str
    grid: tuple[int, int] | None
    channels: int | None
    use: str


class Found(NamedTuple):
    """What is found.

    Attributes:
        name: of the classifier.
        size: height and width of its images.
        layers: the last layer of each stage, and the others that are used.
        cam: name of the layer of the CAM.
        head: name of the head whose weights make the CAM; None: the CAM is Grad-CAM.

    """

    name: str
    size: tuple[int, int]
    layers: list[Layer]
    cam: str
    head: str | None


def find(classifier: Classifier, images: Tensor) -> Found:
    """Look for stages and layers.

    Args:
        classifier: what to look at.
        images: one image as the model takes it.

    Raises:
        ValueError: it is no classifier with maps, see :func:`wsolrefine.find_layers`.

    """
    model, logits, call = classifier.model, classifier.logits, classifier.call
    used = find_layers(model, images, logits=logits, call=call)
    stages = find_stages(model, images, logits=logits, call=call)
    cam = class_activation(model, images, layers=used, logits=logits, call=call)
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    names = [*dict.fromkeys([*stages, *used.features])]
    with torch.no_grad():
        maps = FeatureList(model, names, call=call, logits=logits)(images)
    found = []
    for name, map in zip(names, maps, strict=True):
        uses = [("features", name in used.features), ("CAM", name == used.cam)]
        found.append(
            Layer(
                stages.index(name) + 1 if name in stages else None,
                name,
                kinds[name],
                (map.shape[2], map.shape[3]),
                map.shape[1],
                ", ".join(use for use, is_used in uses if is_used),
            )
        )
    if used.cam not in names:
        grid = (cam.cam.shape[2], cam.cam.shape[3])
        found.append(Layer(None, used.cam, kinds[used.cam], grid, None, "CAM"))
    if used.head is not None:
        classes = cam.logits.shape[1]
        found.append(Layer(None, used.head, kinds[used.head], None, classes, "head"))
    return Found(classifier.name, (images.shape[2], images.shape[3]), found, used.cam, used.head)
