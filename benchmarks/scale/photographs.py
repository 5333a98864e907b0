"""Photographs to label: those of scikit-image at a size, as often as they are needed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

NAMES = ("astronaut", "chelsea", "coffee", "rocket")


def write_photographs(folder: Path, size: tuple[int, int]) -> list[Path]:
    """Write photographs of scikit-image at a size; return their files."""
    from PIL import Image
    from skimage import data

    files = []
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        file = folder / f"{name}-{size[0]}.jpg"
        if not file.exists():
            Image.fromarray(getattr(data, name)()).resize(size).save(file, quality=90)
        files.append(file)
    return files


def repeated(files: Sequence[Path], folder: Path, count: int) -> Path:
    """Fill a folder with so many files, which are the given ones again and again."""
    folder.mkdir(parents=True)
    for number in range(count):
        file = files[number % len(files)]
        target = folder / f"{number:07d}{file.suffix.lower()}"
        try:
            os.link(file, target)  # one file on the disk, another one for who reads it
        except OSError:
            shutil.copy(file, target)
    return folder
