"""The rows of the table: every method of ``Localizer``, variants of the functions, baselines.

The method ``scg`` is that function on the stages that ``find_layers`` returns, fine and middle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.quality.measure import SIDE, prepared
from benchmarks.quality.network import Batch, Network
from wsolrefine import (
    Localizer,
    bagcams,
    capture,
    coarse_to_fine,
    confseg_thresholds,
    gppl_released,
    label_spreading,
    layer_cam,
    multiply_maps,
    ncut,
    pamr,
    pc1,
    scg,
    scg_released,
    sem,
)
from wsolrefine.localization.methods import CRF_THRESHOLD, METHODS

Row = Callable[[Batch], Tensor]
"""What a row compares: a batch -> maps ``(B, h, w)``. It may run the network itself."""

FINE, MIDDLE, COARSE = range(3)  # stages
PAMR_SIDE = 112  # of the image that maps are drawn to


def rows_of(network: Network) -> dict[str, Row]:
    """Return all rows but the baselines, named by the grids of the network's stages."""
    fine, middle, coarse = network.grids
    both = f"{fine} and {middle}"
    return {
        **{name: method(network, name) for name in sorted(METHODS, key="cam".__ne__)},
        reference(network): _on(scg, MIDDLE),
        f"scg, {fine}": _on(scg, FINE),
        f"scg, {coarse}": _on(scg, COARSE),
        f"scg, {middle} and {coarse}": _on(scg, MIDDLE, COARSE),
        f"scg, {fine}, {middle} and {coarse}": _on(scg, FINE, MIDDLE, COARSE),
        f"scg, {both}, order 1": _on(scg, FINE, MIDDLE, orders=(1,)),
        f"scg, {both}, orders 1 2 3": _on(scg, FINE, MIDDLE, orders=(1, 2, 3)),
        f"scg, {both}, confseg_thresholds": _own_thresholds,
        f"scg, {middle}, pamr": _scg_pamr,
        f"scg_released, {middle}": _on(scg_released, MIDDLE),
        f"scg_released, {both}": _on(scg_released, FINE, MIDDLE),
        f"label_spreading, {both}": _label_spreading,
        f"bagcams, {coarse}": _from_gradients(bagcams, COARSE),
        f"ncut, {middle}": _on(ncut, MIDDLE),
        f"pc1, {middle}": _on(pc1, MIDDLE),
        f"layer_cam, {middle}": _from_gradients(layer_cam, MIDDLE),
        f"sem, {fine}": _on(sem, FINE),
        f"sem, {middle}": _on(sem, MIDDLE),
        f"sem, {middle}, 20 seeds": _on(sem, MIDDLE, num_seeds=20),
        f"sem, {coarse}, 20 seeds": _on(sem, COARSE, num_seeds=20),
        "gppl_released": lambda batch: gppl_released(batch.cam),
        f"multiply_maps of scg {fine}, {middle}, {coarse}": _product_of_stages,
        f"multiply_maps of cam, scg {both}": _product_with_cam,
        "cam, conv_crf": lambda batch: aligned(prepared(batch.cam), batch.colors),
    }


def main_rows(network: Network) -> list[str]:
    """Return the rows that are shown by size of object too."""
    return [*baselines(), *METHODS, reference(network)]


def reference(network: Network) -> str:
    """Return the name of the row that the others are compared with."""
    return f"scg, {network.grids[MIDDLE]}"


def baselines() -> dict[str, Tensor]:
    """Return maps ``(SIDE, SIDE)`` whose boxes do not depend on the image.

    Above a threshold, a pyramid is a box around the center: the threshold chooses its size.
    """
    steps = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    distance = torch.maximum(steps.abs()[:, None], steps.abs()).double()
    pyramid = (distance.amax() - distance) / (distance.amax() - distance.amin())
    return {"whole image": torch.ones(SIDE, SIDE).double(), "center box": pyramid}


def method(network: Network, name: str) -> Row:
    """Return the row of a method of ``Localizer``, which runs the network itself."""
    localizer = Localizer(network.classifier, refine=name)
    return lambda batch: localizer.class_maps(batch.pixels, batch.labels).maps[:, 0]


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


def _on(function: Callable[..., Tensor], *stages: int, **options: object) -> Row:
    """Refine the CAM with the features of one stage, or of several together."""
    return lambda batch: function(batch.cam, batch.stages(*stages), **options)


def _from_gradients(function: Callable[..., Tensor], stage: int) -> Row:
    """Make a map from the output of a stage and the gradient of the class score there."""

    def row(batch: Batch) -> Tensor:
        model, name = batch.network.model, batch.network.layers.features[stage]
        with torch.enable_grad(), capture(model, name) as outputs:
            scores = model(batch.pixels).gather(1, batch.labels[:, None])
        return function(outputs[name], scores)[:, 0]

    return row


def _own_thresholds(batch: Batch) -> Tensor:
    low, high = confseg_thresholds(batch.cam)
    return scg(batch.cam, batch.stages(FINE, MIDDLE), foreground=high, background=low)


def _scg_pamr(batch: Batch) -> Tensor:
    return pamr(
        scg(batch.cam, batch.stages(MIDDLE)), F.adaptive_avg_pool2d(batch.colors, PAMR_SIDE)
    )


def _label_spreading(batch: Batch) -> Tensor:
    return label_spreading(batch.cam, batch.stages(FINE, MIDDLE), batch.colors)


def _product_of_stages(batch: Batch) -> Tensor:
    return multiply_maps([scg(batch.cam, stage) for stage in batch.stages(FINE, MIDDLE, COARSE)])


def _product_with_cam(batch: Batch) -> Tensor:
    return multiply_maps([batch.cam, scg(batch.cam, batch.stages(FINE, MIDDLE))])
