"""From images to logits, class activation maps and features, in one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wsolrefine._check import check_tensors, check_values
from wsolrefine._options import check_call, check_count, check_function, check_logits, kind_of
from wsolrefine.activation.averaged import place_of_mean, readings
from wsolrefine.activation.calling import Call
from wsolrefine.activation.cams import gap_cam, grad_cam
from wsolrefine.activation.finer import finer_maps
from wsolrefine.activation.finite import check_weights, has_nan
from wsolrefine.activation.gradient import is_refused, refused
from wsolrefine.activation.hooks import submodule
from wsolrefine.activation.labels import (
    Labels,
    as_labels,
    choose_labels,
    gathered,
    zero_where_none,
)
from wsolrefine.activation.layers import Layers, find_layers
from wsolrefine.activation.layout import laid_out
from wsolrefine.activation.modes import evaluation
from wsolrefine.activation.outputs import Logits
from wsolrefine.activation.run import Run
from wsolrefine.functional._numeric import for_autograd


class ClassActivation(NamedTuple):
    """Logits, labels, CAMs and features of a batch, ready for :func:`wsolrefine.scg`.

    Attributes:
        logits: ``(B, num_classes)``.
        labels: class indices, int64, ``(B, K)``; -1 where an image has fewer.
        cam: in [0, 1], ``(B, K, h, w)``.
        features: of each layer, ``(B, C, h, w)``.
        layer_cams: in [0, 1], ``(B, K, h, w)``, of as many of the last layers of the features as
            were asked for.
        bagcams: in [0, 1], ``(B, K, h, w)``, likewise.

    """

    logits: Tensor
    labels: Tensor
    cam: Tensor
    features: list[Tensor]
    layer_cams: list[Tensor]
    bagcams: list[Tensor]


def class_activation(
    model: nn.Module,
    images: Tensor,
    *,
    labels: Labels | None = None,
    top: int = 1,
    layers: Layers | None = None,
    to_map: Callable[[Tensor], Tensor] | None = None,
    logits: Logits | None = None,
    call: Call | None = None,
    layer_cams: int = 0,
    bagcams: int = 0,
) -> ClassActivation:
    """Run a classifier once and return its logits, CAMs and features.

    The CAM is :func:`gap_cam` if the model averages a map before a linear head, otherwise
    :func:`grad_cam`. The model runs in evaluation mode and is left as it was: training mode,
    statistics, and the ``.grad`` and ``requires_grad`` of its parameters. This works under
    ``torch.no_grad()`` and with frozen weights: the graph that Grad-CAM needs starts at its layer.

    Args:
        model: a classifier, on the images' device.
        images: ``(B, C, H, W)``, preprocessed as the model expects.
        labels: classes to map: class indices, int64, ``(B,)`` or ``(B, K)``; or one class for all
            images; None takes the ``top`` best ones. Images may have different numbers of classes:
            a list of indices for each image, ``[[3, 7], [5], []]``; ``(B, K)`` with -1 where an
            image has fewer; or multi-hot, ``(B, num_classes)`` of bool or of floating point 0 and
            1. A ``(B, K)`` tensor of integers holds indices, never multi-hot labels.
        top: number of classes per image when ``labels`` is None.
        layers: which layers to use; None calls :func:`find_layers`, which runs the model on some
            20 images of noise. For many batches of one size, call it once yourself.
        to_map: rearranges a layer's output to ``(B, C, h, w)``, both for features and for the CAM;
            None infers the layout from the shape, see :func:`find_layers`.
        logits: how to read the model's output, see :func:`find_layers`. If it returns several
            tensors that can be logits, this spares it a second run that tells which.
        call: how the model is called, see :func:`find_layers`.
        layer_cams: at how many of the last layers of the features to take a
            :func:`wsolrefine.layer_cam`.
        bagcams: at how many of them to take :func:`wsolrefine.bagcams`. With any of either, there
            is one more backward pass for each of the K classes, down to the first of these layers.

    Returns:
        ``ClassActivation(logits, labels, cam, features, layer_cams, bagcams)``: logits
        ``(B, num_classes)``; labels ``(B, K)``, -1 where an image has fewer classes than another,
        and maps are zero there; cam ``(B, K, h, w)`` in [0, 1], features, a list of
        ``(B, C, h, w)``, layer_cams and bagcams, lists of ``(B, K, h, w)`` in [0, 1], in the dtype
        of the images. No output has a graph. An image whose activations hold NaN or inf gives zero
        CAMs and leaves the others untouched. A LayerCAM or BagCAM is zero where the score does not
        depend on the layer, as on the final patch tokens of a class-token transformer.

    Raises:
        TypeError: ``images`` is not a floating-point tensor, ``labels`` are of another dtype,
            ``layer_cams`` or ``bagcams`` is no integer, or ``logits`` or ``call`` is of another
            kind.
        ValueError: shapes or devices disagree, a label or ``top`` is out of range, both are given,
            ``layer_cams`` or ``bagcams`` is negative or above the number of layers of features, a
            layer is unknown, did not run or has no grid, the head does not read the mean of ``cam``
            or has only zero weights, weights hold NaN or infinity, several outputs can be logits,
            or Grad-CAM, a LayerCAM or BagCAM needs weights that were made under ``inference_mode``
            or a score that has no gradient.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.AdaptiveAvgPool2d(1),
        ...                       nn.Flatten(), nn.Linear(8, 10))
        >>> out = class_activation(model, torch.rand(2, 3, 32, 32), top=3)
        >>> out.labels.shape, out.cam.shape, out.features[0].shape
        (torch.Size([2, 3]), torch.Size([2, 3, 8, 8]), torch.Size([2, 8, 8, 8]))

    Reference:
        Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016; Selvaraju
        et al., "Grad-CAM", ICCV 2017; Jiang et al., "LayerCAM", IEEE Transactions on Image
        Processing 2021; Zhu et al., "Bagging Regional Classification Activation Maps", ECCV 2022.

    """
    check_tensors(images=(images, "B C H W"))
    check_values(images=images)
    as_labels(labels, images)  # raises before any work
    check_function("to_map", to_map)
    check_logits(logits)
    check_call(call)
    finer = {
        name: check_count(name, count, low=0)
        for name, count in (("layer_cams", layer_cams), ("bagcams", bagcams))
    }
    if layers is None:
        layers = find_layers(model, images, to_map=to_map, logits=logits, call=call)
    layers = _checked_layers(layers)
    size = (images.shape[-2], images.shape[-1])

    def read(name: str, tensor: Tensor) -> Tensor:
        return laid_out(name, tensor, size, to_map)

    with torch.inference_mode(False), evaluation(model):
        differentiated = _last(layers.features, finer)
        run = Run(model, images, layers, logits, call, differentiated)
        if has_nan(run.logits):  # if only of an image, it gets a zero CAM
            check_weights(model)
        chosen = for_autograd(choose_labels(run.logits.detach(), labels, top))
        scores = gathered(run.logits, chosen)
        if layers.head is None:
            cam = grad_cam(run.cam, scores, to_map=partial(read, layers.cam))
        else:
            weight = head_weight(model, layers.head)
            maps = _averaged(run, layers, to_map, size)
            cam = gap_cam(maps, weight.to(maps), chosen.clamp_min(0))
        features = [
            read(name, tensor).to(images.dtype)
            for name, tensor in zip(layers.features, run.features, strict=True)
        ]
        try:
            found = finer_maps(
                [run.graph[name] for name in differentiated],
                scores,
                [partial(read, name) for name in differentiated],
                **finer,
            )
        except RuntimeError as error:
            if not is_refused(error):
                raise
            raise refused(differentiated[0], error) from error
        cam = zero_where_none(cam.to(images.dtype), chosen)
        finer_cams = [
            [zero_where_none(one.to(images.dtype), chosen) for one in some] for some in found
        ]
    return ClassActivation(run.logits.detach(), chosen, cam, features, *finer_cams)


def _last(features: Sequence[str], counts: Mapping[str, int]) -> Sequence[str]:
    """Return as many of the last layers as any kind of maps needs."""
    number = len(features)
    for name, count in counts.items():
        if count > number:
            raise ValueError(
                f"{name}: expected at most {number} as there are layers of features, got {count}"
            )
    return features[number - max(counts.values()) :]


def _checked_layers(layers: Any) -> Layers:
    if not isinstance(layers, tuple) or len(layers) != len(Layers._fields):
        got = kind_of(layers) if not isinstance(layers, tuple) else layers
        raise TypeError(f"layers: expected Layers(features, cam, head), got {got}")
    found = Layers(*layers)
    if isinstance(found.features, str) or not isinstance(found.features, Sequence):
        raise ValueError(f"layers: expected a tuple of features, got {found.features!r}")
    return found


def head_weight(model: nn.Module, name: str) -> Tensor:
    """Return the weight of the linear layer or 1x1 convolution of that name, or raise."""
    head = submodule(model, name)
    if not isinstance(head, (nn.Linear, nn.Conv2d)):
        kind = type(head).__name__
        raise ValueError(f"layers: expected a head of type Linear or Conv2d, got {kind} {name!r}")
    # The first row decides quickly for a trained head, which may have millions of weights.
    if not head.weight[:1].any() and not head.weight.any():
        raise ValueError(
            f"model: expected a trained head, got {name!r}, whose weights are all zero"
        )
    return head.weight.detach()


def _averaged(
    run: Run, layers: Layers, to_map: Callable[[Tensor], Tensor] | None, size: tuple[int, int]
) -> Tensor:
    """Return the map whose mean the head read: the CAM layer's output, its ReLU, or its input."""
    candidates = readings(run.cam, run.cam_input, to_map, size)
    at = place_of_mean(candidates, run.pooled)
    if at is None:
        raise ValueError(
            f"layers: expected a head that reads the mean of {layers.cam!r} over its grid "
            f"(head=None takes Grad-CAM), got {layers.head!r}"
        )
    return candidates[at].values()
