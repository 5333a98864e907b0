"""Find the layers that a class activation map and its refinement need."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wsolrefine._check import check_tensors
from wsolrefine.activation.hooks import capture, evaluation, logits_of
from wsolrefine.activation.layout import lay_out
from wsolrefine.activation.probe import Grid, Probe


class Layers(NamedTuple):
    """Names of layers: those of the features, the one of the CAM, and the linear head or None.

    With a ``head`` the CAM comes from the map that the head averages, which is the output (or, for
    a pooling layer, the input) of ``cam``. Without one it is Grad-CAM at the output of ``cam``.
    """

    features: tuple[str, ...]
    cam: str
    head: str | None


def find_layers(
    model: nn.Module, images: Tensor, *, to_map: Callable[[Tensor], Tensor] | None = None
) -> Layers:
    """Find the layers of a classifier to take features and a CAM from, by running it once.

    The model runs in evaluation mode on noise with the images' height, width and dtype, so that the
    result depends on these alone; it is left as it was.

    - ``head``: the linear layer or 1x1 convolution that returns the logits, if its input is the
      mean over the grid of some layer's output (or of that output's ReLU, or of some layer's
      input). This is found by comparing values. ``cam`` is then the last such layer.
    - Otherwise ``head`` is None, for Grad-CAM. If the logits are the mean of a layer's output,
      ``cam`` is that layer, and its Grad-CAM is the map of the class. If not, ``cam`` is the
      outermost layer on the last grid; if the logits do not depend on that layer, as on the final
      patch tokens of a class-token transformer, it is the last layer with the same grid and number
      of channels on which they do (the normalization before the last attention). This takes one
      backward pass.
    - ``features``: the outermost layer that runs last on the third-smallest grid, and the same on
      the second-smallest (28x28 and 14x14 for an image of 224 and a network that ends in 7x7), in
      the order in which they run. With two grids, only the latter; with one, as in a plain
      transformer, the outermost layer that runs last on it.

    Args:
        model: a classifier that maps images (B, C, H, W) to logits (B, num_classes).
        images: ``(B, C, H, W)``, in the spatial size of all later calls.
        to_map: rearranges tokens to ``(B, C, h, w)``. By default the grid and the number of prefix
            tokens (up to 16) are inferred from the shape, as are channels that come last, as in
            Swin: this is ambiguous only where the grid is as wide as there are channels.

    Returns:
        ``Layers(features, cam, head)``.

    Raises:
        TypeError: ``images`` is not a floating-point tensor.
        ValueError: ``images`` is not ``(B, C, H, W)``, the model does not return logits, or they
            depend on no layer with a grid.

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
    with torch.inference_mode(False), evaluation(model):
        read = _reader(images, to_map)
        noise = _noise_like(images)
        probe = Probe(model, noise, read)
        stages = _stages(probe, (images.shape[-2], images.shape[-1]))
        averaged = probe.averaged()
        cam, head = averaged or (_last_with_gradient(model, noise, stages, read), None)
    return Layers(tuple(grid.name for grid in _feature_layers(stages)), cam, head)


def find_stages(
    model: nn.Module, images: Tensor, *, to_map: Callable[[Tensor], Tensor] | None = None
) -> tuple[str, ...]:
    """Find the last layer of each stage of a classifier, by running it once.

    A stage is everything that runs on one grid; its last layer is the outermost one that runs last
    on it. The model runs in evaluation mode on noise and is left as it was.

    Args:
        model: a classifier that maps images (B, C, H, W) to logits (B, num_classes).
        images: ``(B, C, H, W)``; only shape, dtype and device matter.
        to_map: rearranges tokens, see :func:`wsolrefine.find_layers`.

    Returns:
        Names for :class:`wsolrefine.nn.FeatureList` or :func:`wsolrefine.capture`, from the finest
        grid to the coarsest.

    Raises:
        TypeError: ``images`` is not a floating-point tensor.
        ValueError: ``images`` is not ``(B, C, H, W)``, the model does not return logits, or no
            layer has a grid.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1),
        ...                       nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
        >>> find_stages(model, torch.rand(1, 3, 32, 32))
        ('1', '2')

    """
    check_tensors(images=(images, "B C H W"))
    with torch.inference_mode(False), evaluation(model):
        probe = Probe(model, _noise_like(images), _reader(images, to_map))
        stages = _stages(probe, (images.shape[-2], images.shape[-1]))
    sizes = sorted({grid.size for grid in stages if prod(grid.size) > 1}, key=prod)
    sizes = sizes or [stages[-1].size]
    return tuple(_outermost(stages, size).name for size in reversed(sizes))


