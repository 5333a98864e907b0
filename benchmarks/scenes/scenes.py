"""Photographs of objects pasted onto photographs of places: scenes with exact masks and boxes.

Cut-out photographs come from tuxpaint-stamps-default, backgrounds from lomiri-wallpapers-16.04 and
mate-backgrounds. Train, validation and test share neither a cut-out nor a background.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from benchmarks.scenes.packages import unpacked

# Folders of photographs. The others hold letters, flags, road signs, planets, drawn clothes and
# seasonal drawings; trees and flowers are cut out of other plants and have no clear extent.
FOLDERS = ("animals", "food", "hobbies", "household", "medical", "sports", "vehicles")
# Drawings among the photographs, a police car without its body, a ship with a stray line beside it.
LEFT_OUT = {
    *("7spoke256", "bee", "echidna", "hedgehog", "pizza", "tooth"),
    *("chineseJunk", "sedan_police"),
}
# Not among the backgrounds: patterns (analogpattern, umang) and animals (a bird in free, dogs in
# friends).
# ukui-wallpapers holds drawings and renderings only.
BACKGROUNDS = {
    "": "Bridge_by_Sander_Klootwijk Dragonfly_by_Bolly Picture_0B_by_freespace"
    " Picture_1A_by_freespace Wine_by_Jakkub_Mede aitzgorri_by_Aitzol_Berasategi"
    " greentock_by_Peter_Nerlich life_by_Aitzol_Berasategi picosdeeuropa_by_Aitzol_Berasategi"
    " seeding_by_Clements_Engelhardt sunset_by_Aitzol_Berasategi",
    "mate/nature": "Aqua Blinds Dune FreshFlower Garden GreenMeadow LadyBird RainDrops Storm"
    " TwoWings Wood YellowFlower",
}
SPLITS = {"train": 0.4, "validation": 0.3, "test": 0.3}
SCALE = (0.35, 0.8)  # longer side of the object as a share of the scene's
OPAQUE = (0.12, 0.97)  # share of the cut-out's frame; outside lie thin lines and full rectangles


class Sources(NamedTuple):
    """Files of cut-outs and backgrounds, with the folder in which the cut-outs lie."""

    stamps: list[Path]
    backgrounds: list[Path]
    root: Path


class Scene(NamedTuple):
    """One composite image and its ground truth."""

    image: npt.NDArray[np.uint8]  # (H, W, 3)
    plain: npt.NDArray[np.uint8]  # the same object on gray
    mask: Tensor  # (H, W) bool
    box: Tensor  # (4,) half-open x0 y0 x1 y1
    class_name: str  # the cut-out's folder
    stamp: str
    background: str

    def shrink(self, side: int) -> tuple[Tensor, Tensor]:
        """Return image ``(3, side, side)`` and mask ``(side, side)``, both uint8."""
        image = cv2.resize(self.image, (side, side), interpolation=cv2.INTER_AREA)
        mask = cv2.resize(self.mask.numpy().astype(np.uint8), (side, side), None, 0, 0, 0)
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)


def load_sources(folder: Path | None = None) -> Sources:
    """Find the photographs in the unpacked packages, which are downloaded if no folder is named."""
    share = unpacked(folder) / "usr/share"
    root = share / "tuxpaint/stamps"
    stamps = [
        path
        for name in FOLDERS
        for path in sorted((root / name).rglob("*.png"))
        if "cartoon" not in path.relative_to(root).parts
        and not re.search("mirror|flip", path.stem)
        and path.stem not in LEFT_OUT
        and _is_usable(path)
    ]
    backgrounds = [
        share / "backgrounds" / place / f"{name}.jpg"
        for place, names in BACKGROUNDS.items()
        for name in names.split()
    ]
    missing = [path.name for path in backgrounds if not path.is_file()]
    if missing or not stamps:
        raise FileNotFoundError(
            f"folder: expected the packages' files, {missing or root} not there"
        )
    return Sources(stamps, backgrounds, root)


def _is_usable(path: Path) -> bool:
    opaque = float((np.asarray(Image.open(path).convert("RGBA"))[..., 3] > 127).mean())
    return OPAQUE[0] <= opaque <= OPAQUE[1]


def split_of(files: Sequence[Path], split: str) -> list[Path]:
    """Return the files of a split: a share of the list, in an order that depends on names alone.

    Names that differ by a number or an addition (pig, pig_golden2) show the same object and stay
    together.
    """
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(re.split(r"[-_\d]", path.stem, maxsplit=1)[0].lower(), []).append(path)
    order = sorted(groups, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    ranked = [path for name in order for path in groups[name]]
    ends = np.cumsum([0, *SPLITS.values()]) * len(ranked)
    at = [*SPLITS].index(split)
    # A group belongs where its first file falls.
    first = {path: ranked.index(groups[name][0]) for name in order for path in groups[name]}
    return [path for path in ranked if ends[at] <= first[path] < ends[at + 1]]


class Scenes(Dataset[Scene]):
    """Scenes of one split; scene i depends on the seed, the split and i alone.

    Args:
        sources: the photographs.
        split: train, validation or test.
        count: how many scenes; None: as many as there are cut-outs.
        seed: another seed gives other scenes.
        size: side of the scenes in pixels.

    """

    def __init__(
        self,
        sources: Sources,
        split: str,
        count: int | None = None,
        *,
        seed: int = 0,
        size: int = 448,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split: expected one of {', '.join(SPLITS)}, got {split!r}")
        self.root = sources.root
        self.stamps = split_of(sources.stamps, split)
        self.backgrounds = split_of(sources.backgrounds, split)
        self.count = len(self.stamps) if count is None else count
        self.key = (seed, [*SPLITS].index(split))
        self.size = size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Scene:
        if not 0 <= index < self.count:
            raise IndexError(f"index: expected 0 to {self.count - 1}, got {index}")
        chance = np.random.default_rng([*self.key, index])
        stamp = self.stamps[index % len(self.stamps)]
        background = self.backgrounds[chance.integers(len(self.backgrounds))]
        place = _background(background, self.size, chance)
        shape = _cut_out(stamp, self.size, chance)
        x, y = (int(chance.integers(self.size - side + 1)) for side in shape.size)
        plain = Image.new("RGB", place.size, (128, 128, 128))
        for image in (place, plain):
            image.paste(shape, (x, y), shape)
        mask = np.zeros((self.size, self.size), bool)
        mask[y : y + shape.height, x : x + shape.width] = _opaque(shape)
        rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
        box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        folder = stamp.relative_to(self.root).parts[0]
        return Scene(
            np.asarray(place),
            np.asarray(plain),
            torch.from_numpy(mask),
            torch.tensor(box, dtype=torch.float32),
            folder,
            stamp.stem,
            background.stem,
        )


def _opaque(image: Image.Image) -> npt.NDArray[np.bool_]:
    return np.asarray(image.getchannel("A")) > 127


def _background(path: Path, size: int, chance: np.random.Generator) -> Image.Image:
    """Crop a square whose side is half to all of the shorter side."""
    whole = _photograph(path)
    side = int(min(whole.size) * chance.uniform(0.5, 1))
    x, y = (int(chance.integers(length - side + 1)) for length in whole.size)
    return whole.resize((size, size), Image.Resampling.BICUBIC, (x, y, x + side, y + side))


@functools.cache
def _photograph(path: Path) -> Image.Image:
    """Read a photograph once; if it is larger, reduce its shorter side to 1024 pixels."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    scale = min(1, 1024 / min(image.size))
    width, height = (round(length * scale) for length in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _cut_out(path: Path, size: int, chance: np.random.Generator) -> Image.Image:
    """Crop the object to its opaque part, resize it at random, flip it with probability 1/2."""
    with Image.open(path) as opened:
        image = opened.convert("RGBA")
    rows, columns = (np.nonzero(_opaque(image).any(axis))[0] for axis in (1, 0))
    image = image.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    scale = chance.uniform(*SCALE) * size / max(image.size)
    sides = [max(1, round(length * scale)) for length in image.size]
    image = image.resize((sides[0], sides[1]), Image.Resampling.BICUBIC)
    if chance.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image
