"""Self-Correlation map Generating: the object is what correlates with its confident pixels."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from wsolrefine._check import check_features, check_real
from wsolrefine._options import check_count, check_number
from wsolrefine.functional._graphs import values_are_hidden
from wsolrefine.functional._grid import largest_grid, resize
from wsolrefine.functional._numeric import (
    are_finite,
    cosine_rounding,
    images_at_once,
    is_finite,
    outside_autocast,
    rescale,
    unit_range,
    unit_rounding,
    working,
)
from wsolrefine.functional._powers import Correlation, check_orders, correlate, high_order_rows
from wsolrefine.functional._unit import on_one_grid
from wsolrefine.functional.correlation import self_correlation_released


@outside_autocast
def scg(
    cam: Tensor,
    features: Tensor | Sequence[Tensor],
    *,
    orders: Collection[int] = (1, 2),
    foreground: float | Tensor = 0.6,
    background: float | Tensor = 0.3,
    block_size: int | None = None,
) -> Tensor:
    """Refine a CAM with the high-order self-correlation of features.

    The CAM is min-maxed, so its scale and offset do not matter. The correlation maps (rows of
    :func:`wsolrefine.self_correlation`) of all pixels whose CAM exceeds ``foreground`` are
    averaged, those of pixels below ``background`` are averaged and subtracted, and the positive
    part is min-maxed:

        M = ReLU(mean over i with cam[i] > foreground of HSC[i] - mean over cam[i] < background)

    Rows are computed in blocks from a closed form, so no large N x N matrix is held (memory
    O(N C + block N), work O(N C^2 + N^2 C)), also in the backward pass, which computes each
    block again. The paper leaves the thresholds open; 0.6 and 0.3 are ours. A CAM that equals a
    threshold up to its rounding is neither above nor below it.

    Args:
        cam: class activation maps of any range, ``(B, H, W)`` or ``(B, K, H, W)``.
        features: ``(B, C, h, w)``, or a list of layers, resized to the largest grid and their
            correlations summed. The CAM is resized to that grid; the K maps of an image share
            one correlation.
        orders: orders of the correlation.
        foreground: fraction of the CAM's range: a number, or a tensor that broadcasts to ``(B,)``
            or ``(B, K)``.
        background: the same. ``confseg_thresholds(minmax(cam))`` is such a pair, the lower one
            first: :func:`wsolrefine.confseg_thresholds`.
        block_size: rows computed at once; None chooses: in a compiled or exported graph all, else
            as many as stay in a CPU's cache or fill a GPU. It changes speed and memory only.

    Returns:
        Maps in [0, 1], ``(B, h, w)`` or ``(B, K, h, w)``, differentiable in ``features``. Zero
        where no pixel passes ``foreground``, and for a map whose CAM is constant up to rounding or
        whose CAM or features are not finite.

    Raises:
        TypeError: an input is not a floating-point tensor, dtypes differ, or an option is not a
            number.
        ValueError: shapes or devices disagree, a threshold is NaN, an order is not from 1 to 64, or
            ``block_size`` is below 1.

    Example:
        >>> import torch
        >>> cam = torch.tensor([[[1.0, 0.5, 0.5, 0.0]]])
        >>> features = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]], [[0.0, 0.5, 1.0, 1.0]]]])
        >>> scg(cam, features, orders=(1,))
        tensor([[[1.0000, 0.4472, 0.0000, 0.0000]]])

    Reference:
        Pan et al., "Unveiling the Potential of Structure Preserving for Weakly Supervised Object
        Localization", CVPR 2021, Eqs. 12-14.

    """
    layers = on_one_grid(check_features(features, cam))
    wanted = check_orders(orders)
    high = _threshold("foreground", foreground, cam)
    low = _threshold("background", background, cam)
    if block_size is not None:
        block_size = min(check_count("block_size", block_size), 2**31)
    size = (layers[0].shape[-2], layers[0].shape[-1])

    maps = resize(unit_range(cam), size).flatten(-2)
    # Rounding of the CAM must not decide about the pixels whose value is a threshold.
    slack = unit_rounding(cam).flatten(-2)
    above = (maps > high + slack).to(maps.dtype)
    below = (maps < low - slack).to(maps.dtype)
    weights = _mean_weights(above) - _mean_weights(below)
    weights = weights if weights.ndim == 3 else weights[:, None]  # (B, K, N)
    rows = _rows_with_weight(weights)
    if block_size is None:
        # A row of each image. A graph has no loop over blocks: their number would fix its sizes.
        block_size = images_at_once(maps.shape[-1] * cam.shape[0], cam.device)

    total = torch.zeros_like(weights)
    finite, rounding = [], 0.0
    for layer in layers:
        correlation = correlate(layer, wanted, rows.shape[1])
        rounding += correlation.rounding

        def weighted_sum(block: Tensor, correlation: Correlation = correlation) -> Tensor:
            picked = weights.gather(2, block[:, None].expand(-1, weights.shape[1], -1))
            return picked @ high_order_rows(correlation, block, wanted)

        for block in torch.split(rows, block_size, dim=1):
            if torch.is_grad_enabled() and layer.requires_grad and not values_are_hidden():
                # Keep nothing of a block for the backward pass: compute it again there.
                part = checkpoint(
                    weighted_sum, block, use_reentrant=False, preserve_rng_state=False
                )
            else:
                part = weighted_sum(block)
            total = total + part
        finite.append(correlation.finite)

    refined = rescale(total.relu(), -1, flat=rounding).reshape(*cam.shape[:-2], *size)
    return refined.where(are_finite(cam, finite)[..., None, None], 0.0).to(cam.dtype)


@outside_autocast
def scg_released(
    cam: Tensor,
    features: Tensor | Sequence[Tensor],
    *,
    first_threshold: float = 0.1,
    second_threshold: float = 0.5,
    second_weight: float = 2.0,
    order: int = 2,
    foreground: float = 0.1,
    background: float = 0.05,
) -> Tensor:
    """Refine a CAM as SPA's released code does, on grids of any shape.

    The columns of :func:`wsolrefine.self_correlation_released` are min-maxed; those of pixels with
    ``cam >= foreground`` and those with ``cam <= background`` are summed, each sum is min-maxed,
    and so is the positive part of their difference. The paper (:func:`wsolrefine.scg`) compares
    strictly and rescales less. The released code takes square grids only and fails when no pixel
    passes either threshold; here the result is then zero, and with no background pixel it is the
    foreground map. For the authors' fusion of several layers by maximum, take
    ``torch.maximum`` of single-layer results. Maps that are constant up to rounding, which the
    released code amplifies to full-scale noise, are zero here.

    Args:
        cam: class activation maps in [0, 1], ``(B, H, W)`` or ``(B, K, H, W)``. They are compared
            as they are, as in the authors' function; the authors min-max them before, see
            :func:`wsolrefine.minmax`.
        features: ``(B, C, h, w)``, or a list of layers, resized to the largest grid and their
            correlations summed. The CAM is resized to that grid.
        first_threshold: smallest cosine that counts.
        second_threshold: smallest high-order value that counts, as a multiple of the mean
            ``1 / N``.
        second_weight: weight of the high order.
        order: the power of the correlation.
        foreground: least CAM value of an object pixel.
        background: largest CAM value of a background pixel.

    Returns:
        Maps in [0, 1], ``(B, h, w)`` or ``(B, K, h, w)``, differentiable in ``features``. A map
        whose CAM or features are not finite is zero. It holds N x N matrices in memory.

    Raises:
        TypeError: an input is not a floating-point tensor, dtypes differ, or an option is not a
            number.
        ValueError: shapes or devices disagree, a threshold is NaN, ``second_weight`` is negative or
            not finite, or ``order`` is not from 1 to 64.

    Example:
        >>> import torch
        >>> cam = torch.tensor([[[1.0, 0.5, 0.0]]])
        >>> features = torch.tensor([[[[1.0, 1.0, 0.0]], [[0.0, 1.0, 1.0]]]])
        >>> scg_released(cam, features, second_weight=0.0)
        tensor([[[1.0000, 0.5000, 0.0000]]])

    Reference:
        Pan et al., CVPR 2021. Authors' code: utils/get_scg_map.py, ``get_topk_boxes_hier_sim``
        (commit 32bf2d5).

    """
    layers = [working(layer) for layer in check_features(features, cam)]
    foreground = check_number("foreground", foreground, finite=False)
    background = check_number("background", background, finite=False)
    correlation = self_correlation_released(
        layers,
        first_threshold=first_threshold,
        second_threshold=second_threshold,
        second_weight=second_weight,
        order=order,
    )
    size = largest_grid(layers)
    maps = resize(working(cam), size).flatten(-2)
    maps = maps if maps.ndim == 3 else maps[:, None]  # (B, K, N)
    rounding = max(cosine_rounding(layer) for layer in layers)
    # Rounding is relative to what is rescaled, or to the two maps of peak 1 that are subtracted.
    each = _released_minmax(correlation.mT, rounding * correlation.mT.amax(-1, keepdim=True))
    sums = [chosen.to(each.dtype) @ each for chosen in (maps >= foreground, maps <= background)]
    foreground_map, background_map = (
        _released_minmax(total, rounding * total.amax(-1, keepdim=True)) for total in sums
    )
    refined = _released_minmax((foreground_map - background_map).relu(), rounding)
    finite = are_finite(cam, [is_finite(layer, (1, 2, 3)) for layer in layers])
    refined = refined.reshape(*cam.shape[:-2], *size)
    return refined.where(finite[..., None, None], 0.0).to(cam.dtype)


def _released_minmax(values: Tensor, flat: Tensor | float) -> Tensor:
    low, high = values.amin(-1, keepdim=True), values.amax(-1, keepdim=True)
    span = high - low
    scaled = (values - low) / (span + 1e-10)  # the authors' guard
    return scaled.where(span > flat, 0.0)


def _threshold(name: str, value: float | Tensor, cam: Tensor) -> float | Tensor:
    """Return the threshold in a shape that compares with the CAM's flattened maps."""
    if not isinstance(value, Tensor):
        return check_number(name, value, finite=False)
    check_real(name, value, "...")
    if value.device != cam.device and value.ndim:
        raise ValueError(f"{name}: expected {cam.device} as cam, got {value.device}")
    batch = cam.shape[:-2]
    if value.ndim > len(batch) or any(
        size not in (1, axis) for size, axis in zip(value.shape[::-1], batch[::-1], strict=False)
    ):
        raise ValueError(
            f"{name}: expected a number or a shape that broadcasts to {tuple(batch)} from cam, "
            f"got {tuple(value.shape)}"
        )
    return value[..., None]


def _mean_weights(selected: Tensor) -> Tensor:
    """Return weights that average over the selected (1, not 0) pixels; all zero where none is."""
    return selected / selected.sum(-1, keepdim=True).clamp_min(1)


def _rows_with_weight(weights: Tensor) -> Tensor:
    """Return the pixels, ``(B, R)``, whose rows are needed: all, or fewer on a CPU.

    Images need different numbers of rows; the shorter lists are filled with rows of weight zero.
    Counting waits for the device and depends on data, so it is done for plain CPU tensors only.
    """
    batch, _, pixels = weights.shape
    if weights.device.type != "cpu" or values_are_hidden() or batch == 0:
        return torch.arange(pixels, device=weights.device).expand(batch, -1)
    needed = (weights != 0).any(1)
    count = max(1, int(needed.sum(1).amax()))
    return needed.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :count]
