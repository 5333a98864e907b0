"""The one reader of images: any file as 8-bit RGB, by a policy that says what is done to pixels."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wsolrefine._options import check_choice, check_counts, check_kind, check_path, kind_of
from wsolrefine.data._opened import UnreadableImage, one_at_a_time, opened
from wsolrefine.data._rgb import Deep, as_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg"),
    *(".jpg", ".jxl", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
)
"""What counts as an image inside a folder, in lower case. Suffixes that Pillow may not open are
listed too: better reported than passed over."""

_ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""How an image of each orientation is turned upright, in Pillow's names."""
_BACK = {6: 8, 8: 6}
"""What turns an upright image back; the other orientations undo themselves."""
_ON_ITS_SIDE = (5, 6, 7, 8)
_REDUCIBLE = ("JPEG", "MPO")


@dataclass(frozen=True)
class ImagePolicy:
    """How the pixels of a file become 8-bit RGB: one policy for refine, evaluate and train.

    The first frame of an animation is taken. CMYK, palettes, LAB and gray become RGB.

    Args:
        orientation: ``"upright"`` turns the image as its EXIF data says, as viewers show it;
            ``"stored"`` leaves it as it is stored, which is what the boxes of the usual data sets
            refer to.
        deep_gray: ``"stretch"`` maps the darkest finite pixel of gray with more than 8 bits (also
            float) to 0 and the brightest to 255, because such files rarely use their whole range;
            NaN and -inf become 0, inf 255, and a constant image is black. ``"scale"`` divides 16
            bits by 257 and refuses more.
        background: color, 0 to 255, under transparent pixels.

    Raises:
        TypeError: ``background`` is no sequence of integers.
        ValueError: a field is none of the values above.

    Example:
        >>> print(ImagePolicy())
        upright (EXIF), deep gray stretched, transparency on (255, 255, 255)

    """

    orientation: Literal["upright", "stored"] = "upright"
    deep_gray: Literal["stretch", "scale"] = "stretch"
    background: tuple[int, int, int] = (255, 255, 255)

    def __post_init__(self) -> None:
        check_choice("orientation", self.orientation, ("upright", "stored"))
        check_choice("deep_gray", self.deep_gray, _DEEP_GRAY)
        levels = check_counts("background", self.background, low=0, high=255)
        if len(levels) != 3:
            raise ValueError(f"background: expected 3 values 0 to 255, got {self.background!r}")

    def __str__(self) -> str:
        turned = "upright (EXIF)" if self.orientation == "upright" else "as stored (EXIF ignored)"
        deep = "stretched" if self.deep_gray == "stretch" else "scaled"
        return f"{turned}, deep gray {deep}, transparency on {self.background}"


_DEEP_GRAY = ("stretch", "scale")
UPRIGHT = ImagePolicy()
AS_STORED = ImagePolicy(orientation="stored")


def read_image(path: str | PathLike[str], policy: ImagePolicy = UPRIGHT) -> Image:
    """Read an image file as 8-bit RGB.

    It takes at most about 12 bytes a pixel, and images of more than 33 megapixels are read one at a
    time, in however many threads. Color profiles are not applied.

    Args:
        path: the file.
        policy: what is done to its pixels.

    Returns:
        A PIL image of mode RGB.

    Raises:
        OSError: there is no such file, or it may not be read.
        UnreadableImage: (a ValueError) the file is empty, truncated, damaged, not an image or not a
            regular file, has too many pixels, or has deep gray that the policy does not scale.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGBA", (2, 1), (255, 0, 0, 0)).save(f"{folder}/clear.png")
        ...     read_image(f"{folder}/clear.png").getpixel((0, 0))
        (255, 255, 255)

    """
    with reading(path, policy) as image:
        return image


@contextlib.contextmanager
def reading(path: str | PathLike[str], policy: ImagePolicy = UPRIGHT) -> Iterator[Image]:
    """Yield :func:`read_image`'s result; no other large image is read until the end of the context.

    For threads that keep only a small version of each image.
    """
    with reading_reduced(path, None, policy) as (image, _):
        yield image


