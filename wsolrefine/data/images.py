"""The one reader of images: any file as 8-bit RGB, by a policy that says what is done to pixels."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg"),
    *(".jpg", ".jxl", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
)
"""What counts as an image inside a folder, in lower case. Suffixes that Pillow may not open are
listed too: better reported than passed over."""

_ORIENTATION = 0x0112  # the EXIF tag
_ON_ITS_SIDE = {5, 6, 7, 8}


class UnreadableImage(ValueError):  # noqa: N818 - it is the image that is at fault
    """A file holds no image that can be read.

    Args:
        path: the file.
        got: what it holds instead, such as ``an empty file (0 bytes)``.
        expected: what it should hold.

    """

    def __init__(self, path: str | PathLike[str], got: str, expected: str = "an image") -> None:
        super().__init__(path, got, expected)
        self.path, self.reason = Path(path), f"expected {expected}, got {got}"

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


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
            ``"scale"`` divides 16 bits by 257 and refuses more.
        background: color, 0 to 255, under transparent pixels.

    Raises:
        ValueError: a field is none of the values above.

    Example:
        >>> print(ImagePolicy())
        upright (EXIF), deep gray stretched, transparency on (255, 255, 255)

    """

    orientation: Literal["upright", "stored"] = "upright"
    deep_gray: Literal["stretch", "scale"] = "stretch"
    background: tuple[int, int, int] = (255, 255, 255)

    def __post_init__(self) -> None:
        for name, known in (("orientation", ("upright", "stored")), ("deep_gray", _DEEP_GRAY)):
            if getattr(self, name) not in known:
                expected = " or ".join(map(repr, known))
                raise ValueError(f"{name}: expected {expected}, got {getattr(self, name)!r}")
        if len(self.background) != 3 or not all(0 <= value <= 255 for value in self.background):
            raise ValueError(f"background: expected 3 values 0 to 255, got {self.background}")

    def __str__(self) -> str:
        turned = "upright (EXIF)" if self.orientation == "upright" else "as stored (EXIF ignored)"
        deep = "stretched" if self.deep_gray == "stretch" else "scaled"
        return f"{turned}, deep gray {deep}, transparency on {self.background}"


_DEEP_GRAY = ("stretch", "scale")
UPRIGHT = ImagePolicy()
AS_STORED = ImagePolicy(orientation="stored")


def read_image(path: str | PathLike[str], policy: ImagePolicy = UPRIGHT) -> Image:
    """Read an image file as 8-bit RGB.

    Args:
        path: the file.
        policy: what is done to its pixels.

    Returns:
        A PIL image of mode RGB.

    Raises:
        OSError: there is no such file, or it may not be read.
        UnreadableImage: (a ValueError) the file is empty, truncated, damaged, not an image, has too
            many pixels, or has deep gray that the policy does not scale.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGBA", (2, 1), (255, 0, 0, 0)).save(f"{folder}/clear.png")
        ...     read_image(f"{folder}/clear.png").getpixel((0, 0))
        (255, 255, 255)

    """
    with opened(path) as image:
        from PIL import ImageOps

        image.load()  # the first frame; raises on a truncated file
        format = image.format
        if policy.orientation == "upright":
            with contextlib.suppress(Exception):  # damaged EXIF data: the pixels are still good
                ImageOps.exif_transpose(image, in_place=True)
        return _rgb(image, Path(path), format, policy)


def to_rgb(image: Image, policy: ImagePolicy = UPRIGHT) -> Image:
    """Return a PIL image as 8-bit RGB by the policy, in the orientation that it has.

    Raises:
        TypeError: it is no PIL image.

    """
    pillow = sys.modules.get("PIL.Image")  # without it there are no PIL images
    if pillow is None or not isinstance(image, pillow.Image):
        kind = type(image).__name__
        raise TypeError(f"images: expected a tensor or PIL images, got {kind}")
    return _rgb(image, Path("image"), image.format, policy)


def image_size(path: str | PathLike[str], policy: ImagePolicy = UPRIGHT) -> tuple[int, int]:
    """Return (height, width) of :func:`read_image`'s result, from the head of the file alone."""
    with opened(path) as image:
        if policy.orientation == "upright":
            with contextlib.suppress(Exception):  # damaged EXIF data turns nothing
                if image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE:
                    return image.width, image.height
        return image.height, image.width


@contextlib.contextmanager
def opened(path: str | PathLike[str], kind: str = "an image") -> Iterator[Image]:
    """Open an image file with Pillow; whatever goes wrong with its content names the file.

    Args:
        path: the file.
        kind: what it should hold, for errors.

    Raises:
        OSError: there is no such file, or it may not be read.
        UnreadableImage: it is no image, or a damaged one, or one of far too many pixels.

    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ModuleNotFoundError as error:
        raise ImportError("reading images needs Pillow: pip install pillow") from error

    path = Path(path)

    def unreadable(got: str) -> UnreadableImage:
        return UnreadableImage(path, got, kind)

    with path.open("rb") as file:
        if path.stat().st_size == 0:
            raise unreadable("an empty file (0 bytes)")
        try:
            with Image.open(file) as image:
                yield image
        except UnreadableImage:
            raise
        except UnidentifiedImageError:
            raise unreadable("another kind of file, or a format that Pillow cannot read") from None
        except Image.DecompressionBombError as error:
            raise unreadable(f"too many pixels ({error})") from None
        except MemoryError:
            raise unreadable("more pixels than fit into memory") from None
        except OSError as error:
            if error.errno is not None:  # the system's own errors have a number, Pillow's none
                raise
            raise unreadable(f"a damaged or truncated file ({error})") from None
        except Exception as error:  # decoders raise whatever a damaged file leads to
            raise unreadable(f"a damaged file ({error or type(error).__name__})") from None


def _rgb(image: Image, path: Path, format: str | None, policy: ImagePolicy) -> Image:
    from PIL import Image as Pillow

    if image.mode.startswith(("I", "F")):
        if policy.deep_gray == "scale":
            gray = _scaled(np.asarray(image), image.mode, format, path)
        else:
            gray = _stretched(np.asarray(image, dtype=np.float64))
        return Pillow.fromarray(gray).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        under = Pillow.new("RGBA", layer.size, (*policy.background, 255))
        return Pillow.alpha_composite(under, layer).convert("RGB")
    # An image of 100 megapixels is 300 MB: no copy where none is needed.
    return image if image.mode == "RGB" else image.convert("RGB")


def _scaled(values: Any, mode: str, format: str | None, path: Path) -> Any:
    # Pillow opens 16 bits as I;16, but PGM and, in older versions, PNG as I.
    if not (mode.startswith("I;16") or (mode == "I" and format in ("PNG", "PPM"))):
        raise UnreadableImage(path, f"mode {mode}", "an image of 8 or 16 bits")
    return ((values.astype(np.int32) + 128) // 257).astype(np.uint8)


def _stretched(values: Any) -> Any:
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = values[finite].min(), values[finite].max()
    values = np.where(finite, values, low) - low
    return (values * (255 / (high - low) if high > low else 0) + 0.5).astype(np.uint8)
