"""Masks and maps of objects as arrays at the size of their image."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from wsolrefine.data._masks import read_gray_map
from wsolrefine.export.records import Mask, Object, Record, RunLengths
from wsolrefine.localization.masks import enlarge
from wsolrefine.localization.run_lengths import decoded


def mask_of(found: Object, record: Record) -> Mask | None:
    """Return the mask of an object ``(height, width)``; None if it has none.

    Raises:
        ValueError: it has another size than the image.

    Example:
        >>> record = Record("a.jpg", 3, 2)
        >>> mask_of(Object(0, "cat", mask=RunLengths("123", (2, 3))), record).tolist()
        [[False, True, False], [True, False, False]]

    """
    if found.mask is None:
        return None
    if isinstance(found.mask, RunLengths):
        _check_size(tuple(found.mask.size), record)
        return decoded(found.mask.counts, (record.height, record.width))
    mask = np.asarray(found.mask, dtype=np.bool_)
    _check_size(mask.shape, record)
    return mask


def run_lengths_of(found: Object, record: Record) -> RunLengths | None:
    """Return the mask of an object as run lengths; None if it has none.

    Raises:
        ValueError: it has another size than the image.

    """
    if found.mask is None or isinstance(found.mask, RunLengths):
        if found.mask is not None:
            _check_size(tuple(found.mask.size), record)
        return found.mask
    from pycocotools import mask as coco_mask  # type: ignore[import-untyped]

    mask = mask_of(found, record)
    runs = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return RunLengths(runs["counts"].decode("ascii"), (record.height, record.width))


def area_of(runs: RunLengths) -> int:
    """Return the number of pixels of a mask."""
    from pycocotools import mask as coco_mask

    content = {"size": list(runs.size), "counts": runs.counts.encode("ascii")}
    return int(coco_mask.area(content))


def map_of(found: Object, record: Record) -> npt.NDArray[np.float32] | None:
    """Return the map of an object, enlarged to ``(height, width)``, bilinear; None without one.

    Raises:
        OSError: its file cannot be read.
        ValueError: it is no map.

    Example:
        >>> import numpy as np
        >>> small = np.array([[0.0, 1.0]])
        >>> map_of(Object(0, "cat", map=small), Record("a.jpg", 4, 1)).tolist()
        [[0.0, 0.25, 0.75, 1.0]]

    """
    if found.map is None:
        return None
    if isinstance(found.map, str | PathLike):
        small = read_gray_map(Path(found.map)).float()
    else:
        small = torch.from_numpy(np.array(found.map, dtype=np.float32))
    if small.ndim != 2 or not small.numel():
        raise ValueError(
            f"records: expected a map (h, w) in {record.name!r}, got {tuple(small.shape)}"
        )
    large = enlarge(small[None, None], (record.height, record.width))
    return np.asarray(large[0, 0].numpy())


def _check_size(size: tuple[int, ...], record: Record) -> None:
    expected = (record.height, record.width)
    if size != expected:
        raise ValueError(
            f"records: expected masks (height, width) = {expected} in {record.name!r}, got {size}"
        )