@contextlib.contextmanager
def reading_reduced(
    path: str | PathLike[str], least: tuple[int, int] | None, policy: ImagePolicy = UPRIGHT
) -> Iterator[tuple[Image, tuple[int, int]]]:
    """Yield an image as :func:`reading` does, or with fewer pixels, and the (width, height) it has.

    A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, each pixel the mean of those that it
    stands for, in a fraction of the time. Other formats are read whole.

    Args:
        path: the file.
        least: pixels on the shorter and on the longer side that must be left; None: all of them.
        policy: what is done to its pixels.

    """
    check_path("path", path)
    check_kind("policy", policy, ImagePolicy, "an ImagePolicy")
    with contextlib.ExitStack() as turn:
        with opened(path) as image:
            turn.enter_context(one_at_a_time(image.width * image.height))
            width, height = image.size
            reduced = least is not None and _reduce(image, least)
            pixels, turned = _decoded(image, Path(path), policy)
        if not reduced:
            yield pixels, pixels.size
        else:
            yield pixels, (height, width) if turned in _ON_ITS_SIDE else (width, height)


def _reduce(image: Image, least: tuple[int, int]) -> bool:
    """Let an opened JPEG be decoded at a fraction of its size; return whether it will be."""
    shorter, longer = min(image.size), max(image.size)
    for part in (8, 4, 2) if image.format in _REDUCIBLE else ():
        if shorter // part >= least[0] and longer // part >= least[1]:
            return image.draft(None, (image.width // part, image.height // part)) is not None
    return False


def _decoded(image: Image, path: Path, policy: ImagePolicy) -> tuple[Image, int | None]:
    """Return an opened image as RGB by the policy, and the orientation that it was turned from."""
    from PIL import Image as Pillow

    to_upright, to_stored = load(image)
    rgb = _rgb(image, path, policy)
    if rgb is not image:
        image.close()  # its pixels are not needed any more, and turning takes as many again
    turn = to_upright if policy.orientation == "upright" else to_stored
    return (rgb if turn is None else rgb.transpose(Pillow.Transpose[TURNS[turn]])), turn


def load(image: Image) -> tuple[int | None, int | None]:
    """Decode an opened image: its first frame. A truncated file raises.

    Returns:
        The orientations that turn it upright, and as it is stored; None: it is that way.

    """
    before = orientation_of(image) if image.format == "TIFF" else None
    image.load()
    orientation = orientation_of(image)
    if before is None or orientation == before:
        return orientation, None
    return None, _BACK.get(before, before)  # Pillow turns TIFF upright by itself


def orientation_of(image: Image) -> int | None:
    """Return an opened image's EXIF orientation, 2 to 8; None: upright, or damaged EXIF data."""
    with contextlib.suppress(Exception):  # damaged EXIF data: the pixels are still good
        found = image.getexif().get(_ORIENTATION)
        return found if isinstance(found, int) and found in TURNS else None
    return None


def to_rgb(image: Image, policy: ImagePolicy = UPRIGHT) -> Image:
    """Return a PIL image as 8-bit RGB by the policy, in the orientation that it has.

    Raises:
        TypeError: it is no PIL image.

    """
    pillow = sys.modules.get("PIL.Image")  # without it there are no PIL images
    if pillow is None or not isinstance(image, pillow.Image):
        raise TypeError(f"images: expected a tensor or PIL images, got {kind_of(image)}")
    return _rgb(image, Path("image"), policy)


def image_size(path: str | PathLike[str], policy: ImagePolicy = UPRIGHT) -> tuple[int, int]:
    """Return (height, width) of :func:`read_image`'s result, without decoding if it can be."""
    with opened(path) as image, one_at_a_time(image.width * image.height):
        width, height = image.size
        if image.format == "TIFF":  # whose size may be that of the image turned upright, or not
            tags = image.tag_v2  # type: ignore[attr-defined]
            width, height = tags[256], tags[257]
        if policy.orientation == "upright" and orientation_of(image) in _ON_ITS_SIDE:
            width, height = height, width
        return height, width


def _rgb(image: Image, path: Path, policy: ImagePolicy) -> Image:
    try:
        return as_rgb(image, policy.deep_gray == "stretch", policy.background)
    except Deep as error:
        raise UnreadableImage(path, str(error), "an image of 8 or 16 bits") from None
