"""The one table of methods by name: how each is called on a batch, and its own threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wsolrefine._options import kind_of
from wsolrefine.functional._colors import to_colors
from wsolrefine.functional._grid import resize
from wsolrefine.functional._numeric import working
from wsolrefine.functional.confseg import confseg
from wsolrefine.functional.conv_crf import coarse_to_fine, conv_crf
from wsolrefine.functional.gppl import gppl
from wsolrefine.functional.scg import scg
from wsolrefine.functional.sem import seeds_for_grid, sem
from wsolrefine.localization.compositions import accurate, balanced, fast

Refine = Callable[[Tensor, Sequence[Tensor], Tensor], Tensor]
"""CAM ``(B, K, h, w)`` in [0, 1], features, a list of ``(B, C, h, w)`` from fine to coarse, and the
images ``(B, 3, H, W)`` as the model gets them -> maps ``(B, K, h, w)`` in [0, 1] on any grid."""


class Method(NamedTuple):
    """A refinement, and what is done before and after it.

    Attributes:
        refine: the refinement.
        threshold: value above which a pixel of its maps belongs to the object.
        layer_cams: at how many of the last layers of the features LayerCAMs are taken; the mean of
            them and of the BagCAMs is added to the CAM, see
            :func:`wsolrefine.localization.start_map`. They take a backward pass for each class.
        bagcams: at how many of the last layers of the features BagCAMs are taken.
        again: whether the model sees the images a second time, see
            :func:`wsolrefine.localization.accurate`.

    """

    refine: Refine
    threshold: float
    layer_cams: int = 0
    bagcams: int = 0
    again: bool = False


def _cam(cam: Tensor, features: Sequence[Tensor], images: Tensor) -> Tensor:
    return cam


def _scg(cam: Tensor, features: Sequence[Tensor], images: Tensor) -> Tensor:
    """All layers together, as in the paper."""
    return scg(cam, features)


def _sem(cam: Tensor, features: Sequence[Tensor], images: Tensor) -> Tensor:
    """The last layer, as in the paper, with its share of seeds."""
    layer = features[-1]
    return sem(cam, layer, num_seeds=seeds_for_grid((layer.shape[-2], layer.shape[-1])))


def _gppl(cam: Tensor, features: Sequence[Tensor], images: Tensor) -> Tensor:
    return gppl(cam)


def _confseg(cam: Tensor, features: Sequence[Tensor], images: Tensor) -> Tensor:
    """Three levels: 1 foreground, 0 background, 0.5 undecided."""
    split = confseg(cam)
    return (split.foreground.to(cam.dtype) + (~split.background).to(cam.dtype)) / 2


def _conv_crf(cam: Tensor, features: Sequence[Tensor], images: Tensor) -> Tensor:
    """SCG, aligned with the edges of the image from coarse to fine; at the size of the image."""
    maps = resize(working(scg(cam, features)), (images.shape[-2], images.shape[-1]))
    colors = to_colors(working(images))
    return coarse_to_fine(maps, colors, threshold=CRF_THRESHOLD).to(cam.dtype)


CRF_THRESHOLD = 0.2
"""Where SCG's maps are undecided for the CRF: chosen on validation scenes and a part of the
tuning photographs with ``python -m benchmarks.quality --search``."""

METHODS: dict[str, Method] = {
    "fast": Method(fast, 0.4),
    "balanced": Method(balanced, 0.42, layer_cams=1),
    "accurate": Method(balanced, 0.48, layer_cams=1, bagcams=1, again=True),
    "scg": Method(_scg, 0.34),
    "sem": Method(_sem, 0.32),
    "gppl": Method(_gppl, 0.35),
    "confseg": Method(_confseg, 0.5),
    "conv_crf": Method(_conv_crf, 0.5),
    "cam": Method(_cam, 0.28),
}
"""Refinements by name. The thresholds give the most correct boxes (IoU 0.5, largest component) on
validation scenes and tuning photographs: ``python -m benchmarks.quality --thresholds``. That of
``balanced`` is the lowest within a point of the best, because photographs alone want a lower one.
That of ``conv_crf``, whose maps are almost binary, is where its two labels are equally probable."""

DEFAULT = "balanced"

CAM_ALONE = ("gppl", "confseg", "cam")
"""Methods that do not use features, so layers make no difference to them."""

OWN_THRESHOLD = 0.5
"""Of a refinement of the user's own, which has none in the table."""

_FUNCTIONS: dict[str, Callable[..., Any]] = {  # the public ones, which may take other arguments
    "fast": fast,
    "balanced": balanced,
    "accurate": accurate,
    "scg": scg,
    "sem": sem,
    "gppl": gppl,
    "confseg": confseg,
    "conv_crf": conv_crf,
}


def method_of(refine: str | Callable[..., Tensor]) -> tuple[str, Method]:
    """Return the name and the method of a refinement.

    That is a name of the table, the function of this library with such a name
    (:func:`wsolrefine.scg`), or a function of the user's own.

    Raises:
        TypeError: ``refine`` is neither text nor callable.
        ValueError: there is no method of that name.

    Example:
        >>> method_of("scg")[0], method_of(sem)[1].threshold
        ('scg', 0.32)

    """
    if isinstance(refine, str):
        if refine not in METHODS:
            raise ValueError(f"refine: expected one of {', '.join(METHODS)}, got {refine!r}")
        return refine, METHODS[refine]
    if not callable(refine):
        raise TypeError(f"refine: expected a name or a function, got {kind_of(refine)}")
    for name, function in _FUNCTIONS.items():
        if refine is function:  # a callable of the user's own may have no hash and no ==
            return name, METHODS[name]
    return getattr(refine, "__name__", type(refine).__name__), Method(refine, OWN_THRESHOLD)


@torch.no_grad()
def refined(
    refine: Callable[..., Tensor], cam: Tensor, features: Sequence[Tensor], images: Tensor
) -> Tensor:
    """Return the maps of a refinement, ``(B, K, h, w)`` on the images' device.

    Raises:
        TypeError: the refinement returned no floating-point tensor.
        ValueError: it returned another shape.

    """
    maps = refine(cam, features, images)
    batch, classes = cam.shape[:2]
    shape = tuple(maps.shape) if isinstance(maps, Tensor) else ()
    if len(shape) != 4 or shape[:2] != (batch, classes) or 0 in shape[2:]:
        expected = f"refine: expected maps of shape (B, K, h, w) with B={batch} and K={classes}"
        raise ValueError(f"{expected}, got {shape or type(maps).__name__}")
    if not maps.is_floating_point():
        raise TypeError(f"refine: expected maps of a floating-point dtype, got {maps.dtype}")
    return maps.detach().to(images.device)
