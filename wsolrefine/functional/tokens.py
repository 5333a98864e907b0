"""Transformer tokens as feature maps."""

from __future__ import annotations

from math import isqrt

from torch import Tensor

from wsolrefine._check import check_tensors
from wsolrefine._options import check_count, check_size


def tokens_to_map(
    tokens: Tensor, *, grid: tuple[int, int] | None = None, num_prefix_tokens: int = 0
) -> Tensor:
    """Arrange the tokens of a vision transformer as a feature map.

    Tokens are read row by row after the prefix (class, register, distillation tokens), which is
    dropped. Maps with channels last, ``(B, h, w, C)`` as Swin returns them, are only permuted.

    Args:
        tokens: ``(B, N, C)`` with ``N = num_prefix_tokens + h * w``, or ``(B, h, w, C)``.
        grid: ``(h, w)``; None infers a square grid, or for ``(B, h, w, C)`` takes it as it is.
        num_prefix_tokens: number of tokens before the first patch.

    Returns:
        A view, ``(B, C, h, w)``, differentiable.

    Raises:
        TypeError: ``tokens`` is not a floating-point tensor, ``grid`` is not a pair of integers, or
            ``num_prefix_tokens`` is not an integer.
        ValueError: the number of tokens fits neither ``grid`` nor a square; the message says which
            grid or number of prefix tokens would fit.

    Example:
        >>> import torch
        >>> tokens_to_map(torch.rand(2, 197, 768), num_prefix_tokens=1).shape
        torch.Size([2, 768, 14, 14])

    Reference:
        Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, Sec. 3.1 (the order of
        patches); the layout is not part of the five papers.

    """
    num_prefix_tokens = check_count("num_prefix_tokens", num_prefix_tokens, low=0)
    if grid is not None:
        grid = check_size("grid", grid)
    if isinstance(tokens, Tensor) and tokens.ndim == 4:
        check_tensors(tokens=(tokens, "B h w C"))
        size = (tokens.shape[1], tokens.shape[2])
        if num_prefix_tokens != 0:
            raise ValueError(
                "num_prefix_tokens: expected 0 for tokens of shape (B, h, w, C), "
                f"got {num_prefix_tokens}"
            )
        if grid is not None and grid != size:
            raise ValueError(f"grid: expected {size} as tokens of shape (B, h, w, C), got {grid}")
        return tokens.permute(0, 3, 1, 2)

    check_tensors(tokens=(tokens, "B N C"))
    shape = tuple(tokens.shape)
    count = shape[1] - num_prefix_tokens
    if count < 1:
        raise ValueError(
            f"num_prefix_tokens: expected 0 to {shape[1] - 1} of {shape[1]} tokens, "
            f"got {num_prefix_tokens}"
        )
    side = isqrt(count)
    if grid is None and side * side != count:
        fitting = shape[1] - isqrt(shape[1]) ** 2
        hint = f"num_prefix_tokens={fitting} fits a {isqrt(shape[1])}x{isqrt(shape[1])} grid"
        raise ValueError(
            f"tokens: expected {shape[1]} - num_prefix_tokens ({num_prefix_tokens}) to be a square "
            f"number or grid given; {hint}, got {shape}"
        )
    height, width = grid if grid is not None else (side, side)
    if height * width != count:
        raise ValueError(
            f"grid: expected h*w = {count} tokens after {num_prefix_tokens} prefix "
            f"{'token' if num_prefix_tokens == 1 else 'tokens'}, got grid {(height, width)}"
        )
    patches = tokens[:, num_prefix_tokens:]
    return patches.mT.reshape(shape[0], shape[2], height, width)
