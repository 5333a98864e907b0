"""Connected components by products of tensors alone: on GPUs, in graphs, under vmap.

A label is the index of a pixel of the same component, at first the pixel's own. In each round the
pixel that a label names takes the least label beside any pixel with that label, and every pixel
then follows the chain of labels, so labels travel in doubling steps.
"""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from wsolrefine.functional._graphs import LOOPS, in_graph, in_trace, in_transform

_STEPS = 2  # how often a chain of labels is followed where rounds repeat until nothing changes


def label_by_propagation(mask: Tensor, connectivity: int) -> Tensor:
    """Label ``(B, H, W)`` on any device, in raster order of the first pixel."""
    index = torch.arange(mask.numel(), device=mask.device)
    around = _neighbors(mask, index.view(mask.shape), connectivity)
    if in_transform() or in_trace() or not LOOPS:
        label = _all_rounds(index, around, mask.shape[-2] * mask.shape[-1])
    elif in_graph():
        label = _recorded_loop(index, around)
    else:
        label = _loop(index, around)
    # Each component is now labeled with the index of its first pixel: number these per image.
    is_first = (label == index).view(mask.shape) & mask
    number = is_first.flatten(1).cumsum(1).flatten()
    return number[label].view(mask.shape).masked_fill(~mask, 0)


def _neighbors(mask: Tensor, index: Tensor, connectivity: int) -> Tensor:
    """Return the indices of the pixels beside each pixel, its own for those outside the mask.

    ``(pixels, 9)`` or ``(pixels, 5)``: with one axis for all pixels, the loops below have no size
    of an image in them, so torch.export leaves all sizes open.
    """
    height, width = mask.shape[-2:]
    padded = F.pad(index.masked_fill(~mask, -1), (1, 1, 1, 1), value=-1)
    around = torch.stack(
        [
            padded[:, row : height + row, column : width + column]
            for row, column in product(range(3), repeat=2)
            if connectivity == 8 or 1 in (row, column)
        ],
        -1,
    )
    joined = (around >= 0) & mask[..., None]
    return around.where(joined, index[..., None]).flatten(0, 2)


def _round(label: Tensor, around: Tensor, steps: int) -> Tensor:
    moved = label.scatter_reduce(0, label, label[around].amin(1), "amin")
    for _ in range(steps):
        moved = moved[moved]
    return moved


def _loop(label: Tensor, around: Tensor) -> Tensor:
    while True:
        moved = _round(label, around, _STEPS)
        if torch.equal(moved, label):
            return label
        label = moved


def _recorded_loop(label: Tensor, around: Tensor) -> Tensor:
    """Do the same in a graph, which keeps the loop: a Loop of ONNX, for example."""

    def changed(change: Tensor, label: Tensor) -> Tensor:
        return change.clone()  # torch refuses a condition that is its own input

    def repeat(change: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        moved = _round(label, around, _STEPS)
        return (moved != label).any(), moved

    start = torch.ones((), dtype=torch.bool, device=label.device)
    carried = (start, label.clone())
    result: Tensor = torch.while_loop(changed, repeat, carried)[1]  # type: ignore[no-untyped-call]
    return result


def _all_rounds(label: Tensor, around: Tensor, pixels: int) -> Tensor:
    """Do as many rounds as an image of so many pixels can need, whatever the mask."""
    for steps in steps_of_rounds(int(pixels)):
        label = _round(label, around, steps)
    return label


def steps_of_rounds(pixels: int) -> list[int]:
    """Return how often each round must follow the labels, for every mask of so many pixels.

    Two rounds at least halve the labels of a component that has several. Call a label least if none
    beside it is smaller; after a round only least labels remain. All labels beside a least label A
    have taken A, so that A now covers two, or one of them has taken a smaller one: then a smaller
    one is beside A, which does not outlast the second round. A chain of labels is at most as long
    as there are labels, and following it n times resolves a chain of 2^n.
    """
    steps = []
    labels = pixels
    while labels > 1:
        steps += 2 * [(labels - 1).bit_length()]
        labels //= 2
    return steps