def _noise_like(images: Tensor) -> Tensor:
    noise = torch.randn(1, *images.shape[1:], generator=torch.Generator().manual_seed(0))
    return noise.to(images.device, images.dtype)


def _reader(
    images: Tensor, to_map: Callable[[Tensor], Tensor] | None
) -> Callable[[Tensor], Tensor | None]:
    size = (images.shape[-2], images.shape[-1])

    def read(tensor: Tensor) -> Tensor | None:
        if to_map is None or tensor.ndim != 3:
            return lay_out(tensor, size)
        try:
            return to_map(tensor)
        except (TypeError, ValueError, IndexError, RuntimeError):
            return None  # not every tensor with three axes is a sequence of tokens

    return read


def _stages(probe: Probe, image_size: tuple[int, int]) -> list[Grid]:
    """Return the outputs that are maps of the image, in the layout and on grids of its stages."""
    height, width = image_size
    grids = [
        grid
        for grid in probe.outputs.values()
        # Tokens have already been arranged on a grid. Some of the other outputs look like a map but
        # are none: attention matrices go from token to token.
        if len(grid.shape) == 3
        or (
            abs(grid.size[0] * width - grid.size[1] * height) < max(height, width)
            and grid.size[0] <= height
            and probe.tokens.isdisjoint(grid.size)
        )
    ]
    # Padding creates grids of its own, on which no layer with weights has an output.
    sizes = {grid.size for grid in grids if grid.weighted}
    grids = [grid for grid in grids if grid.size in sizes]
    if not grids:
        raise ValueError("model: expected a layer whose output has a grid, got none")
    return [grid for grid in grids if len(grid.shape) == len(grids[-1].shape)]


def _feature_layers(stages: list[Grid]) -> list[Grid]:
    """Return the last layers of the two stages before the last, or of those that exist.

    Two stages together locate better than either alone: ``python -m benchmarks.quality --search``.
    """
    sizes = sorted({grid.size for grid in stages}, key=prod)
    return [_outermost(stages, size) for size in (sizes[2:0:-1] or sizes)]


def _outermost(stages: list[Grid], size: tuple[int, int]) -> Grid:
    """Return the outermost layer on a grid, the last one if there are several.

    The layers inside a block mix stages: an expansion convolution may still run on the finer grid
    of the stage before. The output of the block does not.
    """
    names = {grid.name for grid in stages}

    def depth(grid: Grid) -> int:
        # A list of modules without an output, like ``blocks`` of ``blocks.3``, does not count.
        parts = grid.name.split(".")
        return sum(".".join(parts[:end]) in names for end in range(1, len(parts)))

    return min((grid for grid in reversed(stages) if grid.size == size), key=depth)


def _last_with_gradient(
    model: nn.Module, images: Tensor, stages: list[Grid], read: Callable[[Tensor], Tensor | None]
) -> str:
    best = _outermost(stages, stages[-1].size)
    like = [g.name for g in reversed(stages) if (g.size, g.channels) == (best.size, best.channels)]
    with torch.enable_grad(), capture(model, *like) as outputs:
        score = logits_of(model(images.requires_grad_())).amax()
    names = [name for name in [best.name, *like] if outputs[name].requires_grad]
    if names and score.requires_grad:
        tensors = [outputs[name] for name in names]
        gradients = torch.autograd.grad(score, tensors, allow_unused=True)
        for name, gradient in zip(names, gradients, strict=True):
            maps = read(gradient) if gradient is not None else None
            if maps is not None and maps.any():
                return name
    raise ValueError("model: expected logits that depend on a layer with a grid, got none")
