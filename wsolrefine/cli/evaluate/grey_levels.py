"""Peak-IoU where mask and map differ in size, as public evaluations of SEM have it."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor


def count_levels(map: Tensor, mask: Tensor) -> Tensor:
    """Count grey levels as for Peak-IoU, with the grey map brought to the size of the mask.

    The map is min-maxed and truncated to 8 bits first, then resized bilinear, as public evaluations
    of SEM do; where the sizes agree this is :func:`wsolrefine.metrics.count_grey_levels`.

    Args:
        map: ``(h, w)`` float64.
        mask: ``(H, W)`` uint8: 0 background, 255 not counted, else object.

    Returns:
        ``(2, 256)`` int64: levels of object pixels, then of the others.

    Example:
        >>> import torch
        >>> map = torch.tensor([[0.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
        >>> mask = torch.tensor([[0, 1], [255, 1]], dtype=torch.uint8)
        >>> count_levels(map, mask).nonzero().tolist()
        [[0, 127], [0, 254], [1, 0]]

    """
    values, truth = map.numpy(), mask.numpy()
    grey = (255 * ((values - values.min()) / (np.ptp(values) + 1e-10))).astype(np.uint8)
    if grey.shape != truth.shape:
        grey = cv2.resize(grey, truth.shape[::-1], interpolation=cv2.INTER_LINEAR)
    place = 256 * (truth == 0).astype(np.int64) + grey
    counted = np.bincount(place[truth != 255], minlength=512)
    return torch.from_numpy(counted.reshape(2, 256))
