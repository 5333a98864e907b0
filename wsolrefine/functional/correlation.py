"""Self-correlation of features: the similarity of every two pixels, directly and through others."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from wsolrefine._check import check_features
from wsolrefine._options import check_count, check_number
from wsolrefine.functional._numeric import outside_autocast
from wsolrefine.functional._powers import HIGHEST_ORDER, check_orders, correlate, high_order_rows
from wsolrefine.functional._unit import on_one_grid, unit_vectors


@outside_autocast
def self_correlation(
    features: Tensor | Sequence[Tensor], *, orders: Collection[int] = (1, 2)
) -> Tensor:
    """Correlate every pixel with every other, directly and through intermediate pixels.

    With ``S[i, j] = cos(f_i, f_j)`` and ``A`` = ``S`` with a zero diagonal:

        order 1:       ReLU(S)
        order n >= 2:  A^n, each row min-maxed (n = 2: sum over k != i, j of S[i, k] S[k, j])

    and the result is the largest over the orders. A row that is constant up to rounding is zero.
    The released code thresholds, weights and normalizes differently: see
    :func:`wsolrefine.self_correlation_released`. :func:`wsolrefine.scg` needs no N x N matrix;
    call this function to look at single correlation maps.

    Args:
        features: ``(B, C, h, w)``, or a list of layers, resized to the largest grid and their
            correlations summed.
        orders: which orders to take the maximum over; SPA uses 1 and 2.

    Returns:
        ``(B, N, N)`` with ``N = h * w``: row i is the correlation map of pixel i, in
        [0, number of layers]. Differentiable. An image whose features are not finite gives zeros.

    Raises:
        TypeError: a layer is not a floating-point tensor, dtypes differ, or ``orders`` does not
            hold integers.
        ValueError: shapes or devices disagree, or ``orders`` is empty or holds a number that is not
            from 1 to 64.

    Example:
        >>> import torch
        >>> features = torch.tensor([[[[1.0, 1.0, 0.0]], [[0.0, 1.0, 1.0]]]])
        >>> self_correlation(features, orders=(1,))
        tensor([[[1.0000, 0.7071, 0.0000],
                 [0.7071, 1.0000, 0.7071],
                 [0.0000, 0.7071, 1.0000]]])

    Reference:
        Pan et al., "Unveiling the Potential of Structure Preserving for Weakly Supervised Object
        Localization", CVPR 2021, Eqs. 6-11.

    """
    layers = on_one_grid(check_features(features))
    wanted = check_orders(orders)
    total, finite = layers[0].new_zeros(()), layers[0].new_ones((), dtype=torch.bool)
    for layer in layers:
        pixels = layer.shape[-2] * layer.shape[-1]
        rows = torch.arange(pixels, device=layer.device).expand(len(layer), -1)
        correlation = correlate(layer, wanted, pixels)
        total = total + high_order_rows(correlation, rows, wanted)
        finite = finite & correlation.finite
    return total.where(finite[:, None, None], 0.0).to(_dtype(features))


@outside_autocast
def self_correlation_released(
    features: Tensor | Sequence[Tensor],
    *,
    first_threshold: float = 0.1,
    second_threshold: float = 0.5,
    second_weight: float = 2.0,
    order: int = 2,
) -> Tensor:
    """Correlate every two pixels as SPA's released code does.

    Cosines below ``first_threshold`` are set to zero; the first order ``F`` and, with a zero
    diagonal, ``D`` have columns that sum to one; the high order is ``D^order``, with columns
    renormalized after each product and values below ``second_threshold / N`` then set to zero; the
    result is ``max(F, second_weight * high)`` with columns that sum to one. The paper
    (:func:`wsolrefine.self_correlation`) has no thresholds and no weight, and normalizes rows.

    Args:
        features: ``(B, C, h, w)``, or a list of layers, resized to the largest grid and their
            correlations summed.
        first_threshold: smallest cosine that counts.
        second_threshold: smallest high-order value that counts, as a multiple of the mean
            ``1 / N``.
        second_weight: weight of the high order. The authors use 2 on CUB, 1 on ILSVRC.
        order: the power; 1 takes ``D`` itself.

    Returns:
        ``(B, N, N)``: column j is the map of pixel j; columns sum to the number of layers.
        Differentiable. An image whose features are not finite gives zeros.

    Raises:
        TypeError: a layer is not a floating-point tensor, dtypes differ, or an option is not a
            number.
        ValueError: shapes or devices disagree, a threshold is NaN, ``second_weight`` is negative or
            not finite, or ``order`` is not from 1 to 64: each is one more N x N x N product.

    Example:
        >>> import torch
        >>> features = torch.tensor([[[[1.0, 1.0, 0.0]], [[0.0, 1.0, 1.0]]]])
        >>> self_correlation_released(features).sum(1)
        tensor([[1.0000, 1.0000, 1.0000]])

    Reference:
        Pan et al., CVPR 2021. Authors' code: models/vgg/vgg_spa.py, ``hsc``, and
        exper/val_spa.py (commit 32bf2d5), defaults of their CUB script.

    """
    layers = on_one_grid(check_features(features))
    first_threshold = check_number("first_threshold", first_threshold, finite=False)
    second_threshold = check_number("second_threshold", second_threshold, finite=False)
    second_weight = check_number("second_weight", second_weight, low=0)
    order = check_count("order", check_count("order", order), high=HIGHEST_ORDER)
    total, finite = layers[0].new_zeros(()), layers[0].new_ones((), dtype=torch.bool)
    for layer in layers:
        unit = unit_vectors(layer)
        cosine = (unit.vectors.mT @ unit.vectors).relu()
        kept = cosine.where(cosine >= first_threshold, 0.0)
        first = _columns_to_one(kept, 1e-5)
        pixels = kept.shape[-1]
        diagonal = torch.eye(pixels, dtype=torch.bool, device=kept.device)
        step = _columns_to_one(kept.masked_fill(diagonal, 0.0), 1e-5)
        high = step
        for _ in range(order - 1):
            high = _columns_to_one(high @ step, 1e-10)
        high = high.where(high >= second_threshold / pixels, 0.0)
        combined = _columns_to_one(torch.maximum(first, second_weight * high), 1e-10)
        total, finite = total + combined, finite & unit.finite
    return total.where(finite[:, None, None], 0.0).to(_dtype(features))


def _columns_to_one(matrix: Tensor, guard: float) -> Tensor:
    # The guards are the authors': they are part of the numbers that this function reproduces.
    return matrix / (matrix.sum(1, keepdim=True) + guard)


def _dtype(features: Tensor | Sequence[Tensor]) -> torch.dtype:
    return features.dtype if isinstance(features, Tensor) else features[0].dtype
