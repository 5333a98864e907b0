"""PIL images of any size, in batches that a model takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from wsolrefine.activation.labels import Labels, as_labels, columns_of
from wsolrefine.data.images import to_rgb
from wsolrefine.localization.masks import MASK_SIDE
from wsolrefine.models import Preprocess

if TYPE_CHECKING:
    from PIL.Image import Image

SPARE = 2
"""A JPEG is decoded with at least this many times the pixels that the model wants on a side: what
is left to resize then smooths as much as it does for the whole image."""


class Batch(NamedTuple):
    """PIL images as RGB, each preprocessed ``(3, H, W)``, and the labels asked for.

    ``columns`` is the number of columns of multi-hot labels, see
    :func:`wsolrefine.activation.labels.columns_of`.
    """

    images: Sequence[Image]
    pixels: Sequence[Tensor]
    labels: Tensor | None
    columns: int | None


def in_batches(
    images: Sequence[Image],
    labels: Labels | None,
    prepare: Callable[[Image], Tensor],
    device: torch.device,
) -> Iterator[Batch]:
    """Yield PIL images all at once if the preprocessing brings them to one size, else one by one.

    Raises:
        TypeError: one of the images is no PIL image, or labels are not int64.
        ValueError: there are more or fewer labels than images.

    """
    if any(isinstance(image, Tensor) for image in images):
        raise TypeError("images: expected one tensor or PIL images, got tensors in a list")
    originals = [to_rgb(image) for image in images]
    pixels = [prepare(image) for image in originals]
    if isinstance(labels, Tensor):
        labels = labels.to(device)
    columns = columns_of(labels)
    # Checked before they are split.
    several = as_labels(labels, torch.empty(len(pixels), device=device))
    step = len(pixels) if len({image.shape for image in pixels}) == 1 else 1
    for start in range(0, len(pixels), step):
        some = slice(start, start + step)
        own = None if several is None else several[some]
        yield Batch(originals[some], pixels[some], own, columns)


def preprocessed(image: Image, preprocess: Callable[[Image], Tensor] | None) -> Tensor:
    """Return a PIL image as ``(3, H, W)``.

    Raises:
        ValueError: there is no preprocessing, or it returns something else.

    """
    if preprocess is None:
        raise ValueError(
            "preprocess: expected one for images that are not tensors, such as "
            "Preprocess((224, 224)), got None"
        )
    pixels = preprocess(image)
    shape = tuple(pixels.shape) if isinstance(pixels, Tensor) else ()
    if len(shape) != 3 or shape[0] != 3:
        got = shape or type(pixels).__name__
        raise ValueError(f"preprocess: expected it to return a tensor (3, H, W), got {got}")
    return pixels


def pixels_needed(preprocess: Callable[[Image], Tensor] | None) -> tuple[int, int] | None:
    """Return the pixels that an image needs on its shorter and its longer side; None: all it has.

    For :func:`wsolrefine.data.images.reading_reduced`. All commands read images in this way, so
    that they see the same pixels; on the longer side these are enough to draw on, too.

    Example:
        >>> pixels_needed(Preprocess((224, 224))), pixels_needed(lambda image: image)
        ((448, 1024), None)

    """
    if type(preprocess) is not Preprocess or preprocess.interpolation == "nearest":
        return None  # the user's own may crop, and the nearest pixel is another one
    return SPARE * max(preprocess.size), MASK_SIDE
