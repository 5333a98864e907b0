"""A backbone with a linear head, and its features multiplied by a map, as in ORNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wsolrefine._options import check_kind
from wsolrefine.activation.hooks import hooked, output_tensor, submodule, with_tensor
from wsolrefine.activation.layout import laid_out
from wsolrefine.functional._grid import resize
from wsolrefine.nn import FeatureList


class PooledClassifier(nn.Module):
    """A classifier that averages the last feature map of a backbone."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: Tensor) -> Tensor:
        """Return class scores ``(B, num_classes)``."""
        return pooled_scores(self.head, self.backbone(images))


def pooled_scores(head: nn.Module, features: Sequence[Tensor]) -> Tensor:
    """Return the class scores of a head on the mean of the last feature map."""
    logits: Tensor = head(features[-1].mean((2, 3)))
    return logits


def masked_features(
    backbone: nn.Module, layer: str, images: Tensor, maps: Tensor
) -> Sequence[Tensor]:
    """Return the features of images, those at a layer multiplied by maps ``(B, h, w)``.

    The maps are resized to the layer's grid. Tokens before the first patch, such as a class token,
    are not on the grid and stay unchanged.
    """
    size = (images.shape[-2], images.shape[-1])

    def multiply(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        masked = output_tensor(layer, output).clone()  # modified through a view of another layout
        grid = laid_out(layer, masked, size)
        factor = resize(maps, (grid.shape[-2], grid.shape[-1]))[:, None]
        grid.mul_(factor.to(grid.dtype))
        return with_tensor(layer, output, masked)

    with hooked(backbone, [(layer, multiply)]):
        features: Sequence[Tensor] = backbone(images)
    return features


def layer_name(backbone: nn.Module, layer: str | None, index: int) -> str:
    """Return the name of the submodule that returns a feature map of the backbone.

    Args:
        backbone: images to a list of feature maps.
        layer: the name, or None if the backbone is a FeatureList, which knows it.
        index: which of the feature maps it is.

    Raises:
        ValueError: there is no such submodule, or no name.

    """
    if layer is None:
        if not isinstance(backbone, FeatureList):
            kind = type(backbone).__name__
            raise ValueError(f"layer: expected a name, because the backbone is a {kind}, got None")
        return f"model.{backbone.layers[index]}"
    try:
        submodule(backbone, layer)
    except ValueError as error:  # it speaks of its own argument
        expected = "layers: expected names", "layer: expected a name"
        raise ValueError(str(error).replace(*expected, 1)) from None
    return layer


def linear_head(inputs: int, outputs: int, given: nn.Module | None = None) -> nn.Linear:
    """Return a linear layer with a bias: a copy of the given one, or a new one.

    Raises:
        TypeError: the given one is no linear layer.
        ValueError: it has other sizes.

    """
    check_kind("head", given, (nn.Linear, type(None)), "an nn.Linear or None")
    head = nn.Linear(inputs, outputs)
    if isinstance(given, nn.Linear):
        if given.weight.shape != head.weight.shape:
            sizes = f"{given.in_features} and {given.out_features}"
            raise ValueError(f"head: expected {inputs} inputs and {outputs} outputs, got {sizes}")
        with torch.no_grad():
            head.weight.copy_(given.weight)
            head.bias.copy_(torch.zeros(outputs) if given.bias is None else given.bias)
    return head
