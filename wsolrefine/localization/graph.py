"""A localizer as one module of tensors alone, to export it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from wsolrefine._check import check_tensors
from wsolrefine._options import check_count, check_size, kind_of
from wsolrefine.activation.cams import gap_cam
from wsolrefine.activation.fixed import FixedPass
from wsolrefine.activation.labels import gathered
from wsolrefine.functional._numeric import working
from wsolrefine.functional.boxes import union_box
from wsolrefine.localization.class_maps import probabilities
from wsolrefine.localization.localizer import Localizer
from wsolrefine.localization.masks import enlarge, objects_of
from wsolrefine.localization.methods import METHODS, refined

EXPORTED = tuple(name for name, one in METHODS.items() if not one.layer_cams + one.bagcams)
"""The methods that need no gradients."""


class GraphOutput(NamedTuple):
    """What a graph of a localizer returns for B images and the K most probable classes of each.

    Attributes:
        labels: class indices, int64, ``(B, K)``.
        scores: their probabilities, ``(B, K)``.
        maps: refined heatmaps in [0, 1] at the size of the images, ``(B, K, H, W)``.
        boxes: half-open ``x0 y0 x1 y1`` in pixels of the images, ``(B, K, 4)``; zeros where no
            pixel is above the threshold.

    """

    labels: Tensor
    scores: Tensor
    maps: Tensor
    boxes: Tensor


class LocalizerGraph(nn.Module):
    """A localizer for images of one size, whose steps depend on no value: images to boxes.

    It gives what the localizer gives for the same images, up to rounding, and can be exported whole
    with ``torch.export`` or, by :func:`wsolrefine.save_onnx`, to ONNX, with any number of images.
    Layers are found, and the model runs once, when it is made; weights are shared with the
    localizer, and threshold and refinement are those that it has then.

    A graph holds no backward pass. So the methods ``cam``, ``scg``, ``sem``, ``gppl``, ``confseg``,
    ``conv_crf``, ``fast`` and functions of your own can be exported, ``balanced`` and ``accurate``,
    which start from LayerCAMs, cannot; and the head of the model must average a map, as those of
    most convolutional networks do, because other CAMs are Grad-CAM.

    Args:
        localizer: a :class:`wsolrefine.Localizer` of a classifier; no recipe.
        top: number of classes an image, K.
        size: (height, width) of the images; None: what the localizer's preprocessing makes.

    Raises:
        TypeError: ``localizer`` is none, ``top`` is no integer, or ``size`` is no size.
        ValueError: the method or the CAM needs gradients, ``parts`` is ``"instances"``, ``top`` is
            above the number of classes, ``size`` is not what the preprocessing makes, or there is
            neither.

    Example:
        >>> from wsolrefine import Localizer
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.AdaptiveAvgPool2d(1),
        ...                       nn.Flatten(), nn.Linear(8, 10))
        >>> graph = LocalizerGraph(Localizer(model, refine="scg"), top=3, size=(32, 32))
        >>> found = graph(torch.rand(2, 3, 32, 32))
        >>> found.labels.shape, found.maps.shape, found.boxes.shape
        (torch.Size([2, 3]), torch.Size([2, 3, 32, 32]), torch.Size([2, 3, 4]))

    """

    def __init__(
        self, localizer: Localizer, *, top: int = 1, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        _check_localizer(localizer)
        self.top = check_count("top", top)
        self.size = input_size(localizer, size)
        self.model, self.refine = localizer.model, localizer.refine
        self.threshold, self.parts = localizer.threshold, localizer.parts
        # Two images, as a graph that is recorded with one may keep that number.
        images = localizer.prepare_batch([torch.rand(3, *self.size, generator=_seeded())] * 2)
        layers = localizer._layers(images)
        self._run = FixedPass(self.model, images, layers, **localizer._reading())
        check_count("top", top, high=self._run(images).logits.shape[1])

    def forward(self, images: Tensor) -> GraphOutput:
        """Localize the most probable classes.

        Args:
            images: ``(B, 3, H, W)``, preprocessed, of the one size.

        Raises:
            TypeError: ``images`` is not a floating-point tensor.
            ValueError: ``images`` has another shape.

        """
        check_tensors(images=(images, "B 3 H W"))
        size = (images.shape[-2], images.shape[-1])
        if size != self.size:
            height, width = self.size
            got = tuple(images.shape)
            raise ValueError(f"images: expected shape (B, 3, {height}, {width}), got {got}")
        with torch.no_grad():
            seen = self._run(images)
            labels = seen.logits.topk(self.top).indices
            cam = gap_cam(seen.averaged, seen.weight, labels).to(images.dtype)
            features = [one.to(images.dtype) for one in seen.features]
            coarse = refined(self.refine, cam, features, images)
            scores = gathered(probabilities(working(seen.logits)), labels).to(coarse.dtype)
            objects = objects_of(coarse, self.size, self.threshold, self.parts)
            boxes = union_box(objects > 0)
            return GraphOutput(labels, scores, enlarge(coarse, self.size), boxes)


def input_size(localizer: Localizer, size: tuple[int, int] | None) -> tuple[int, int]:
    """Return the (height, width) of the images that a localizer's preprocessing makes, or raise."""
    given = None if size is None else check_size("size", size)
    if localizer.preprocess is None:
        if given is None:
            raise ValueError(
                "size: expected (height, width) of the images for a localizer without "
                "preprocessing, got None"
            )
        return given
    from PIL import Image

    height, width = localizer.prepare_image(Image.new("RGB", (64, 64), "gray")).shape[1:]
    if given not in (None, (height, width)):
        raise ValueError(f"size: expected {height, width} as the preprocessing makes, got {given}")
    return height, width


def _check_localizer(localizer: Localizer) -> None:
    """Raise unless the steps of a localizer can be recorded."""
    if type(localizer) is not Localizer:
        raise TypeError(f"localizer: expected a Localizer, got {kind_of(localizer)}")
    if localizer.needs_gradients:
        raise ValueError(
            f"method: expected one without gradients ({', '.join(EXPORTED)}, or a function of your "
            f"own) in an exported graph, got {localizer.method!r}"
        )
    if localizer.parts == "instances":
        raise ValueError("parts: expected 'largest' or 'all' in an exported graph, got 'instances'")


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)
