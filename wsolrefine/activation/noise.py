"""Run a model on the probe's noise, in batches and in a range of values that it takes."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wsolrefine.activation.calling import Call, blamed, caller
from wsolrefine.activation.layout import Read
from wsolrefine.activation.locality import NOISE, PROBES, probe_images
from wsolrefine.activation.passes import Pass

_PIXELS = 6 * 256 * 256  # of the images of one pass: larger maps do not fit into a cache


class Run(NamedTuple):
    """The noise that the model took, and its passes over it."""

    noise: Tensor
    passes: list[Pass]


def run_on_noise(model: nn.Module, images: Tensor, read: Read, call: Call | None) -> Run:
    """Run the model on a few images at a time, else one by one, else as many as were given.

    A model may refuse values that images do not have, as negative ones. Only then noise has the
    range of the images' values.

    Raises:
        TypeError: the model fails, and its weights have another dtype than the images.
        ValueError: it fails in all these ways.

    """
    call = caller(model, call)
    most = max(1, _PIXELS // (images.shape[-2] * images.shape[-1]))
    together = ceil(PROBES / ceil(PROBES / most))
    for noise in _noises(images):
        for count in dict.fromkeys([together, 1, len(images) or 1]):
            try:
                return Run(noise, list(_passes(model, noise, read, call, count)))
            # What a model raises for a number of images, or values, that it cannot take.
            except Exception as error:
                failure = error
    low, high = _range(images)
    raise blamed(images, model, failure) or ValueError(
        f"model: expected one that runs on noise like the images, {tuple(images.shape)} in "
        f"[{low:.3g}, {high:.3g}], got {type(failure).__name__}: {failure}"
    ) from failure


def _passes(model: nn.Module, images: Tensor, read: Read, call: Call, count: int) -> Iterator[Pass]:
    for start in range(0, len(images), count):
        batch = images[start : start + count]
        missing = count - len(batch) if count < len(images) else 0
        # A copy, as the model may change it in place.
        batch = torch.cat([batch, batch[-1:].expand(missing, -1, -1, -1)])
        noise = max(0, min(NOISE - start, count))
        yield Pass(model, batch, read, call, count=len(batch) - missing, noise=noise)


def _noises(images: Tensor) -> Iterator[Tensor]:
    noise = probe_images(images)
    yield noise
    low, high = _range(images)
    # In this order no rounding leads out of the range.
    yield noise.sigmoid().mul(high - low).add(low).clamp(low, high)


def _range(images: Tensor) -> tuple[float, float]:
    """Return the least and the largest finite value, or 0 and 1 if there are no two of them."""
    values = images.detach()
    finite = values[values.isfinite()]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    return (low, high) if low < high else (0.0, 1.0)
