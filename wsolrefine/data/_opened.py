"""Opening image files: raster formats only, regular files only, not too many pixels."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsolrefine._files import NotAFile, open_regular

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = (
    *("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF"),
    *("HEIF", "JXL", "TGA"),
)
"""What is opened, in Pillow's names. Its other formats are left out: PostScript starts Ghostscript,
WMF calls Windows, IPTC opens what it contains in any format, BUFR, GRIB and HDF5 call what is
registered for them. HEIF and JXL are those of plugins, if a program has registered them. TGA is
last, because it has no signature."""

MAX_PIXELS = 178_956_970
"""The largest image that is read, as in Pillow. Reading takes at most about 12 bytes a pixel."""

MAX_PIXELS_OF = {"WEBP": 119_304_647, "AVIF": 119_304_647, "JPEG2000": 89_478_485}
"""Formats whose decoders take 18 or 24 bytes a pixel: at most as many bytes as for the others."""

LARGE = 2**25
"""Images of more pixels, larger than those of most cameras, are read one at a time."""

_turn: AbstractContextManager[Any] = threading.RLock()


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


@contextlib.contextmanager
def one_at_a_time(pixels: int) -> Iterator[None]:
    """Let only one thread at a time into the context with a large image."""
    if pixels <= LARGE:
        yield
        return
    with _turn:
        _give_memory_back()  # what the thread before has freed since it left
        try:
            yield
        finally:
            _give_memory_back()


def _give_memory_back() -> None:
    """Return freed memory to the system: glibc keeps it, for each thread anew, as gigabytes."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # not in other libraries than glibc
            trim(0)


def share_turn(lock: AbstractContextManager[Any]) -> None:
    """Read large images one at a time across processes, too: call this in each with one lock."""
    global _turn
    _turn = lock


if hasattr(os, "register_at_fork"):  # a thread of the parent may hold the lock
    os.register_at_fork(after_in_child=lambda: share_turn(threading.RLock()))


def _limit(format: str | None) -> int:
    return min(MAX_PIXELS, MAX_PIXELS_OF.get(format or "", MAX_PIXELS))


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

    try:
        file = open_regular(path)
    except NotAFile as error:
        raise unreadable(error.kind) from None
    with file:
        if os.fstat(file.fileno()).st_size == 0:
            raise unreadable("an empty file (0 bytes)")
        Image.init()  # registers every format, also those that are not opened
        try:
            with Image.open(file, formats=[f for f in FORMATS if f in Image.OPEN]) as image:
                pixels, limit = image.width * image.height, _limit(image.format)
                if pixels > limit:
                    shown = f"{image.width} x {image.height} = {pixels:,}"
                    raise unreadable(f"too many pixels ({shown}; at most {limit:,} are read)")
                yield image
        except UnreadableImage:
            raise
        except UnidentifiedImageError:
            got = "another kind of file, or a format that is not read"
            raise unreadable(got) from None
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise unreadable(f"too many pixels ({error})") from None
        except MemoryError:
            raise unreadable("more pixels than fit into memory") from None
        except OSError as error:
            # The system's own errors have a number, Pillow's none. A damaged file may lead outside.
            if error.errno not in (None, errno.EINVAL):
                raise OSError(error.errno, error.strerror, str(path)) from None
            raise unreadable(f"a damaged or truncated file ({error})") from None
        except Exception as error:  # decoders raise whatever a damaged file leads to
            raise unreadable(f"a damaged file ({error or type(error).__name__})") from None
