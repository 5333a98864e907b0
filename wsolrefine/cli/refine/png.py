"""Gray PNG files of maps and masks."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY = (8, 0, 0, 0, 0)  # bits, color type, and the only compression, filter and order there is
_UP = 2


def gray_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return a PNG file of 8-bit gray pixels ``(H, W)``.

    Each row is stored as its difference from the row above, the filter "Up", and compressed by runs
    alone: maps and masks are larger than what they were made at, so that most differences are 0.
    Pillow tries five filters for each row, and takes several times as long for a larger file.

    Example:
        >>> from io import BytesIO
        >>> from PIL import Image
        >>> pixels = np.array([[0, 255, 7], [3, 0, 7]], np.uint8)
        >>> Image.open(BytesIO(gray_png(pixels))).tobytes() == pixels.tobytes()
        True

    """
    height, width = pixels.shape
    rows = np.empty((height, 1 + width), np.uint8)
    rows[:, 0] = _UP
    rows[:1, 1:] = pixels[:1]
    np.subtract(pixels[1:], pixels[:-1], out=rows[1:, 1:])  # modulo 256, as the filter wants it
    header = struct.pack(">II5B", width, height, *_GRAY)
    runs = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    content = runs.compress(rows.data) + runs.flush()
    chunks = ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)
