"""Convolutional conditional random field: labels that follow the colors of the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

from wsolrefine._check import check_tensors
from wsolrefine._options import check_count, check_counts, check_number
from wsolrefine.functional._crf_kernel import CrfKernel
from wsolrefine.functional._crf_pairs import mean_field_of_pairs
from wsolrefine.functional._crf_windows import mean_field_in_windows
from wsolrefine.functional._graphs import in_graph
from wsolrefine.functional._grid import resize
from wsolrefine.functional._numeric import images_at_once, is_finite, working
from wsolrefine.functional._windows import in_windows

MeanField = Callable[[Tensor, Tensor, int, int, CrfKernel], Tensor]

_MOST_ITERATIONS = 1000  # mean field converges long before, or alternates


def conv_crf(
    unary: Tensor,
    image: Tensor,
    *,
    iterations: int = 5,
    kernel_size: int = 21,
    appearance_weight: float = 10.0,
    appearance_std: float = 10.0,
    color_std: float = 0.08,
    smoothness_weight: float = 1.0,
    smoothness_std: float = 1.5,
) -> Tensor:
    """Align the borders of a labelling with the edges of the image: mean field of a windowed CRF.

    Nearby pixels of similar color are pulled towards the same label. Starting from
    ``Q = softmax(unary)``, repeat, with ``j`` running over the pixels other than ``i`` in the
    window of ``kernel_size`` around ``i``:

        Q[i] = softmax(unary[i] + sum over j of (wa A[i,j] + ws S[i,j]) Q[j])
        A[i,j] = exp(-|p_i - p_j|^2 / (2 appearance_std^2) - |c_i - c_j|^2 / (2 color_std^2))
        S[i,j] = exp(-|p_i - p_j|^2 / (2 smoothness_std^2))

    with ``p`` positions, ``c`` colors. All pairs of different labels cost the same (Potts model).
    Each kernel is normalized symmetrically, ``A[i,j] / sqrt(d_i d_j)`` with ``d_i`` the sum of
    ``A[i,.]`` over the window, ``i`` itself included, so weights mean the same at the image's
    border and inside. The fully connected model of Kraehenbuehl and Koltun sums over all pixels,
    approximately; a window makes the sum exact. The papers learn the weights; the defaults here
    are ours, set on images of 224 x 224 with maps of :func:`wsolrefine.scg`.

    Args:
        unary: scores of K labels, ``(B, K, H, W)``: logits or log-probabilities, any offset. A
            label of score ``-inf``, the logarithm of 0, is impossible at its pixel; one of ``inf``,
            the logit of 1, is certain.
        image: colors in [0, 1], ``(B, 3, H, W)``.
        iterations: number of updates; 0 returns ``softmax(unary)``.
        kernel_size: side of the window in pixels, odd. Time and memory grow with its square: one
            float for every pair of pixels, whatever K; on a GPU, in a graph and under
            ``torch.func`` a few for every pixel of every window.
        appearance_weight: ``wa`` >= 0, in units of ``unary``.
        appearance_std: standard deviation of positions in ``A``, in pixels.
        color_std: standard deviation of colors in ``A``, in units of ``image``.
        smoothness_weight: ``ws`` >= 0, in units of ``unary``; it removes specks.
        smoothness_std: standard deviation of positions in ``S``, in pixels.

    Returns:
        Probabilities, ``(B, K, H, W)``, that sum to 1 over K; differentiable in both arguments. An
        image with NaN, a color that is not finite, or a pixel at which no label is possible gives
        zeros.

    Raises:
        TypeError: an input is not a floating-point tensor, dtypes differ, or an option is not a
            number.
        ValueError: shapes or devices disagree, ``kernel_size`` is not odd, ``iterations`` is not
            from 0 to 1000, a weight is not finite and >= 0, or a standard deviation is not > 0.

    Example:
        >>> import torch
        >>> unary = torch.tensor([[[[0.0, 0.0, 0.0]], [[2.0, 0.2, -1.0]]]])
        >>> image = torch.tensor([0.9, 0.1, 0.1]).expand(1, 3, 1, 3)  # the middle is like the right
        >>> conv_crf(unary, image, iterations=0)[0, 1]
        tensor([[0.8808, 0.5498, 0.2689]])
        >>> conv_crf(unary, image)[0, 1]
        tensor([[0.8175, 0.0075, 0.0027]])

    Reference:
        Teichmann and Cipolla, "Convolutional CRFs for Semantic Segmentation", 2018
        (arXiv:1805.04777), Sec. 4; Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected
        CRFs with Gaussian Edge Potentials", NIPS 2011.

    """
    check_tensors(unary=(unary, "B K H W"), image=(image, "B 3 H W"))
    kernel_size = _check_kernel_size(kernel_size)
    iterations = check_count("iterations", iterations, low=0, high=_MOST_ITERATIONS)
    appearance_weight = check_number("appearance_weight", appearance_weight, low=0)
    smoothness_weight = check_number("smoothness_weight", smoothness_weight, low=0)
    appearance_std = check_number("appearance_std", appearance_std, above=0, finite=False)
    smoothness_std = check_number("smoothness_std", smoothness_std, above=0, finite=False)
    color_std = check_number("color_std", color_std, above=0, finite=False)

    # A label of infinite score excludes the others.
    certain = (unary == torch.inf) & ~unary.isnan().any(1, keepdim=True)
    limits = torch.zeros_like(unary).masked_fill(~certain, -torch.inf)
    unary = torch.where(certain.any(1, keepdim=True), limits, unary)
    # Where the best label has a finite score, softmax is defined; the others may be impossible.
    usable = is_finite(unary.amax(1), (1, 2)) & is_finite(image, (1, 2, 3))
    usable = usable[:, None, None, None]
    # Unusable images are replaced before any product, so that their gradient is zero, not NaN.
    scores, colors = (working(tensor).where(usable, 0.0) for tensor in (unary, image))
    # Beyond the image there is nothing; the sizes of a graph may be open.
    radius = kernel_size // 2
    if not in_graph():
        radius = min(radius, max(scores.shape[-2:]) - 1)
    mean_field = mean_field_in_windows if in_windows(scores, colors) else mean_field_of_pairs
    kernel = CrfKernel(
        appearance_weight, appearance_std, color_std, smoothness_weight, smoothness_std
    )
    result = _in_blocks(mean_field, scores, colors, radius, iterations, kernel)
    return result.where(usable, 0.0).to(unary.dtype)


def coarse_to_fine(
    maps: Tensor,
    image: Tensor,
    *,
    threshold: float = 0.5,
    scales: Sequence[int] = (4, 2, 1),
    kernel_size: int = 11,
) -> Tensor:
    """Align maps with the edges of their image by :func:`conv_crf` on finer and finer grids.

    ``p = clamp(maps, 0.01, 0.99)`` gives two labels with scores ``log(1 - p)`` and
    ``log p - logit(threshold)``. For each of ``scales``, scores and image are reduced by that
    factor (bilinear, antialiased), :func:`conv_crf` runs on them with its default weights, and the
    logarithm of its probabilities, at least 1e-4, is enlarged to become the next scores. A small
    window therefore reaches far: 11 pixels at a quarter of the size are 44. The clamp lets the
    image overrule a confident pixel. Both limits and the scales are ours.

    Args:
        maps: probabilities in [0, 1] (values outside are clamped), at the size of the image:
            ``(B, H, W)`` or ``(B, K, H, W)``. They are taken as they are: min-max a map of another
            range first, see :func:`wsolrefine.minmax`.
        image: colors in [0, 1], ``(B, 3, H, W)``.
        threshold: value of a map, in (0, 1), at which neither label is preferred: the threshold at
            which you would binarize it without a CRF.
        scales: integers >= 1, each the factor by which a side is reduced, coarse to fine.
        kernel_size: side of the window in pixels of the reduced grid, odd.

    Returns:
        Probability of the object in [0, 1], in the shape of ``maps``; binarize it at 0.5.
        Differentiable in both arguments. An image whose maps or colors are not finite is zero.

    Raises:
        TypeError: an input is not a floating-point tensor, dtypes differ, or an option is not a
            number.
        ValueError: shapes or devices disagree, ``threshold`` is not in (0, 1), ``scales`` is empty
            or holds a number below 1, or ``kernel_size`` is not odd.

    Example:
        >>> import torch
        >>> image = torch.tensor([0.9] * 8 + [0.1] * 8).expand(1, 3, 8, 16)  # an edge in the middle
        >>> maps = torch.linspace(0.9, 0.3, 16).expand(1, 8, 16)
        >>> (maps > 0.5).sum(2)[0, 0], (coarse_to_fine(maps, image) > 0.5).sum(2)[0, 0]
        (tensor(10), tensor(8))

    Reference:
        Teichmann and Cipolla, "Convolutional CRFs for Semantic Segmentation", 2018
        (arXiv:1805.04777); the schedule is ours.

    """
    check_tensors(maps=(maps, "B [K] H W"), image=(image, "B 3 H W"))
    threshold = check_number("threshold", threshold, above=0, below=1)
    scales = check_counts("scales", scales)
    kernel_size = _check_kernel_size(kernel_size)
    size = (image.shape[-2], image.shape[-1])
    stacked = maps if maps.ndim == 4 else maps[:, None]
    usable = is_finite(stacked, (2, 3)) & is_finite(image, (1, 2, 3))[:, None]
    usable = usable.flatten()[:, None, None]
    # Maps of one image share its colors: each is an image of its own here. What is not finite is
    # replaced before any product, so that its gradient is zero, not NaN.
    colors = working(image).repeat_interleave(stacked.shape[1], 0).where(usable[:, None], 0.0)
    values = working(stacked).flatten(0, 1).where(usable, 0.0).clamp(0.01, 0.99)
    unary = torch.stack([(1 - values).log(), values.log() - log(threshold / (1 - threshold))], 1)
    probability = unary
    for scale in scales:
        coarse = [-(-side // scale) for side in size]
        scores, small = (
            F.interpolate(each, coarse, mode="bilinear", antialias=True) for each in (unary, colors)
        )
        probability = conv_crf(scores, small, kernel_size=kernel_size)
        unary = resize(probability.clamp_min(1e-4).log(), size)
    foreground = resize(probability, size)[:, 1].where(usable, 0.0)
    return foreground.reshape(maps.shape).to(maps.dtype)


def _check_kernel_size(kernel_size: int) -> int:
    kernel_size = check_count("kernel_size", kernel_size, low=None)
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size: expected an odd integer >= 1, got {kernel_size}")
    return kernel_size


def _in_blocks(
    mean_field: MeanField,
    scores: Tensor,
    colors: Tensor,
    radius: int,
    iterations: int,
    kernel: CrfKernel,
) -> Tensor:
    """Call for as many images at once as stay in a cache, or as fill a GPU with their windows."""
    pixels = scores.shape[-2] * scores.shape[-1]
    copies = 8 if scores.device.type == "cpu" else (2 * radius + 1) ** 2
    at_once = images_at_once(copies * pixels, scores.device)
    blocks = [torch.split(one, at_once) for one in (scores, colors)]
    return torch.cat(
        [mean_field(some, of, radius, iterations, kernel) for some, of in zip(*blocks, strict=True)]
    )
