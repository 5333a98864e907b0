"""Self-Enhancement Maps: similarity of every location to the strongest CAM locations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wsolrefine._check import check_features
from wsolrefine._options import check_count
from wsolrefine.functional._grid import highest_pixels
from wsolrefine.functional._numeric import (
    are_finite,
    cosine_rounding,
    outside_autocast,
    rescale,
    working,
)
from wsolrefine.functional._unit import on_one_grid, unit_vectors


@outside_autocast
def sem(cam: Tensor, features: Tensor | Sequence[Tensor], *, num_seeds: int = 60) -> Tensor:
    """Score each location by its best cosine similarity to the ``num_seeds`` top CAM locations.

    ``S[i] = max over seeds k of cos(features[i], features[k])``, then min-max. Of locations as high
    as the last seed, those first in raster order are taken. If the CAM is resized, values closer
    than 2^-19 of its range are equal, because rounding tells interpolated ties apart: so the seeds
    are the same for every scale, in float32 and in float64. The authors' code handles one image,
    leaves ties undefined and fails when ``num_seeds`` exceeds the number of locations; here it is
    clipped.

    Args:
        cam: class activation maps, ``(B, H, W)`` or ``(B, K, H, W)``; only their order matters.
        features: ``(B, C, h, w)``, or a list of layers, whose cosines are summed on the largest
            grid. The CAM is resized to that grid.
        num_seeds: number of seed locations per map. 60 is the authors' choice on a 28 x 28 grid.

    Returns:
        Maps in [0, 1], ``(B, h, w)`` or ``(B, K, h, w)``, differentiable in ``features``. A map
        whose CAM or features are not finite is zero.

    Raises:
        TypeError: an input is not a floating-point tensor, dtypes differ, or ``num_seeds`` is not
            an integer.
        ValueError: shapes or devices disagree, or ``num_seeds < 1``.

    Example:
        >>> import torch
        >>> cam = torch.tensor([[[1.0, 0.0, 0.0]]])
        >>> features = torch.tensor([[[[1.0, 1.0, 0.0]], [[0.0, 1.0, 1.0]]]])
        >>> sem(cam, features, num_seeds=1)
        tensor([[[1.0000, 0.7071, 0.0000]]])

    Reference:
        Zhang et al., "Rethinking Localization Map: Towards Accurate Object Perception with
        Self-Enhancement Maps", 2020, Sec. 3.2. Authors' code: models/google/inception3_v0.py,
        ``SEM``.

    """
    layers = on_one_grid(check_features(features, cam))
    num_seeds = check_count("num_seeds", num_seeds)

    height, width = layers[0].shape[-2:]
    # Unlike min, this leaves the sizes of a graph open.
    count: int = torch.sym_min(num_seeds, height * width)  # type: ignore[no-untyped-call]
    maps = working(cam).detach()
    maps = maps if maps.ndim == 4 else maps[:, None]  # (B, K, H, W)
    batch, classes = maps.shape[:2]
    seeds = highest_pixels(maps, (height, width), count).flatten(1)  # (B, K * count)

    similarity, finite, rounding = layers[0].new_zeros(()), [], 0.0
    for layer in layers:
        unit = unit_vectors(layer)
        rounding += cosine_rounding(layer)
        seed_vectors = unit.vectors.gather(2, seeds[:, None].expand(-1, layer.shape[1], -1))
        similarity = similarity + seed_vectors.mT @ unit.vectors  # (B, K * count, N)
        finite.append(unit.finite)
    best = similarity.reshape(batch, classes, count, height * width).amax(2)
    refined = rescale(best, -1, flat=rounding).reshape(*cam.shape[:-2], height, width)
    return refined.where(are_finite(cam, finite)[..., None, None], 0.0).to(cam.dtype)


def seeds_for_grid(size: tuple[int, int], num_seeds: int = 60) -> int:
    """Return the number of seeds that is the same fraction of this grid as ``num_seeds`` of 28x28.

    60 seeds on a 28x28 grid is the paper's choice; on a coarse grid they would cover all of it.

    Example:
        >>> seeds_for_grid((28, 28)), seeds_for_grid((14, 14)), seeds_for_grid((2, 2))
        (60, 15, 1)

    """
    return max(1, round(num_seeds * size[0] * size[1] / 28**2))
