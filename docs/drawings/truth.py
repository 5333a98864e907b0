"""Where the object is: the truth that the images of the metrics and losses compare with."""

from __future__ import annotations

import functools

import cv2
import numpy as np
import torch
from torch import Tensor

from drawings import panels as p

# Drawn by hand, half-open, in pixels of the photograph: cup with saucer, head, rocket, person.
BOXES = {
    p.CUP: (76.0, 15.0, 480.0, 388.0),
    p.CAT: (28.0, 0.0, 376.0, 300.0),
    "rocket.jpg": (305.0, 124.0, 338.0, 408.0),
    "astronaut.png": (16.0, 14.0, 370.0, 512.0),
}
NEAR = 32.0  # disparity: everything that is farther away than the motorcycle has less
ABOVE_FLOOR = 1.5  # disparity


@functools.cache
def motorcycle_mask() -> Tensor:
    """Return the object of the photograph, (H, W) bool, by its measured disparity.

    The photograph has a measured disparity for each pixel (Middlebury 2014). The motorcycle is what
    is near and not on the floor, a plane fitted to the lower corners; holes that the
    measurement left are closed, and the largest component is kept.
    """
    with np.load(p.photograph_path("motorcycle_disp.npz")) as stored:
        disparity = np.nan_to_num(stored["arr_0"], posinf=0.0)
    rows, columns = np.indices(disparity.shape)
    corners = (rows > 380) & ((columns < 100) | (columns > 700)) & (disparity > 0)
    plane = np.stack([rows, columns, np.ones_like(rows)], -1).astype(np.float64)
    fitted, *_ = np.linalg.lstsq(plane[corners], disparity[corners], rcond=None)
    near = (disparity > NEAR) & (disparity > plane @ fitted + ABOVE_FLOOR)
    closed = cv2.morphologyEx(near.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return torch.from_numpy(labels == largest)
