"""The maps that are compared: one run of the classifier over scenes, then every refinement."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.scenes import Scenes
from wsolrefine import (
    capture,
    confseg_thresholds,
    conv_crf,
    find_layers,
    gap_cam,
    gppl,
    gppl_released,
    load_classifier,
    minmax,
    multiply_maps,
    scg,
    scg_released,
    sem,
)
from wsolrefine.cli.evaluate.score_maps import enlarge_bicubic
from wsolrefine.cli.maps import REFINE, Method

SIDE = 224
# The last block of each stage of EfficientNet-Lite0, by the side of its grid.
LAYERS = {28: "_blocks.4", 14: "_blocks.10", 7: "_blocks.15"}


class Located(NamedTuple):
    """What the classifier gave for all scenes of a split, and the truth."""

    images: Tensor  # (N, 3, SIDE, SIDE) uint8
    cam: Tensor  # (N, 7, 7) in [0, 1]
    features: dict[int, Tensor]  # side of the grid -> (N, C, side, side)
    masks: Tensor  # (N, SIDE, SIDE) integers
    boxes: list[Tensor]  # N of (1, 4), in pixels of the scene
    sizes: list[tuple[int, int]]  # of the scenes


def locate(scenes: Scenes) -> Located:
    """Run the classifier: the class is its own prediction for the object on plain grey."""
    classifier = load_classifier()
    model, prepare = classifier.model, classifier.preprocess
    layers = find_layers(model, torch.zeros(1, 3, SIDE, SIDE))
    weight = model.get_parameter(f"{layers.head}.weight")
    images, cams, masks, boxes, sizes = [], [], [], [], []
    features: dict[int, list[Tensor]] = {side: [] for side in LAYERS}
    for index in range(len(scenes)):
        scene = scenes[index]
        with torch.inference_mode():
            label = model(prepare(Image.fromarray(scene.plain))[None]).argmax(1)
            with capture(model, layers.cam, *LAYERS.values()) as kept:
                model(prepare(Image.fromarray(scene.image))[None])
            cams.append(minmax(gap_cam(kept[layers.cam], weight, label)))
        for side, name in LAYERS.items():
            features[side].append(kept[name])
        image = cv2.resize(scene.image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        images.append(torch.from_numpy(image).permute(2, 0, 1))
        small = cv2.resize(scene.mask.numpy().astype(np.uint8), (SIDE, SIDE), None, 0, 0, 0)
        masks.append(torch.from_numpy(small))
        boxes.append(scene.box[None])
        sizes.append((scene.mask.shape[0], scene.mask.shape[1]))
        print(f"\r{index + 1}/{len(scenes)} scenes", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    joined = {side: torch.cat(some) for side, some in features.items()}
    truth = torch.stack(masks), boxes, sizes
    return Located(torch.stack(images), torch.cat(cams), joined, *truth)


def _on(function: Callable[..., Tensor], *sides: int, **options: object) -> Callable[..., Tensor]:
    """Refine the CAM with the features of one grid, or of several together."""

    def refine(found: Located) -> Tensor:
        layers = [found.features[side] for side in sides]
        return function(found.cam, layers, **options)

    return refine


def _own_thresholds(found: Located) -> Tensor:
    low, high = confseg_thresholds(found.cam)
    layers = [found.features[28], found.features[14]]
    return scg(found.cam, layers, foreground=high, background=low)


def coarse_to_fine(
    maps: Tensor,
    images: Tensor,
    cut: float,
    *,
    scales: tuple[int, ...] = (4, 2, 1),
    window: int = 11,
) -> Tensor:
    """Draw maps to the edges of their photographs; at ``cut`` the CRF takes neither side.

    The snippet of docs/functions/conv_crf.md, one image after the other: kernels are large.
    """
    drawn = []
    for map, pixels in zip(maps.float().clamp(0.01, 0.99), images, strict=True):
        image = pixels[None] / 255
        unary = torch.stack([(1 - map).log(), map.log() - map.new_tensor(cut).logit()])[None]
        for scale in scales:
            size = [-(-side // scale) for side in map.shape]
            small = [
                F.interpolate(each, size, mode="bilinear", antialias=True)
                for each in (unary, image)
            ]
            probability = conv_crf(*small, kernel_size=window)
            unary = F.interpolate(probability.clamp_min(1e-4).log(), map.shape, mode="bilinear")
        drawn.append(probability[:, 1])
    return torch.cat(drawn)


def _drawn(name: str) -> Callable[[Located], Tensor]:
    """Draw the maps of a method to the edges of the photographs."""
    return lambda found: coarse_to_fine(prepared(METHODS[name](found)), found.images, CUT)


CUT = 0.45  # of CAM and SCG before conv_crf: best MaxBoxAccV2 on validation, see --search
DEFAULT = "scg, 28x28 and 14x14"  # what find_layers and scg do unless told otherwise
METHODS: dict[str, Callable[[Located], Tensor]] = {
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
    "confseg": lambda found: REFINE[Method.confseg](found.cam[:, None], [])[:, 0],
    "multiply_maps of scg 28, 14, 7": lambda found: multiply_maps(
        [_on(scg, side)(found) for side in LAYERS]
    ),
    "multiply_maps of cam, scg 28 and 14": lambda found: multiply_maps(
        [found.cam, _on(scg, 28, 14)(found)]
    ),
    "cam, conv_crf": _drawn("cam"),
    f"{DEFAULT}, conv_crf": _drawn(DEFAULT),
}


def prepared(maps: Tensor) -> Tensor:
    """Enlarge maps as ``wsolrefine evaluate`` and wsolevaluation do."""
    return torch.stack([enlarge_bicubic(map, SIDE) for map in maps])
