"""Checks of tensor arguments: kind, shape, dtype, device. Of values, only class indices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.masked import MaskedTensor
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from wsolrefine._layout import layout_error
from wsolrefine._options import kind_of


def check_tensors(**tensors: tuple[Tensor, str]) -> None:
    """Raise unless floating tensors match their axis patterns, with equal letters equal in size.

    A pattern names the axes; ``[K]`` may be absent, ``...`` stands for any number of leading axes,
    a number for that size. Only ``B``, ``n``, ``m`` and leading axes may be empty.

    Raises:
        TypeError: an argument is not a floating-point tensor, or dtypes differ.
        ValueError: a rank or a size differs from its pattern, or devices differ.

    Example:
        >>> import torch
        >>> cam, features = torch.rand(2, 7, 7), torch.rand(3, 8, 7, 7)
        >>> check_tensors(cam=(cam, "B [K] H W"), features=(features, "B C h w"))
        Traceback (most recent call last):
            ...
        ValueError: features: expected shape (B, C, h, w) with B=2 from cam, got (3, 8, 7, 7)

    """
    sizes: dict[str, tuple[int, str]] = {}
    lead: tuple[str, Tensor] | None = None
    for name, (tensor, pattern) in tensors.items():
        check_dense(name, tensor)
        if not tensor.is_floating_point():
            raise TypeError(f"{name}: expected a floating-point dtype, got {tensor.dtype}")
        _check_shape(name, tensor, pattern, sizes)
        owner, like = lead = lead or (name, tensor)
        if tensor.dtype != like.dtype:
            raise TypeError(f"{name}: expected {like.dtype} as {owner}, got {tensor.dtype}")
        if tensor.device != like.device:
            raise ValueError(f"{name}: expected {like.device} as {owner}, got {tensor.device}")


def check_boolean(**masks: tuple[Tensor, str]) -> None:
    """Raise unless boolean tensors match their axis patterns, with equal letters equal in size.

    Raises:
        TypeError: an argument is not a boolean tensor.
        ValueError: a rank or a size differs from its pattern.

    Example:
        >>> import torch
        >>> check_boolean(mask=(torch.rand(1, 2, 2), "B H W"))
        Traceback (most recent call last):
            ...
        TypeError: mask: expected dtype torch.bool, got torch.float32

    """
    sizes: dict[str, tuple[int, str]] = {}
    for name, (mask, pattern) in masks.items():
        check_dense(name, mask)
        if mask.dtype != torch.bool:
            raise TypeError(f"{name}: expected dtype torch.bool, got {mask.dtype}")
        _check_shape(name, mask, pattern, sizes)


def check_real(name: str, tensor: Tensor, pattern: str) -> None:
    """Raise unless a tensor of floating-point numbers or integers matches its axis pattern.

    Raises:
        TypeError: it is not a tensor, or is complex or boolean.
        ValueError: a rank or a size differs from the pattern.

    """
    check_dense(name, tensor)
    _check_shape(name, tensor, pattern, {})
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{name}: expected real numbers, got {tensor.dtype}")


def check_integer(name: str, tensor: Tensor, pattern: str) -> None:
    """Raise unless a tensor of integers matches its axis pattern.

    Raises:
        TypeError: it is not a tensor, or its dtype is not an integer one.
        ValueError: a rank or a size differs from the pattern.

    """
    check_dense(name, tensor)
    _check_shape(name, tensor, pattern, {})
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{name}: expected an integer dtype, got {tensor.dtype}")


def check_like(**tensors: Tensor) -> None:
    """Raise unless all tensors have the shape of the first.

    Example:
        >>> import torch
        >>> check_like(maps=torch.rand(2, 3), masks=torch.rand(2, 4))
        Traceback (most recent call last):
            ...
        ValueError: masks: expected shape (2, 3) as maps, got (2, 4)

    """
    lead = next(iter(tensors))
    for name, tensor in tensors.items():
        if tensor.shape != tensors[lead].shape:
            shape = tuple(tensors[lead].shape)
            raise ValueError(f"{name}: expected shape {shape} as {lead}, got {tuple(tensor.shape)}")


def check_labels(
    name: str, labels: Tensor, *, several: bool = False, classes: int | None = None, **like: Tensor
) -> None:
    """Raise unless ``labels`` holds int64 class indices for each image of a tensor.

    Args:
        name: name of the argument.
        labels: one index per image, ``(B,)``.
        several: whether ``(B, K)`` is allowed too.
        classes: number of classes, which the indices must be below. Reading values would wait for a
            GPU: there, and in compiled code, torch's own indexing fails instead.
        **like: the tensor whose first axis is the batch, by its name.

    Raises:
        TypeError: ``labels`` is not an int64 tensor.
        ValueError: shape or device differs, or an index is out of range.

    """
    ((source, tensor),) = like.items()
    check_dense(name, labels)
    if labels.dtype != torch.int64:
        raise TypeError(f"{name}: expected dtype torch.int64, got {labels.dtype}")
    shape = tuple(labels.shape)
    fits = len(shape) in ((1, 2) if several else (1,)) and 0 not in shape[1:]
    if not fits or shape[0] != tensor.shape[0]:
        forms = "(B,) or (B, K)" if several else "(B,)"
        expected = f"{name}: expected shape {forms} with B={tensor.shape[0]} from {source}"
        raise ValueError(f"{expected}, got {shape}")
    if labels.device != tensor.device:
        raise ValueError(f"{name}: expected {tensor.device} as {source}, got {labels.device}")
    if classes is None or labels.device.type != "cpu" or torch.compiler.is_compiling():
        return
    check_classes(name, labels, classes, f"0 to {classes - 1} as {source}")


def check_classes(name: str, labels: Tensor, classes: int, expected: str) -> None:
    """Raise unless all labels are class indices below ``classes``; on a GPU, wait for the values.

    Raises:
        ValueError: an index is out of range.

    """
    outside = labels[(labels < 0) | (labels >= classes)]
    if len(outside):
        raise ValueError(f"{name}: expected {expected}, got {outside[0].item()}")


def check_features(features: Tensor | Sequence[Tensor], *cam: Tensor) -> list[Tensor]:
    """Return the layers of ``features`` as a list, checked against each other and the CAM if given.

    Raises:
        TypeError: a layer is not a floating-point tensor, or dtypes differ.
        ValueError: a layer is not ``(B, C, h, w)``, its shape tells that it is laid out otherwise,
            batch sizes or devices differ, or there is no layer.

    Example:
        >>> import torch
        >>> check_features([])
        Traceback (most recent call last):
            ...
        ValueError: features: expected at least one tensor, got []

    """
    several = isinstance(features, (list, tuple))
    layers: list[Tensor] = list(features) if several else [features]  # type: ignore[list-item]
    if not layers:
        raise ValueError(f"features: expected at least one tensor, got {features!r}")
    named: dict[str, tuple[Tensor, str]] = {}
    if cam:
        named["cam"] = (cam[0], "B [K] H W")
    for i, layer in enumerate(layers):
        # Sizes with the same letter must agree; each layer has its own channels and grid.
        named[f"features[{i}]" if several else "features"] = (layer, f"B C{i} h{i} w{i}")
    check_tensors(**named)
    if cam:
        size = (cam[0].shape[-2], cam[0].shape[-1])
        for name, (layer, _) in named.items():
            _check_layout(name, layer, size)
    return layers


def _check_layout(name: str, features: Tensor, cam: tuple[int, int]) -> None:
    # A graph may leave sizes open, which comparisons would fix.
    if name == "cam" or torch.compiler.is_compiling():
        return
    if (found := layout_error(tuple(features.shape), cam)) is None:
        return
    raise ValueError(
        f"{name}: expected shape (B, C, h, w) with a grid of the same image as cam {cam}, "
        f"got {tuple(features.shape)}, which looks like {found}"
    )


def check_interpolation(name: str) -> None:
    """Raise unless PIL has a filter of that name."""
    known = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"interpolation: expected one of {', '.join(known)}, got {name!r}")


def check_values(**tensors: object) -> None:
    """Raise unless all are dense tensors that hold values, for code that reads them.

    Raises:
        TypeError: one is not a dense tensor.
        ValueError: one is on the meta device.

    Example:
        >>> import torch
        >>> check_values(mask=torch.ones(2, 2, device="meta"))
        Traceback (most recent call last):
            ...
        ValueError: mask: expected a tensor with values, got one on the meta device

    """
    for name, tensor in tensors.items():
        if check_dense(name, tensor).is_meta:
            raise ValueError(f"{name}: expected a tensor with values, got one on the meta device")


def check_dense(name: str, tensor: object) -> Tensor:
    """Return the tensor, or raise unless it is a dense one of a dtype that functions compute in.

    Raises:
        TypeError: it is no tensor, not dense, or of floats of 8 bits or less.

    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {kind_of(tensor)}")
    unusual = _unusual(tensor)
    if unusual:
        raise TypeError(f"{name}: expected a dense torch.Tensor, got {unusual}")
    if tensor.is_floating_point() and tensor.dtype not in _FLOATS:
        # Of 8 bits and less, whose rounding is as large as the differences that matter.
        raise TypeError(f"{name}: expected a dtype of 16 bits or more, got {tensor.dtype}")
    return tensor


