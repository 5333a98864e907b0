"""A folder of score maps, one file per image."""

from __future__ import annotations

import math
import os
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from wsolrefine._files import open_regular
from wsolrefine._options import check_path
from wsolrefine.data._lines import stays_below
from wsolrefine.data._masks import read_gray_map
from wsolrefine.data._opened import MAX_PIXELS
from wsolrefine.data.images import SUFFIXES
from wsolrefine.data.reader import check_folder


class ScoreMaps:
    """Score maps of images, in files that are named after the images.

    For the image ``birds/wren.jpg`` these files are tried in turn: ``birds/wren.jpg.npy`` (as
    wsolevaluation names it), ``birds/wren.npy``, ``birds/wren.jpg.png``, ``birds/wren.png``.

    Args:
        folder: the folder that the ids are relative to.

    Raises:
        FileNotFoundError: there is no such folder.

    Example:
        >>> from tempfile import mkdtemp
        >>> import numpy as np
        >>> folder = mkdtemp()
        >>> np.save(f"{folder}/wren.jpg.npy", np.array([[0, 0.5]], dtype=np.float32))
        >>> ScoreMaps(folder).maps("wren.jpg")
        tensor([[0.0000, 0.5000]], dtype=torch.float64)

    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.folder = Path(check_path("folder", folder))
        check_folder("folder", self.folder)

    def maps(self, image_id: str) -> Tensor:
        """Return the score map of an image.

        Args:
            image_id: path of the image, as in :class:`wsolrefine.data.Annotation`.

        Returns:
            ``(H, W)`` float64: the values of an array as they are stored; those of a PNG divided by
            255 (8 bits) or 65535 (16 bits).

        Raises:
            OSError: there is no such file, or it cannot be read.
            ValueError: it is neither an array of numbers ``(H, W)`` nor a gray PNG, or ``image_id``
                leads out of the folder.

        """
        path = self._path(image_id)
        return read_gray_map(path) if path.suffix == ".png" else _read_array(path)

    def _path(self, image_id: str) -> Path:
        if not stays_below(image_id):
            raise ValueError(
                f"image_id: expected a path that stays below its folder, got {image_id!r}"
            )
        names = [image_id]
        # With any other ending, "frame.1" and "frame.2" would be one map.
        if PurePosixPath(image_id).suffix.lower() in SUFFIXES:
            names.append(str(PurePosixPath(image_id).with_suffix("")))
        for suffix in (".npy", ".png"):
            for name in names:
                path = self.folder / f"{name}{suffix}"
                try:
                    path.lstat()  # a broken link or a pipe is not "no map"
                except PermissionError:
                    raise
                except OSError:
                    continue
                return path
        raise FileNotFoundError(f"{self.folder / image_id}.npy: expected a score map, got no file")


def _read_array(path: Path) -> Tensor:
    expected = f"{path}: expected an array of numbers (H, W)"
    with open_regular(path) as file:
        _check_header(file, expected)
        try:
            values = np.load(file, allow_pickle=False)
        except Exception as error:  # a damaged file can raise anything
            raise ValueError(f"{expected}, got {error or type(error).__name__}") from None
    if not isinstance(values, np.ndarray):
        raise ValueError(f"{expected}, got an archive of arrays")
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{expected}, got dtype {values.dtype}")
    if values.ndim != 2 or not values.size:
        raise ValueError(f"{expected}, got shape {values.shape}")
    return torch.from_numpy(values.astype(np.float64))


def _check_header(file: BinaryIO, expected: str) -> None:
    """Raise if an array claims to be larger than its file, before memory is taken for it."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0
        shape, _, dtype = (read if version == (1, 0) else np.lib.format.read_array_header_2_0)(file)
    except Exception:  # what is wrong with it, loading it will say
        file.seek(0)
        return
    size, left = math.prod(shape), os.fstat(file.fileno()).st_size - file.tell()
    if size > MAX_PIXELS:
        raise ValueError(f"{expected} of at most {MAX_PIXELS:,} pixels, got shape {shape}")
    if not dtype.hasobject and size * dtype.itemsize > left:
        needed = size * dtype.itemsize
        raise ValueError(f"{expected}, got a truncated file ({left:,} of {needed:,} bytes)")
    file.seek(0)
