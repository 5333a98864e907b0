"""Boundaries as pseudo labels: the outline of a mask, moved onto the edges of the image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wsolrefine._check import check_tensors, check_values
from wsolrefine._options import check_number
from wsolrefine.functional._numeric import is_finite, working
from wsolrefine.functional._opencv import opencv


def pseudo_boundary(
    mask_probability: Tensor,
    image: Tensor,
    *,
    threshold: float = 0.5,
    low: float = 100.0,
    high: float = 200.0,
    tolerance: float = 5.0,
) -> Tensor:
    """Return the longest outline of each mask, moved onto Canny edges where there are any nearby.

    The paper locates a coarse boundary by a CRF and fuses it with Canny edges "by finding the
    longest contour", and gives no further details. Here:

    1. the longest outer contour of ``mask_probability > threshold`` is the coarse boundary;
    2. each of its points moves to the nearest Canny edge pixel, unless that is farther away than
       ``tolerance``: then the point stays, so that the contour remains closed;
    3. the polygon of these points is filled; its longest outer contour, without the pixels on the
       image's own border, is the result.

    Args:
        mask_probability: usually :func:`wsolrefine.conv_crf` of the object, ``(B, H, W)``; compared
            with ``threshold`` as it is.
        image: colors in [0, 1], ``(B, 3, H, W)``; values outside are clipped.
        threshold: probability above which a pixel is object.
        low: lower hysteresis threshold of Canny, the gradient that continues an edge; in the units
            of ``cv2.Canny``, for values of 0 to 255.
        high: upper hysteresis threshold, the gradient that starts an edge.
        tolerance: how far a point may move, in pixels; 0 takes the mask's contour as it is.

    Returns:
        Boolean masks, ``(B, H, W)``: one contour per image, one pixel wide, the outermost pixels of
        the object. Empty if no pixel is above the threshold or an input is not finite. Computed
        on the CPU, one image at a time; not differentiable.

    Raises:
        TypeError: an input is not a floating-point tensor, dtypes differ, or an option is not a
            number.
        ValueError: shapes or devices disagree, an input has no values (meta device), ``threshold``
            is NaN, ``0 <= low <= high`` does not hold, or ``tolerance`` is not a finite number
            >= 0.

    Example:
        >>> import torch
        >>> mask = torch.zeros(1, 5, 6)
        >>> mask[0, 1:4, 1:4] = 0.9
        >>> pseudo_boundary(mask, torch.zeros(1, 3, 5, 6)).int()[0]
        tensor([[0, 0, 0, 0, 0, 0],
                [0, 1, 1, 1, 0, 0],
                [0, 1, 0, 1, 0, 0],
                [0, 1, 1, 1, 0, 0],
                [0, 0, 0, 0, 0, 0]], dtype=torch.int32)

    Reference:
        Zhang et al., "Rethinking Localization Map: Towards Accurate Object Perception with
        Self-Enhancement Maps", 2020, Sec. 3.3; Canny, "A Computational Approach to Edge
        Detection", PAMI 1986.

    """
    check_tensors(mask_probability=(mask_probability, "B H W"), image=(image, "B 3 H W"))
    check_values(mask_probability=mask_probability, image=image)
    threshold = check_number("threshold", threshold, finite=False)
    low, high = check_number("low", low, low=0), check_number("high", high, low=0)
    if low > high:
        raise ValueError(f"low: expected 0 <= low <= high, got low={low} and high={high}")
    tolerance = check_number("tolerance", tolerance, low=0)
    import numpy as np

    usable = is_finite(mask_probability, (1, 2)) & is_finite(image, (1, 2, 3))
    masks = (mask_probability > threshold) & usable[:, None, None]
    colors = working(image.detach()).where(usable[:, None, None, None], 0.0).clamp(0, 1) * 255
    images = colors.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    result = np.zeros(masks.shape, np.uint8)
    for lines, mask, pixels in zip(result, masks.cpu().numpy(), images, strict=True):
        if mask.any():
            points = _longest_contour(mask.astype(np.uint8))
            if tolerance > 0:
                points = _snapped(points, pixels, low, high, tolerance)
            lines[points[:, 1], points[:, 0]] = 1
    # On the image's border it is the image that ends, not the object.
    result[:, [0, -1]] = 0
    result[:, :, [0, -1]] = 0
    return torch.from_numpy(result).bool().to(image.device)


def _longest_contour(mask: Any) -> Any:
    """Return the points ``(n, 2)``, x and y, of the longest outer contour of a uint8 mask."""
    cv2 = opencv("pseudo_boundary")

    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return max(contours, key=lambda contour: cv2.arcLength(contour, True))[:, 0]


def _snapped(points: Any, image: Any, low: float, high: float, tolerance: float) -> Any:
    """Move the points to the edges of the image; return the contour of their polygon."""
    cv2 = opencv("pseudo_boundary")
    import numpy as np

    edges = cv2.Canny(image, low, high) > 0
    if not edges.any():
        return points
    distance, label = cv2.distanceTransformWithLabels(
        (~edges).astype(np.uint8),
        cv2.DIST_L2,
        cv2.DIST_MASK_PRECISE,
        labelType=cv2.DIST_LABEL_PIXEL,
    )
    # The label at an edge pixel identifies that pixel.
    place = np.zeros((label.max() + 1, 2), points.dtype)
    rows, columns = edges.nonzero()
    place[label[rows, columns]] = np.stack([columns, rows], 1)
    x, y = points.T
    height, width = edges.shape
    at_border = (x == 0) | (y == 0) | (x == width - 1) | (y == height - 1)
    # In float64: a tolerance beyond the largest float32 would overflow.
    near = (distance[y, x].astype(np.float64) <= tolerance) & ~at_border
    moved = np.where(near[:, None], place[label[y, x]], points)
    filled = np.zeros((height, width), np.uint8)
    cv2.drawContours(filled, [moved[:, None]], -1, 1, cv2.FILLED)
    return _longest_contour(filled)