def _unusual(tensor: Tensor) -> str:
    """Say what kind of tensor it is if no function here takes such; empty if it is a usual one."""
    if isinstance(tensor, (UninitializedParameter, UninitializedBuffer)):
        return "a parameter without a shape"
    if tensor.is_nested:
        return "a nested one"
    if tensor.is_quantized:
        return "a quantized one"
    if isinstance(tensor, MaskedTensor):
        return "a masked one"
    return "" if tensor.layout == torch.strided else f"one of layout {tensor.layout}"


def _check_shape(
    name: str, tensor: Tensor, pattern: str, sizes: dict[str, tuple[int, str]]
) -> None:
    shape = tuple(tensor.shape)
    full = pattern.split()
    without = [axis for axis in full if not axis.startswith("[")]
    optional = [axis.strip("[]") for axis in full]
    forms = [without] if len(without) == len(full) else [without, optional]
    shown = " or ".join(map(_shape_shown, forms))
    expected = f"{name}: expected shape {shown}"
    if full[0] == "...":
        axes, matches = full[1:], len(shape) >= len(full) - 1
        sized = shape[len(shape) - len(axes) :]
    else:
        axes = optional if len(shape) == len(optional) else without
        matches, sized = len(shape) == len(axes), shape
    if not matches:
        maps = len(shape) == 3 and [_shown(axis) for axis in full] == ["B", "C", "h", "w"]
        raise ValueError(f"{expected}, got {shape}{_three_axes(name) if maps else ''}")
    for axis, size in zip(axes, sized, strict=True):
        if axis.isdigit():
            if size != int(axis):
                raise ValueError(f"{expected}, got {shape}")
            continue
        if axis not in sizes:
            sizes[axis] = (size, name)
        bound, source = sizes[axis]
        if bound != size:
            raise ValueError(f"{expected} with {axis}={bound} from {source}, got {shape}")
        if size == 0 and axis not in _MAY_BE_EMPTY:
            raise ValueError(f"{expected} with {_shown(axis)} >= 1, got {shape}")


def _three_axes(name: str) -> str:
    """Say what features with three axes may be."""
    tokens = "tokens (B, N, C) become maps by tokens_to_map"
    return f"; {tokens}, maps (C, h, w) of one image a batch by {name}[None]"


def _shape_shown(axes: Sequence[str]) -> str:
    return f"({', '.join(map(_shown, axes))}{',' if len(axes) == 1 else ''})"


def _shown(axis: str) -> str:
    """Return the axis without the digits that tell the layers of a list apart."""
    return axis if axis.isdigit() else axis.rstrip("0123456789")


_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_MAY_BE_EMPTY = ("B", "n", "m")  # batches and lists of boxes
