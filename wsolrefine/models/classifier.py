"""A classifier with what is needed to use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from wsolrefine._options import (
    check_call,
    check_function,
    check_kind,
    check_logits,
    check_text,
    check_texts,
)

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Classifier:
    """A classifier in evaluation mode and what is needed to use it.

    Args:
        model: maps images ``(B, 3, H, W)`` to logits ``(B, num_classes)``.
        preprocess: turns a PIL image into ``(3, H, W)``. It should not crop: boxes are scaled back
            to the whole image.
        class_names: one for each logit, with synonyms after commas; None if unknown.
        name: shown in reports.
        logits: how to read the model's output, see :func:`wsolrefine.find_layers`.
        call: how the model is called, see :func:`wsolrefine.find_layers`.

    Raises:
        TypeError: a field is of another kind.

    """

    model: nn.Module
    preprocess: Callable[[Image], Tensor]
    class_names: list[str] | None
    name: str
    logits: str | int | Callable[[Any], Tensor] | None = None
    call: Callable[[nn.Module, Tensor], Any] | None = None

    def __post_init__(self) -> None:
        check_kind("model", self.model, nn.Module, "an nn.Module")
        check_function("preprocess", self.preprocess)
        if self.class_names is not None:
            check_texts("class_names", self.class_names)
        check_text("name", self.name)
        check_logits(self.logits)
        check_call(self.call)
