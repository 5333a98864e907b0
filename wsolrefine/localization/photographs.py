"""PIL images of any size, and what a model needs of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from wsolrefine._check import check_labels
from wsolrefine.data.images import to_rgb

if TYPE_CHECKING:
    from PIL.Image import Image


class Batch(NamedTuple):
    """PIL images as RGB, as the model gets them ``(B, 3, H, W)``, and the labels asked for."""

    images: Sequence[Image]
    pixels: Tensor
    labels: Tensor | None


def in_batches(
    images: Sequence[Image],
    labels: Tensor | int | None,
    prepare: Callable[[Image], Tensor],
    model: nn.Module,
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
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    labels = _on_device(labels, len(pixels), device)
    step = len(pixels) if len({image.shape for image in pixels}) == 1 else 1
    for start in range(0, len(pixels), step):
        some = slice(start, start + step)
        asked = None if labels is None else labels[some]
        yield Batch(originals[some], stack(pixels[some], model), asked)


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


def _on_device(labels: Tensor | int | None, count: int, device: torch.device) -> Tensor | None:
    """Return labels of so many images on a device, checked before they are split."""
    if labels is None:
        return None
    if isinstance(labels, int):
        return torch.full((count,), labels, device=device)
    labels = labels.to(device) if isinstance(labels, Tensor) else labels
    check_labels("labels", labels, several=True, images=torch.empty(count, device=device))
    return labels


def stack(pixels: Sequence[Tensor], model: nn.Module) -> Tensor:
    """Return images as a batch on the device of the model, and in its precision."""
    parameters = [p for p in model.parameters() if p.is_floating_point()]
    images = torch.stack(list(pixels))
    if not parameters:
        return images
    like = parameters[0]
    return images.to(like.device, like.dtype if images.is_floating_point() else None)
