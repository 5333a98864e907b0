"""Where values stop being finite: a map of NaN becomes zero, which looks like an empty one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from wsolrefine.localization.class_maps import ClassMaps
from wsolrefine.localization.localizer import Localizer


def not_finite(localizer: Localizer, images: Tensor, found: ClassMaps) -> list[str | None]:
    """Return for each image why its maps or scores are not what the model sees; None if they are.

    Only images with a constant map, or with scores that are not finite, run a second time, one by
    one, while the output of every module is checked.

    Args:
        localizer: a classifier with a method, or a recipe.
        images: ``(B, 3, H, W)``.
        found: its class scores and maps of these images.

    """
    maps = found.maps
    constant = (maps.amax((-2, -1)) == maps.amin((-2, -1))) & (found.labels >= 0)
    scored = found.logits.isfinite().all(1).tolist()
    suspect = constant.any(1) | ~maps.isfinite().all(-1).all(-1).all(-1)
    return [
        _reason(localizer, images[i : i + 1], "map" if scored[i] else "class scores")
        if bad or not scored[i]
        else None
        for i, bad in enumerate(suspect.tolist())
    ]


def _reason(localizer: Localizer, image: Tensor, what: str) -> str | None:
    modules = [(name, module) for name, module in localizer.named_modules() if name]
    found: list[str] = []

    def check(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            tensors = output if isinstance(output, list | tuple) else (output,)
            if not all(torch.isfinite(t).all() for t in tensors if isinstance(t, Tensor)):
                found.append(name)

        return hook

    with ExitStack() as hooks:
        for name, module in modules:
            hooks.callback(module.register_forward_hook(check(name)).remove)
        maps = localizer.class_maps(image).maps
    if found:
        return f"{what}: expected finite numbers, got NaN or infinity in the output of {found[0]}"
    if what != "map" or not maps.isfinite().all():
        return f"{what}: expected finite numbers, got NaN or infinity"
    return None
