"""First principal component: the direction in which the features of an image vary most."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wsolrefine._check import check_features
from wsolrefine._options import check_size
from wsolrefine.functional._eigen import cam_on, project_on_largest, rounding_of
from wsolrefine.functional._grid import limited_grid
from wsolrefine.functional._numeric import (
    are_finite,
    is_finite,
    outside_autocast,
    unit_range,
)
from wsolrefine.functional.affinity import centered_on, rms_normalized


@outside_autocast
def pc1(
    cam: Tensor, features: Tensor | Sequence[Tensor], *, size: tuple[int, int] | None = None
) -> Tensor:
    """Return the first principal component of an image's features, with the sign of the CAM.

    With ``X`` the features of the positions, channels centered, and ``v`` the first eigenvector of
    their covariance:

        X X^T v = lambda v,   lambda the largest eigenvalue
        y[i] = v . x[i]
        M = min-max(ReLU(y))

    The sign of ``v`` is that with which ``y`` and the CAM correlate positively. If the largest
    eigenvalue is multiple, up to rounding, ``v`` is the one of its vectors whose ``y`` correlates
    most with the CAM. Several layers are resized to one grid, scaled to the same mean squared
    length and concatenated. DDT takes the component over a set of images that show the same class;
    here every image has its own.

    Args:
        cam: class activation maps of any range, ``(B, H, W)`` or ``(B, K, H, W)``: only their
            correlation with the component counts. The K maps of an image differ in sign alone,
            unless the eigenvalue is multiple.
        features: ``(B, C, h, w)``, or a list of layers with their own C, h and w.
        size: (height, width) of the grid; None: that of the largest layer, reduced to at most 784
            positions. Time grows with the cube of the positions or channels, whichever are fewer.

    Returns:
        Maps in [0, 1], ``(B, h, w)`` or ``(B, K, h, w)``, without a graph. Zero where the CAM or
        the features are constant or not finite, and where their correlation is zero up to rounding.

    Raises:
        TypeError: an input is not a floating-point tensor, dtypes differ, or ``size`` does not hold
            integers.
        ValueError: shapes or devices disagree, or ``size`` is out of range.

    Example:
        >>> import torch
        >>> cam = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
        >>> features = torch.tensor([[[[3.0, 2.0, 0.0, -1.0]], [[1.0, 1.0, 1.0, 1.0]]]])
        >>> pc1(cam, features)
        tensor([[[1.0000, 0.5000, 0.0000, 0.0000]]])

    Reference:
        Wei et al., "Unsupervised Object Discovery and Co-Localization by Deep Descriptor
        Transforming", Pattern Recognition 2019.

    """
    layers = [layer.detach() for layer in check_features(features, cam)]
    size = limited_grid(layers) if size is None else check_size("size", size)
    finite = are_finite(cam, [is_finite(layer, (1, 2, 3)) for layer in layers])
    vectors = torch.cat([rms_normalized(centered_on(layer, size)) for layer in layers], 1)
    vectors = vectors.nan_to_num(0.0).flatten(2)  # (B, C, N)

    start = cam_on(cam, size)
    start = start - start.mean(-1, keepdim=True)
    channels, positions = vectors.shape[1:]
    if channels <= positions:
        directions = project_on_largest(start @ vectors.mT, vectors @ vectors.mT)
    else:  # the same eigenvalues, of a smaller matrix
        directions = project_on_largest(start, vectors.mT @ vectors) @ vectors.mT
    component = directions @ vectors  # of mean zero
    lengths = component.norm(dim=-1, keepdim=True) * start.norm(dim=-1, keepdim=True)
    correlated = (component * start).sum(-1, keepdim=True) > rounding_of(start) * lengths
    maps = component.relu().where(correlated, 0.0).reshape(*cam.shape[:-2], *size)
    return unit_range(maps).where(finite[..., None, None], 0.0).to(cam.dtype)
