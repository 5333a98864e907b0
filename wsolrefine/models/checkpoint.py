"""The weights in a checkpoint, read as data: no object in the file is built."""

from __future__ import annotations

import contextlib
import os
import re
from argparse import Namespace
from collections.abc import Mapping
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from wsolrefine._files import open_regular
from wsolrefine.models.packages import require

KEYS = (
    "state_dict_ema", "model_state_dict_ema", "model_ema", "ema_state_dict", "ema",
    "state_dict", "model_state_dict", "model", "net", "network", "weights", "params",
)  # fmt: skip
"""Where training code keeps weights, in the order of choice: averaged ones first, as in timm."""


def read_checkpoint(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Return the weights in a file of ``torch.save`` or safetensors, by their names in it.

    A file of ``torch.save`` may hold them under one of :data:`KEYS`, at any depth, or under the
    only other key that leads to weights.

    Args:
        path: the file; its content, not its name, tells which of both it is.

    Raises:
        ImportError: it is of safetensors, which is not installed.
        OSError: it cannot be read.
        ValueError: it is damaged, holds other objects than weights and plain values, or no weights.

    Example:
        >>> from tempfile import mkdtemp
        >>> file = f"{mkdtemp()}/best.pt"
        >>> torch.save({"epoch": 9, "state_dict": {"fc.bias": torch.zeros(2)}}, file)
        >>> read_checkpoint(file)
        {'fc.bias': tensor([0., 0.])}

    """
    shown = os.fspath(path)
    with open_regular(path) as file:
        is_safetensors = file.read(9)[8:] == b"{"  # after the length of its header
        file.seek(0)
        content = None if is_safetensors else _load(file, shown)
    if content is None:
        content = _load_safetensors(shown)
    found = find_weights(content)
    if found is None:
        got = f"the keys {', '.join(map(repr, [*content][:8]))}" if isinstance(
            content, Mapping
        ) else f"a {type(content).__name__}"  # fmt: skip
        raise ValueError(f"checkpoint: expected a state dict, got {got} in {shown}")
    return found


def find_weights(content: Any) -> dict[str, Tensor] | None:
    """Return the weights in nested mappings, or None if there are none.

    Example:
        >>> find_weights({"args": {"lr": 0.1}, "model": {"module": {"w": torch.ones(1)}}})
        {'w': tensor([1.])}

    """
    if not isinstance(content, Mapping):
        return None
    for key in KEYS:
        if (found := find_weights(content.get(key))) is not None:
            return found
    weights = {
        key: value
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    if 2 * len(weights) > len(content):  # a best accuracy may be a tensor, too
        return weights
    inner = [found for value in content.values() if (found := find_weights(value)) is not None]
    return inner[0] if len(inner) == 1 else None


def _load(file: Any, shown: str) -> Any:
    # The arguments of a training script, which timm keeps beside the weights, are plain values.
    allowed = getattr(torch.serialization, "safe_globals", None)  # since torch 2.5
    with contextlib.nullcontext() if allowed is None else allowed([Namespace]):
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a damaged file leads to
            reason = str(error)
    if found := re.search(r"GLOBAL (\S+)", reason):
        raise ValueError(
            f"checkpoint: expected weights and plain values only, got {found[1]} in {shown}, which "
            "is not loaded because building objects from a file can run code; save the weights "
            "alone with torch.save(model.state_dict(), FILE)"
        )
    reason = (reason.splitlines() or [""])[0].partition(". ")[0][:120]
    raise ValueError(
        f"checkpoint: expected a file of torch.save or safetensors, got {shown} ({reason})"
    )


def _load_safetensors(shown: str) -> dict[str, Tensor]:
    reader = require("safetensors.torch", "a checkpoint of safetensors", "safetensors")
    try:
        weights: dict[str, Tensor] = reader.load_file(shown)
    except OSError:
        raise
    except Exception as error:  # its own kind
        raise ValueError(
            f"checkpoint: expected a file of safetensors, got {shown} ({error})"
        ) from None
    return weights
