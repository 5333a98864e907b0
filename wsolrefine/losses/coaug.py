"""CSoA's CoAug loss: images of a batch supervise each other through embeddings of their parts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import pad

from wsolrefine._check import check_labels, check_tensors
from wsolrefine._options import check_number
from wsolrefine.functional._numeric import balance, working
from wsolrefine.losses._reduce import Reduction, check_reduction, reduced


def coaug_loss(
    foreground: Tensor,
    background: Tensor,
    confident_background: Tensor,
    label: Tensor,
    *,
    gamma: float = 1.0,
    delta: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Pull foregrounds of one class together, and push all foregrounds away from backgrounds.

    With ``F, B, M`` the three embeddings of an image, ``cam = |F - B|``, ``back = |B - M|`` and
    ``d = |F_m - F_n|`` (norms, not squared), a pair of images m < n gives::

        same class:    (gamma (back_m + back_n) + d) / ((cam_m + cam_n) / 2)
        other classes:  gamma (back_m + back_n) / (delta d + (cam_m + cam_n) / 2)

    Eq. 12 prints these with the names "same" and "diff" swapped.

    Args:
        foreground: embedding of the image times its map, ``(B, D)``.
        background: embedding of the image times one minus the map, ``(B, D)``.
        confident_background: embedding of the confident part of the background, ``(B, D)``.
        label: class of each image, int64, ``(B,)``.
        gamma: weight of ``back``. The paper gives no value; 1 is our choice.
        delta: weight of ``d`` between classes. The paper gives no value; 1 is our choice.
        reduction: ``mean`` over pairs; ``sum``, the paper's, which grows with the square of the
            batch; or ``none`` for one value per pair, ``(B (B - 1) / 2,)``, in the order (0, 1),
            (0, 2), ...

    Returns:
        The loss, zero if there are no pairs; differentiable. A pair whose denominator is zero up to
        rounding of the embeddings has no direction to move in and counts as zero.

    Raises:
        TypeError: an embedding is not a floating-point tensor, dtypes differ, or ``label`` is not
            int64.
        ValueError: shapes or devices disagree, ``gamma`` or ``delta`` is not a finite number >= 0,
            or ``reduction`` is unknown.

    Example:
        >>> import torch
        >>> foreground = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
        >>> background = torch.zeros(2, 2)
        >>> confident = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> coaug_loss(foreground, background, confident, torch.tensor([0, 0]))  # (2 + 5) / 3.5
        tensor(2.)
        >>> coaug_loss(foreground, background, confident, torch.tensor([0, 1]))  # 2 / (5 + 3.5)
        tensor(0.2353)

    Reference:
        Kou et al., "Improve CAM with Auto-adapted Segmentation and Co-supervised
        Augmentation", WACV 2021, Eqs. 9-12.

    """
    check_reduction(reduction)
    gamma, delta = check_number("gamma", gamma, low=0), check_number("delta", delta, low=0)
    check_tensors(
        foreground=(foreground, "B D"),
        background=(background, "B D"),
        confident_background=(confident_background, "B D"),
    )
    check_labels("label", label, foreground=foreground)
    together = working(torch.stack([foreground, background, confident_background]))
    objects, others, confident = together / _scale(together.detach())
    cam = vector_norm(objects - others, dim=1)
    back = vector_norm(others - confident, dim=1)
    m, n = torch.triu_indices(len(label), len(label), 1, device=label.device)
    distance = vector_norm(objects[m] - objects[n], dim=1)
    backs, cams = gamma * (back[m] + back[n]), (cam[m] + cam[n]) / 2
    same = label[m] == label[n]
    numerator = torch.where(same, backs + distance, backs)
    denominator = torch.where(same, cams, delta * distance + cams)
    size = sum(vector_norm(each, dim=1) for each in (objects, others, confident))
    usable = ~(denominator <= 8 * torch.finfo(foreground.dtype).eps * (size[m] + size[n]))
    values = torch.where(usable, numerator / denominator.where(usable, 1.0), 0.0)
    return reduced(values, reduction, foreground.dtype)


def _scale(embeddings: Tensor) -> Tensor:
    """Return what to divide embeddings by, so that their squares neither overflow nor vanish.

    The pairs are ratios of lengths, in which it cancels. It is 1 unless they are extreme.
    """
    peaks = embeddings.abs().amax((0, 2))  # of each image
    peak = pad(peaks.where(peaks.isfinite(), 0.0), (0, 1)).amax()
    return peak.where((peak > 0) & (balance(peak) != 1), 1.0)
