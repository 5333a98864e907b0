"""The maps that are compared: one run of the classifier over scenes, then every refinement."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from benchmarks.scenes import Scenes
from wsolrefine import (
    class_activation,
    coarse_to_fine,
    confseg_thresholds,
    find_layers,
    gppl,
    gppl_released,
    load_classifier,
    multiply_maps,
    scg,
    scg_released,
    sem,
)
from wsolrefine.localization.methods import CRF_THRESHOLD, METHODS
from wsolrefine.metrics import prepare_score_map

SIDE = 224
# The last block of each stage of EfficientNet-Lite0, by the side of its grid.
LAYERS = {28: "_blocks.4", 14: "_blocks.10", 7: "_blocks.15"}


class Located(NamedTuple):
    """Outputs of the classifier for all scenes of a split, and the ground truth."""

    images: Tensor  # (N, 3, SIDE, SIDE) uint8
    cam: Tensor  # (N, 7, 7) in [0, 1]
    features: dict[int, Tensor]  # side of the grid -> (N, C, side, side)
    masks: Tensor  # (N, SIDE, SIDE) integers
    boxes: list[Tensor]  # N of (1, 4), in pixels of the scene
    sizes: list[tuple[int, int]]  # of the scenes

    def layers(self, *sides: int) -> list[Tensor]:
        """Return the features on these grids."""
        return [self.features[side] for side in sides]

    def colors(self) -> Tensor:
        """Return the images as floating-point numbers in [0, 1]."""
        return self.images / 255


def locate(scenes: Scenes) -> Located:
    """Run the classifier: the class is the one it predicts for the object on plain gray."""
    classifier = load_classifier()
    model, prepare = classifier.model, classifier.preprocess
    layers = find_layers(model, torch.zeros(1, 3, SIDE, SIDE))
    layers = layers._replace(features=tuple(LAYERS.values()))
    images, cams, masks, boxes, sizes = [], [], [], [], []
    features: dict[int, list[Tensor]] = {side: [] for side in LAYERS}
    for index in range(len(scenes)):
        scene = scenes[index]
        with torch.inference_mode():
            label = model(prepare(Image.fromarray(scene.plain))[None]).argmax(1)
        found = class_activation(
            model, prepare(Image.fromarray(scene.image))[None], labels=label, layers=layers
        )
        cams.append(found.cam[:, 0])
        for side, layer in zip(LAYERS, found.features, strict=True):
            features[side].append(layer)
        image, mask = scene.shrink(SIDE)
        images.append(image)
        masks.append(mask)
        boxes.append(scene.box[None])
        sizes.append((scene.mask.shape[0], scene.mask.shape[1]))
        print(f"\r{index + 1}/{len(scenes)} scenes", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    joined = {side: torch.cat(some) for side, some in features.items()}
    truth = torch.stack(masks), boxes, sizes
    return Located(torch.stack(images), torch.cat(cams), joined, *truth)


def prepared(maps: Tensor) -> Tensor:
    """Resize maps ``(N, h, w)`` as ``wsolrefine evaluate`` and wsolevaluation do."""
    return torch.stack([prepare_score_map(map, (SIDE, SIDE)) for map in maps])


def aligned(
    maps: Tensor,
    colors: Tensor,
    threshold: float = CRF_THRESHOLD,
    *,
    scales: Sequence[int] = (4, 2, 1),
    kernel_size: int = 11,
) -> Tensor:
    """Align maps with the edges of their images, one image after the other: kernels are large."""
    align = partial(coarse_to_fine, threshold=threshold, scales=scales, kernel_size=kernel_size)
    pairs = zip(maps.float()[:, None], colors[:, None], strict=True)
    return torch.cat([align(map, image) for map, image in pairs])


Maps = Callable[[Located], Tensor]
"""What a row compares: the outputs of the classifier -> maps ``(N, h, w)``."""


def _on(function: Callable[..., Tensor], *sides: int, **options: object) -> Maps:
    """Refine the CAM with the features of one grid, or of several together."""
    return lambda found: function(found.cam, found.layers(*sides), **options)


def _own_thresholds(found: Located) -> Tensor:
    low, high = confseg_thresholds(found.cam)
    return scg(found.cam, found.layers(28, 14), foreground=high, background=low)


def _confseg(found: Located) -> Tensor:
    """Three levels, as ``refine="confseg"`` of a Localizer has them."""
    refine = METHODS["confseg"].refine
    return refine(found.cam[:, None], found.layers(28, 14), found.colors())[:, 0]


def _with_crf(name: str) -> Maps:
    """Align the maps of a row with the edges of the images."""
    return lambda found: aligned(prepared(ROWS[name](found)), found.colors())


DEFAULT = "scg, 28x28 and 14x14"  # the default of find_layers and scg
ROWS: dict[str, Maps] = {
    "cam": lambda found: found.cam,
    DEFAULT: _on(scg, 28, 14),
    "scg, 28x28": _on(scg, 28),
    "scg, 14x14": _on(scg, 14),
    "scg, 7x7": _on(scg, 7),
    "scg, 14x14 and 7x7": _on(scg, 14, 7),
    "scg, 28x28, 14x14 and 7x7": _on(scg, 28, 14, 7),
    "scg, 28x28 and 14x14, order 1": _on(scg, 28, 14, orders=(1,)),
    "scg, 28x28 and 14x14, orders 1 2 3": _on(scg, 28, 14, orders=(1, 2, 3)),
    "scg, 28x28 and 14x14, confseg_thresholds": _own_thresholds,
    "scg_released, 14x14": _on(scg_released, 14),
    "scg_released, 28x28 and 14x14": _on(scg_released, 28, 14),
    "sem, 28x28": _on(sem, 28),
    "sem, 14x14": _on(sem, 14),
    "sem, 7x7, 20 seeds": _on(sem, 7, num_seeds=20),
    "sem, 14x14, 20 seeds": _on(sem, 14, num_seeds=20),
    "gppl": lambda found: gppl(found.cam),
    "gppl_released": lambda found: gppl_released(found.cam),
    "confseg": _confseg,
    "multiply_maps of scg 28, 14, 7": lambda found: multiply_maps(
        [scg(found.cam, found.layers(side)) for side in LAYERS]
    ),
    "multiply_maps of cam, scg 28 and 14": lambda found: multiply_maps(
        [found.cam, scg(found.cam, found.layers(28, 14))]
    ),
    "cam, conv_crf": _with_crf("cam"),
    f"{DEFAULT}, conv_crf": _with_crf(DEFAULT),
}
