"""Random crops and flips of training images, from torch's generators, without torchvision."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from wsolrefine._check import check_interpolation, check_tensors
from wsolrefine._options import check_count, check_kind, check_number
from wsolrefine.functional._numeric import working

if TYPE_CHECKING:
    from PIL.Image import Image

    Picture = TypeVar("Picture", Image, Tensor)


@dataclass(frozen=True)
class RandomCrop:
    """Resize a whole image to a square, crop a random square from it, and flip it at random.

    All five papers train this way: resize to 256 x 256, crop 224 x 224, flip with probability 1/2.
    The image is stretched to the square, so that every part of it can be in a crop. The same state
    of the generator gives the same crop and flip for a PIL image and for a tensor.

    Args:
        size: side in pixels that the whole image is resized to.
        crop: side of the cropped square, at most ``size``.
        flip: probability of a flip from left to right.
        interpolation: a PIL filter, for PIL images: nearest, box, bilinear, hamming, bicubic or
            lanczos. Tensors are resized bilinearly with antialiasing.

    Raises:
        TypeError: an argument is no number.
        ValueError: it is out of its range.

    Example:
        >>> import torch
        >>> from PIL import Image
        >>> cut = RandomCrop(8, 6)
        >>> cut(Image.new("RGB", (30, 20)), torch.Generator().manual_seed(0)).size
        (6, 6)
        >>> cut(torch.rand(3, 20, 30)).shape
        torch.Size([3, 6, 6])

    """

    size: int = 256
    crop: int = 224
    flip: float = 0.5
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        check_count("size", self.size)
        check_count("crop", self.crop, high=self.size)
        check_number("flip", self.flip, low=0, high=1)
        check_interpolation(self.interpolation)

    def __call__(self, image: Picture, generator: torch.Generator | None = None) -> Picture:
        """Return a random crop of an image.

        Args:
            image: a PIL image, or a floating-point tensor ``(..., H, W)``.
            generator: a torch generator on the CPU; None: the global one.

        Returns:
            An image of the same kind, ``crop`` pixels on each side; differentiable for a tensor.

        Raises:
            TypeError: ``image`` is neither a PIL image nor a floating-point tensor, or
                ``generator`` is no generator.
            ValueError: ``image`` is a tensor with fewer than two axes, or without a pixel.

        """
        if generator is not None:
            check_kind("generator", generator, torch.Generator, "a torch.Generator or None")
        if isinstance(image, Tensor):
            check_tensors(image=(image, "... H W"))
        else:
            from PIL.Image import Image, Resampling, Transpose

            check_kind("image", image, Image, "a PIL image or a torch.Tensor")
        top, left = torch.randint(self.size - self.crop + 1, (2,), generator=generator).tolist()
        flipped = bool(torch.rand((), generator=generator) < self.flip)
        if isinstance(image, Tensor):
            return self._tensor(image, top, left, flipped)
        whole = image.resize((self.size, self.size), Resampling[self.interpolation.upper()])
        part = whole.crop((left, top, left + self.crop, top + self.crop))
        return part.transpose(Transpose.FLIP_LEFT_RIGHT) if flipped else part

    def _tensor(self, image: Tensor, top: int, left: int, flipped: bool) -> Tensor:
        flat = working(image).reshape(math.prod(image.shape[:-2]), 1, *image.shape[-2:])
        size = (self.size, self.size)
        whole = F.interpolate(flat, size, mode="bilinear", align_corners=False, antialias=True)
        part = whole[..., top : top + self.crop, left : left + self.crop]
        part = part.reshape(*image.shape[:-2], self.crop, self.crop)
        return (part.flip(-1) if flipped else part).to(image.dtype)
