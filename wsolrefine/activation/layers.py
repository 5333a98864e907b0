"""Find the layers that a class activation map and its refinement need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wsolrefine._check import check_tensors, check_values
from wsolrefine._options import check_call, check_function, check_logits
from wsolrefine.activation.calling import Call
from wsolrefine.activation.gradient import last_with_gradient
from wsolrefine.activation.hooks import check_one_thread
from wsolrefine.activation.layout import reader
from wsolrefine.activation.modes import evaluation
from wsolrefine.activation.names import check_maps, check_names
from wsolrefine.activation.outputs import Logits
from wsolrefine.activation.probe import Probe
from wsolrefine.activation.stages import Stages
from wsolrefine.activation.state import unchanged
from wsolrefine.activation.stem import without_stem
from wsolrefine.activation.used import unused_layers


class Layers(NamedTuple):
    """Names of layers: those of the features, the one of the CAM, and the linear head or None.

    With a ``head`` the CAM comes from the map that the head averages, which is the output (or, for
    a pooling layer, the input) of ``cam``. Without one it is Grad-CAM at the output of ``cam``.
    """

    features: tuple[str, ...]
    cam: str
    head: str | None


def find_layers(
    model: nn.Module,
    images: Tensor,
    *,
    layers: Sequence[str] | None = None,
    to_map: Callable[[Tensor], Tensor] | None = None,
    logits: Logits | None = None,
    call: Call | None = None,
) -> Layers:
    """Find the layers of a classifier to take features and a CAM from, and check each of them.

    The model runs in evaluation mode on noise with the images' height, width and dtype, so that the
    result depends on these alone. Its modes, buffers and attributes are left as they were. If it
    raises on noise, as models do that assert values in [0, 1], the noise gets the range of the
    images' values. It runs on 20 images: two of noise, and the first with one of 4x4 parts, or the
    pixels at the top or left edge, changed at a time. They go through a few at a time, or one by
    one if the model takes no more; a pass with autograd finds what the logits are computed from,
    and Grad-CAM takes two or more besides. The statistics of every layer take their time too: call
    it once for each size.

    A layer counts only if its output is a map of the image: it has the image's aspect and at least
    two channels, differs between images, has no border that does not, depends on the pixels at the
    top and the left edge, and changes where the image changes, for at least 14 of the 16 parts.
    (The largest change lies in the part or half a cell beside it, as cells of strided convolutions
    do. On fewer than 4 cells a side the change has to move with the part.) So tables of position
    offsets, tokens out of order, pooled vectors, attention matrices and padded grids are passed
    over, and all layers of a model that crops the image. Layers that the logits are not computed
    from, as those of a decoder beside the classifier, do not count either. (Where a part of the
    model does not run with autograd, all layers of this part count.)

    - ``head``: the linear layer or 1x1 convolution that returns the logits, if its input is the
      mean over the grid of some layer's output (or of that output's ReLU, or of some layer's
      input). This is found by comparing values. ``cam`` is then the last such layer.
    - Otherwise ``head`` is None, for Grad-CAM. If the logits are the mean of a layer's output,
      ``cam`` is that layer, and its Grad-CAM is the map of the class. If not, ``cam`` is the
      outermost layer on the last grid of which the logits use the tensor that is captured; if they
      do not depend on it, as on the final patch tokens of a class-token transformer, it is the
      first layer after the last block on which they do (the normalization before the last
      attention).
    - ``features``: the outermost layer that runs last on the third-smallest grid, and the same on
      the second-smallest (28x28 and 14x14 for an image of 224 and a network that ends in 7x7), in
      the order in which they run. With two grids, only the latter; with one, as in a plain
      transformer, the outermost layer that runs last on it. Grids of a stem do not count: there, at
      most three convolutions run, and on a later grid 16 times as many.

    Args:
        model: a classifier that maps images (B, C, H, W) to logits (B, num_classes).
        images: ``(B, C, H, W)``, in the spatial size of all later calls.
        layers: names of the layers to take features from, which are checked as all others are;
            None finds them.
        to_map: rearranges any layer's output to ``(B, C, h, w)``; a layer for which it raises is
            passed over. By default the grid and the number of prefix tokens (up to 16) are inferred
            from the shape, as are channels that come last, as in Swin. This is ambiguous only where
            the grid is as wide as there are channels: then channels are taken to come first, and
            the layer is passed over if they do not.
        logits: how to read the model's output: a key or attribute, an index, or a function of it.
            None: what is called ``logits``; else the only tensor that can be logits; else the one
            that the model's ``num_classes`` or its linear head tells apart. Of several that come
            from linear layers, none does, but for auxiliary heads on an earlier, finer grid.
        call: how the model is called, ``(model, images) -> output``; None: ``model(images)``, or by
            keyword if ``forward`` takes images by its only keyword.

    Returns:
        ``Layers(features, cam, head)``.

    Raises:
        TypeError: ``images`` is not a floating-point tensor, or an argument is of another kind.
        ValueError: ``images`` is not ``(B, C, H, W)``, the model raises on all noise, its weights
            or logits hold NaN or infinity, one of ``layers`` is no layer or no map of the image, no
            layer or only untrained (zero) weights lead to the logits, several outputs can be
            logits, or Grad-CAM needs weights that were made under ``inference_mode``.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.AdaptiveAvgPool2d(1),
        ...                       nn.Flatten(), nn.Linear(8, 10))
        >>> find_layers(model, torch.rand(1, 3, 32, 32))
        Layers(features=('0',), cam='0', head='3')

    Reference:
        Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, Sec. 2.

    """
    check_tensors(images=(images, "B C H W"))
    check_values(images=images)
    with torch.inference_mode(False), evaluation(model), unchanged(model):
        if layers is not None:
            layers = check_names(model, layers)
        probe, stages, used = _probed(model, images, to_map, logits, call)
        if layers is not None:
            check_maps(probe, layers)
        cam, head = probe.averaged() or (last_with_gradient(probe, stages), None)
        names = layers or _feature_layers(probe.model, stages, used)
    return Layers(tuple(names), cam, head)


def find_stages(
    model: nn.Module,
    images: Tensor,
    *,
    to_map: Callable[[Tensor], Tensor] | None = None,
    logits: Logits | None = None,
    call: Call | None = None,
) -> tuple[str, ...]:
    """Find the last layer of each stage of a classifier, and check each of them.

    A stage is everything that runs on one grid; its last layer is the outermost one that runs last
    on it. The first layers of a block that leads to a coarser grid belong to the next stage. Stages
    may be maps or tokens, and the steps of a stem are stages too. How layers are checked, and how
    often the model runs, is said at :func:`wsolrefine.find_layers`; it is left as it was.

    Args:
        model: a classifier that maps images (B, C, H, W) to logits (B, num_classes).
        images: ``(B, C, H, W)``; only shape, dtype and device matter.
        to_map: rearranges a layer's output, see :func:`wsolrefine.find_layers`.
        logits: how to read the model's output, see :func:`wsolrefine.find_layers`.
        call: how the model is called, see :func:`wsolrefine.find_layers`.

    Returns:
        Names for :class:`wsolrefine.nn.FeatureList` or :func:`wsolrefine.capture`, from the finest
        grid to the coarsest.

    Raises:
        TypeError: ``images`` is not a floating-point tensor.
        ValueError: ``images`` is not ``(B, C, H, W)``, the model raises on all noise or does not
            return logits, its weights or logits hold NaN or infinity, or no layer is a map of the
            image.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1),
        ...                       nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
        >>> find_stages(model, torch.rand(1, 3, 32, 32))
        ('1', '2')

    """
    check_tensors(images=(images, "B C H W"))
    check_values(images=images)
    with torch.inference_mode(False), evaluation(model), unchanged(model):
        _, stages, _ = _probed(model, images, to_map, logits, call)
    return tuple(stages.end(size).name for size in reversed(stages.sizes))


def _probed(
    model: nn.Module,
    images: Tensor,
    to_map: Callable[[Tensor], Tensor] | None,
    logits: Logits | None,
    call: Call | None,
) -> tuple[Probe, Stages, list[str]]:
    """Return the probe, and the stages and all layers in running order that the logits use."""
    check_function("to_map", to_map)
    check_logits(logits)
    check_call(call)
    check_one_thread(model.modules())
    read = reader((images.shape[-2], images.shape[-1]), to_map)
    probe = Probe(model, images, read, logits=logits, call=call)
    unused = unused_layers(probe)
    stages = Stages(
        model,
        [one for name, one in probe.outputs.items() if name not in unused],
        {name: grid for name, grid in probe.grids.items() if name not in unused},
    )
    if not stages.sizes:
        raise ValueError(
            "model: expected a layer whose output is a map of the image, got none of "
            f"{_tried(probe)}"
        )
    return probe, stages, [name for name in probe.ran if name not in unused]


def _tried(probe: Probe) -> str:
    """Return how many layers are no map of the image for which reason, with an example of each."""
    examples: dict[str, list[str]] = {}
    for name, (why, shape) in probe.faults.items():
        shown = ", ".join(["B", *map(str, shape[1:])])
        examples.setdefault(why.partition(" (")[0], []).append(f"{name!r} ({shown})")
    listed = [f"{len(names)} {why}, such as {names[0]}" for why, names in examples.items()]
    return (
        f"{len(probe.faults)} layers: {'; '.join(listed)}" if listed else "no layers in this thread"
    )


def _feature_layers(model: nn.Module, stages: Stages, used: list[str]) -> list[str]:
    """Return the last layers of the two stages before the last, or of those that exist.

    Two stages together locate better than either alone: ``python -m benchmarks.quality --search``.
    """
    ends = [stages.end(size).name for size in stages.sizes]
    ends = without_stem(model, ends, used)
    return ends[2:0:-1] or ends
