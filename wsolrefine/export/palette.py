"""The colors of the masks of Pascal VOC."""

from __future__ import annotations


def voc_palette() -> list[int]:
    """Return the colors of the 256 classes of a mask, ``r g b r g b ...``, as Pascal VOC has them.

    The bits of a class, three at a time from the lowest, are the bits of red, green and blue from
    the highest. 0 is black and 255, the pixels that are ignored, nearly white.

    Example:
        >>> palette = voc_palette()
        >>> palette[:3], palette[3:6], palette[45:48], palette[-3:]
        ([0, 0, 0], [128, 0, 0], [192, 128, 128], [224, 224, 192])

    """
    colors = []
    for label in range(256):
        for channel in range(3):
            bits = (label >> (3 * place + channel) & 1 for place in range(3))
            colors.append(sum(bit << (7 - place) for place, bit in enumerate(bits)))
    return colors
