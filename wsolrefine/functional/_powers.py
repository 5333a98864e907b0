"""Any rows of the powers of a self-correlation, without the N x N x N product.

Let ``U`` hold the unit feature vectors (a dead pixel stays zero), ``S`` their cosines, ``D`` the
diagonal that is 1 for live pixels. The second-order correlation of SPA leaves out the two pixels
it compares: it is ``A^2`` with ``A = S - D``. Because ``S D = D S = S`` and ``D^2 = D``,

    A^n = U^T p_n(G) U + (-1)^n D,   G = U U^T  (C x C)
    p_1 = I,   p_{n+1}(G) = (G - I) p_n(G) + (-1)^n I,   so p_2 = G - 2 I

so rows of any power cost one C x C polynomial and two thin products. When there are few pixels
for the number of channels, ``A`` itself is small and its plain product is cheaper.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from wsolrefine._options import check_counts
from wsolrefine.functional._graphs import in_graph, in_transform, values_are_hidden
from wsolrefine.functional._numeric import cosine_rounding
from wsolrefine.functional._unit import cosines, unit_vectors


class Correlation(NamedTuple):
    """One layer's self-correlation, held in the form that makes its powers cheapest."""

    alive: Tensor  # which pixels are not zero, (B, N)
    finite: Tensor  # which images are, (B,)
    rounding: float  # of a cosine
    vectors: Tensor | None  # closed form: unit vectors (B, C, N)
    gram: Tensor | None  # and their products G (B, C, C), above order 1
    matrix: Tensor | None  # direct product: A (B, N, N)
    norm: Tensor  # Frobenius norm of S, at least 1, (B, 1, 1)


HIGHEST_ORDER = 64
"""Each order costs a product, and cosines leave nothing to tell apart long before this one."""


def check_orders(orders: Collection[int]) -> list[int]:
    """Return the distinct orders in ascending order."""
    return sorted(set(check_counts("orders", orders, high=HIGHEST_ORDER)))


def correlate(layer: Tensor, orders: list[int], num_rows: int) -> Correlation:
    """Correlate a layer ``(B, C, h, w)``.

    By operation count, the form is chosen in which ``num_rows`` rows of the orders cost least.
    """
    highest, rounding = orders[-1], cosine_rounding(layer)
    channels, pixels = layer.shape[1], layer.shape[2] * layer.shape[3]
    closed = channels * (
        channels * (pixels + (highest - 1) * num_rows) + pixels * len(orders) * num_rows
    )
    direct = pixels**2 * (channels + (highest - 1) * num_rows)
    # Where a graph leaves sizes open, it takes the form whose memory does not grow with N^2.
    sizes_are_open = not isinstance(closed, int) or not isinstance(direct, int)
    if highest == 1 or sizes_are_open or closed < direct:
        vectors, alive, finite = unit_vectors(layer)
        gram = vectors @ vectors.mT if highest > 1 else None
        norm = vectors.new_ones(()) if gram is None else _norm(gram)
        return Correlation(alive, finite, rounding, vectors, gram, None, norm)
    matrix, alive, finite = cosines(layer)
    norm = _norm(matrix)
    if in_graph():  # exporters do not take the assignment to a view
        itself = torch.eye(pixels, dtype=torch.bool, device=matrix.device)
        matrix = matrix.masked_fill(itself, 0.0)
    else:
        matrix.diagonal(dim1=1, dim2=2).zero_()
    return Correlation(alive, finite, rounding, None, None, matrix, norm)


def high_order_rows(correlation: Correlation, rows: Tensor, orders: list[int]) -> Tensor:
    """Return rows of the high-order self-correlation, ``(B, R, N)``; ``rows`` is ``(B, R)``.

    Order 1 is the ReLU of the cosines; a higher order is the row-wise min-max of ``A^n``; the
    result is the largest over the orders.
    """
    powers = _direct if correlation.matrix is not None else _closed
    scores = [
        # A min-max is never negative, so beside a higher order the ReLU changes nothing.
        (power.clamp_min(0) if orders == [1] else power)
        if order == 1
        # An error e in the cosines is one of e |S|^(n-1) in A^n: a smaller span holds no signal.
        else _rescale_rows(power, correlation.rounding * correlation.norm)
        for order, power in powers(correlation, rows, orders)
    ]
    best = reduce(torch.maximum, scores)
    if orders[0] == 1:
        # The cosine of a vector with itself, 1, which A leaves out.
        scatter = best.scatter if in_transform() else best.scatter_  # vmap has no rule for scatter_
        best = scatter(2, rows[..., None], _alive(correlation, rows))
    return best


def _rescale_rows(power: Tensor, flat: Tensor) -> Tensor:
    """Min-max each row in as few passes as possible; a row that spans at most ``flat`` is zero."""
    low, high = power.amin(2, keepdim=True), power.amax(2, keepdim=True)
    span = high - low
    return (power - low).div_(span.where(span > flat, torch.inf))


def _direct(
    correlation: Correlation, rows: Tensor, orders: list[int]
) -> Iterator[tuple[int, Tensor]]:
    """Yield ``(n, A^n[rows] / |S|^(n-2))`` by plain products; order 1 is not divided."""
    matrix = correlation.matrix
    assert matrix is not None
    power = _picked(matrix, rows)
    for order in range(1, orders[-1] + 1):
        if order > 2:  # a power would overflow, and its min-max does not depend on the scale
            power = power / correlation.norm
        if order > 1:
            power = power @ matrix
        if order in orders:
            yield order, power


def _closed(
    correlation: Correlation, rows: Tensor, orders: list[int]
) -> Iterator[tuple[int, Tensor]]:
    """Yield the same as ``(p_n(G) u)^T U + (-1)^n D``, ``u`` being the rows' vectors."""
    vectors, gram = correlation.vectors, correlation.gram
    assert vectors is not None
    picked = vectors.gather(2, rows[:, None].expand(-1, vectors.shape[1], -1))
    factor = picked  # p_n(G) u
    sign = -torch.ones_like(correlation.norm)  # (-1)^n, divided as the power is
    for order in range(1, orders[-1] + 1):
        if order > 1:
            sign = -sign
        if order > 2:
            factor, sign = factor / correlation.norm, sign / correlation.norm
        if order > 1:
            assert gram is not None
            factor = gram @ factor - factor - sign * picked
        if order in orders:
            diagonal = sign * _alive(correlation, rows)
            yield order, (factor.mT @ vectors).scatter_add_(2, rows[..., None], diagonal)


def _picked(matrix: Tensor, rows: Tensor) -> Tensor:
    """Return rows ``(B, R)`` of matrices ``(B, N, N)``."""
    batch, pixels, _ = matrix.shape
    if values_are_hidden():
        return matrix.gather(1, rows[..., None].expand(-1, -1, pixels))
    # Whole rows are copied, which takes a fraction of the time of gathering their values.
    flat = rows + pixels * torch.arange(batch, device=rows.device)[:, None]
    picked = matrix.flatten(0, 1).index_select(0, flat.flatten())
    return picked.reshape(batch, rows.shape[1], pixels)


def _alive(correlation: Correlation, rows: Tensor) -> Tensor:
    return correlation.alive.gather(1, rows)[..., None].to(correlation.norm.dtype)


def _norm(matrix: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(matrix.detach(), dim=(1, 2), keepdim=True)
    return norm.clamp_min(1)
