"""Arithmetic shared by the functions: dtypes, rounding, rescaling, full precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from math import frexp, sqrt
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from wsolrefine.functional._graphs import in_graph, in_transform

P = ParamSpec("P")
T = TypeVar("T")

_VALUES_CPU, _VALUES_GPU = 2**20, 2**26  # 4 and 256 MB of float32
_MOST_IMAGES = 2**31


def rounding(maps: Tensor) -> Tensor:
    """Return the span, ``(..., 1, 1)``, below which a map holds only rounding errors."""
    return 8 * torch.finfo(maps.dtype).eps * working(maps).abs().amax((-2, -1), keepdim=True)


def rescale(values: Tensor, dim: int | tuple[int, ...], *, flat: Tensor | float) -> Tensor:
    """Min-max along ``dim``; where the span is at most ``flat``, or not finite, return zero."""
    low, high = values.amin(dim, keepdim=True), values.amax(dim, keepdim=True)
    # The span of large values of both signs would overflow. Halving them is exact.
    half = 1 - 0.5 * (torch.maximum(high, -low).detach() > 1).to(values.dtype)
    low, span = low * half, high * half - low * half
    signal = (span > flat * half) & (span < torch.inf)  # false for NaN
    # A safe divisor before the division keeps NaN out of the backward pass.
    return torch.where(signal, (values * half - low) / span.where(signal, 1.0), 0.0)


def balance(peak: Tensor) -> Tensor:
    """Return the power of two by which to multiply numbers of at most that size: 1, if not extreme.

    Sums and products of two such numbers then neither overflow nor vanish. The multiplication is
    exact, except for numbers that are zero to rounding beside the peak.
    """
    exponent = frexp(torch.finfo(peak.dtype).max)[1]  # 128 for float32
    most = 2.0 ** (exponent // 2 - 4)
    smaller, larger = 2.0 ** -(exponent // 2 + 4), 2.0 ** (exponent * 11 // 16)
    ones = torch.ones_like(peak)
    return ones.masked_fill(peak > most, smaller).masked_fill(peak < 1 / most, larger)


def largest(maps: Tensor, dim: int | tuple[int, ...] = (-2, -1)) -> Tensor:
    """Return the largest magnitude along ``dim``, which is kept. It has no gradient."""
    still = maps.detach()
    return torch.maximum(still.amax(dim, keepdim=True), -still.amin(dim, keepdim=True))


def root(values: Tensor) -> Tensor:
    """Return square roots; at zero, where their slope is infinite, the gradient is zero."""
    return raised(values, 0.5)


def raised(values: Tensor, exponent: float) -> Tensor:
    """Raise numbers >= 0 to a power > 0; where the slope at zero is infinite, it counts as zero."""
    if exponent >= 1:
        return values.pow(exponent)
    positive = values != 0  # so is NaN
    return values.where(positive, 1.0).pow(exponent).where(positive, 0.0)


def within(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Clamp what rounding moved out of a range; the gradient is that of the values."""
    return values + (values.clamp(low, high) - values).detach()


def unit_range(maps: Tensor) -> Tensor:
    """Min-max each map ``(..., H, W)``, in the dtype used for sums."""
    return rescale(working(maps), (-2, -1), flat=rounding(maps))


def unit_rounding(maps: Tensor) -> Tensor:
    """Return how far rounding may move the values of :func:`unit_range`, in its dtype."""
    values = working(maps).detach() / 2  # so that the span cannot overflow
    span = values.amax((-2, -1), keepdim=True) - values.amin((-2, -1), keepdim=True)
    return (rounding(values) / 2 / span).where(span > 0, 0.0)


def clamp_own(values: Tensor, low: float | None, high: float | None) -> Tensor:
    """Clamp a tensor that nobody else holds: in place, unless vmap has no rule for that."""
    return values.clamp(low, high) if in_transform() else values.clamp_(low, high)


def working(tensor: Tensor) -> Tensor:
    """Return the tensor in the dtype used for sums: float32 for half precision."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def images_at_once(values: int, device: torch.device) -> int:
    """Return how many images, or rows of a matrix, of that many values to compute together.

    On a CPU they stay in its cache, on a GPU they fill it. A compiled graph has no loop over them.
    """
    if in_graph():
        return _MOST_IMAGES
    return max(1, (_VALUES_CPU if device.type == "cpu" else _VALUES_GPU) // max(1, values))


def split_images(tensor: Tensor, at_once: int) -> Sequence[Tensor]:
    """Return parts of so many images; in a graph all in one, without a step that has their number.

    ONNX Runtime would fix the number of images to that of the export.
    """
    return [tensor] if in_graph() else torch.split(tensor, at_once)


def for_autograd(tensor: Tensor) -> Tensor:
    """Return the tensor, or a copy of one made in inference mode, which autograd could not keep."""
    recorded = torch.is_grad_enabled() and not torch.compiler.is_compiling()
    return tensor.clone() if recorded and tensor.is_inference() else tensor


def is_finite(tensor: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Return whether all values along ``dim`` are finite, without copying the tensor."""
    # A sum could overflow although every value is finite; the extremes cannot.
    return tensor.amax(dim).isfinite() & tensor.amin(dim).isfinite()


def are_finite(cam: Tensor, images: Sequence[Tensor]) -> Tensor:
    """Return which maps are finite and belong to a finite image, in the CAM's batch shape.

    ``images`` holds one boolean tensor ``(B,)`` per layer of features.
    """
    finite = is_finite(cam, (-2, -1))
    for image in images:
        finite = finite & (image if finite.ndim == 1 else image[:, None])
    return finite


def cosine_rounding(vectors: Tensor) -> float:
    """Return the span of cosines that rounding alone can cause: they are sums over C channels."""
    summed = 8 * torch.finfo(vectors.dtype).eps * sqrt(vectors.shape[1])
    # TF32 rounds each factor by up to 2^-11, so a cosine by up to 2^-10, either way.
    return summed + 2.0**-9 if _products_are_tf32(vectors) else summed


def _products_are_tf32(vectors: Tensor) -> bool:
    if vectors.dtype != torch.float32 or vectors.device.type != "cuda":
        return False
    if torch.compiler.is_compiling():  # where settings cannot be read
        return False
    products = torch.backends.cuda.matmul
    if hasattr(products, "fp32_precision"):  # since torch 2.9
        return bool(products.fp32_precision == "tf32")
    return bool(products.allow_tf32)


def outside_autocast(function: Callable[P, T]) -> Callable[P, T]:
    """Run a function of tensors outside autocast, which would round its products to half precision.

    A min-max turns the rounding of a product into a visible error, so this library computes its
    products in float32 even if the caller uses autocast.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        device = _device_type([*args, *kwargs.values()])
        if not torch.is_autocast_enabled(device):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return run


def _device_type(values: list[object]) -> str:
    """Return the device type of the first tensor, which may be inside a list."""
    for value in values:
        first = value[0] if isinstance(value, (list, tuple)) and value else value
        if isinstance(first, Tensor) and first.device.type != "meta":
            return first.device.type
    return "cpu"
