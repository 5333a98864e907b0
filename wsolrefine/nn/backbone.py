"""Any network as a backbone: the outputs of named layers, as a list of feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wsolrefine._check import check_tensors
from wsolrefine._options import check_call, check_kind, check_logits
from wsolrefine.activation.calling import Call, call_model
from wsolrefine.activation.heads import Heads, classes_of
from wsolrefine.activation.hooks import Hook, hooked, output_tensor, submodule
from wsolrefine.activation.layout import laid_out
from wsolrefine.activation.modes import evaluation
from wsolrefine.activation.outputs import Logits, logits_of
from wsolrefine.activation.state import unchanged
from wsolrefine.functional._numeric import for_autograd


class FeatureList(nn.Module):
    """Return the outputs of a model's named layers as a list of maps.

    A first pass over one image, in evaluation mode, counts how often each layer runs; from then on
    the model stops as soon as all of them have run, and later layers cost nothing. A layer that
    runs several times gives its last output. Tokens and maps with channels last are rearranged to
    ``(B, C, h, w)``.

    Args:
        model: any module; it is not copied, so its weights are shared.
        layers: names from ``model.named_modules()``, by convention from shallow to deep:
            :func:`wsolrefine.find_stages` finds one for each grid.
        call: how the model is called, see :func:`wsolrefine.find_layers`.
        logits: how :meth:`with_logits` reads the model's output, see
            :func:`wsolrefine.find_layers`.

    Raises:
        TypeError: ``model`` is not a module, ``layers`` is not a list of names, ``call`` is not a
            function, ``logits`` is of another kind, or an output contains no tensor.
        ValueError: ``layers`` is empty or names a layer that does not exist, or (in ``forward``) a
            layer did not run or its output has no grid.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2),
        ...                       nn.Conv2d(4, 8, 3, padding=1), nn.Flatten(), nn.Linear(128, 10))
        >>> backbone = FeatureList(model, ["0", "2"])
        >>> [tuple(features.shape) for features in backbone(torch.rand(1, 3, 8, 8))]
        [(1, 4, 8, 8), (1, 8, 4, 4)]

    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str],
        *,
        call: Call | None = None,
        logits: Logits | None = None,
    ) -> None:
        super().__init__()
        check_kind("model", model, nn.Module, "an nn.Module")
        check_call(call)
        check_logits(logits)
        if isinstance(layers, str):
            raise TypeError(f"layers: expected a list of names, got the string {layers!r}")
        check_kind("layers", layers, (list, tuple), "a list of names")
        if not layers:
            raise ValueError(f"layers: expected at least one name, got {layers!r}")
        for name in layers:
            submodule(model, name)
        self.model = model
        self.layers = tuple(layers)
        self.call, self.logits = call, logits
        # How often each layer runs in one pass: counted in the first one, which changes no state.
        self._runs: dict[str, int] = {}

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return one map ``(B, C, h, w)`` for each layer, in the order of ``layers``."""
        images = self._prepared(images)
        return self._maps(self._run(images, self._runs, stop=True)[0], images)

    def with_logits(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the maps of ``forward`` and the class scores of the model, in one forward pass.

        Args:
            images: ``(B, 3, H, W)``.

        Returns:
            The maps, and class scores ``(B, num_classes)``; both are differentiable.

        Raises:
            ValueError: the output has no class scores, or several tensors that can be; or see
                ``forward``.

        """
        images = self._prepared(images)
        heads = Heads(self.model)
        outputs, _, output = self._run(images, self._runs, heads.hooks)
        logits = logits_of(output, len(images), self.logits, heads, classes_of(self.model))
        return self._maps(outputs, images), logits

    def _prepared(self, images: Tensor) -> Tensor:
        """Return images that the model may run on, and count the runs of its layers if needed."""
        check_tensors(images=(images, "B C H W"))
        if not self._runs:
            with torch.no_grad(), evaluation(self.model), unchanged(self.model):
                self._runs = self._run(images[:1].detach(), {})[1]
        return for_autograd(images)

    def _maps(self, outputs: dict[str, Tensor], images: Tensor) -> list[Tensor]:
        size = (images.shape[-2], images.shape[-1])
        return [_map(name, outputs, size) for name in self.layers]

    def _run(
        self,
        images: Tensor,
        runs: dict[str, int],
        hooks: Sequence[tuple[str, Hook]] = (),
        *,
        stop: bool = False,
    ) -> tuple[dict[str, Tensor], dict[str, int], Any]:
        """Return the layers' outputs, how often each ran, and the output of the model.

        Args:
            images: ``(B, C, H, W)``.
            runs: how often each layer runs. Then the layers' outputs are complete.
            hooks: names of more layers, with what is called after them.
            stop: whether the model stops then, and returns nothing.

        """
        outputs: dict[str, Tensor] = {}
        ran = dict.fromkeys(self.layers, 0)

        def keep(name: str) -> Hook:
            def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
                outputs[name] = output_tensor(name, output)
                ran[name] += 1
                if ran == runs and stop:
                    raise _Done(self)
                if ran == runs:  # as they are now: an in-place operation may follow
                    outputs.update({key: value.clone() for key, value in outputs.items()})

            return hook

        output = None
        try:
            with hooked(self.model, [*((n, keep(n)) for n in set(self.layers)), *hooks]):
                output = call_model(self.model, images, self.call)
        except _Done as done:
            if done.args[0] is not self:  # an enclosing backbone has all its layers
                raise
        return outputs, ran, output


def stage_channels(backbone: nn.Module, images: Tensor) -> list[int]:
    """Return the number of channels of each map that a backbone returns.

    Args:
        backbone: maps images to a list of feature maps. It runs once, in evaluation mode, on one
            image of zeros.
        images: ``(B, C, H, W)``; only shape, dtype and device matter.

    Returns:
        One number for each map.

    Raises:
        TypeError: ``backbone`` is not a module, or ``images`` is not a floating-point tensor.
        ValueError: ``images`` is not ``(B, C, H, W)``, or the backbone returns something else.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3))
        >>> stage_channels(FeatureList(model, ["0", "1"]), torch.rand(1, 3, 8, 8))
        [4, 8]

    """
    check_kind("backbone", backbone, nn.Module, "an nn.Module")
    check_tensors(images=(images, "B C H W"))
    model = backbone.model if isinstance(backbone, FeatureList) else backbone
    with torch.no_grad(), evaluation(backbone), unchanged(model):
        maps = backbone(images.new_zeros(1, *images.shape[1:]))
    if not isinstance(maps, (list, tuple)) or not maps:
        raise ValueError(
            f"backbone: expected a list of maps from images, got {type(maps).__name__}"
        )
    for number, one in enumerate(maps):
        check_tensors(**{f"backbone output {number}": (one, "B C h w")})
    return [one.shape[1] for one in maps]


def _map(name: str, outputs: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
    if name not in outputs:
        raise ValueError(f"layers: expected a layer that the model runs, got {name!r}")
    return laid_out(name, outputs[name], size)


class _Done(Exception):  # noqa: N818 (not an error: it ends a forward pass)
    """All layers of the backbone that raised it have run."""
