"""Hypothesis strategies for arguments that a caller may really pass: odd values, layouts, kinds."""

import re

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from tests.support.strategies import SEEDS, generator

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
OTHERS = [torch.bool, torch.uint8, torch.int16, torch.int32, torch.int64, torch.complex64]

# Values of an option that mean nothing anywhere, or only by chance.
OPTIONS = [
    None, "text", "", b"bytes", (), (1,), [1.0, 2.0], {}, object(), float("nan"), float("inf"),
    -float("inf"), -1, 0, 1, 2, -0.5, 0.5, 1.5, True, 1 + 1j, np.float64(0.5), np.int64(3),
    np.array([1.0, 2.0]), torch.tensor(0.5), torch.tensor([1, 2]), 2**63, -(2**70), 1e308, range(3),
    slice(2), print,
]  # fmt: skip


def finite_values(shape, dtype, kind, seed):
    """Return finite numbers of a dtype, float16's largest power of ten being the fourth."""
    g, limits = generator(seed), torch.finfo(dtype)
    uniform = torch.rand(shape, generator=g, dtype=torch.float64)
    normal = torch.randn(shape, generator=g, dtype=torch.float64)
    smallest = limits.smallest_normal
    values = {
        "uniform": uniform,
        "normal": normal,
        "steps": (uniform * 4).floor() / 4,
        "binary": (uniform > 0.5).double(),
        "zero": torch.zeros_like(uniform),
        "negative zero": -torch.zeros_like(uniform),
        "constant": torch.full_like(uniform, 0.3),
        "nearly constant": 1 + uniform * limits.eps,
        "huge": normal.sign() * limits.max * (0.5 + uniform / 2.0001),
        "huge positive": limits.max * (0.5 + uniform / 2.0001),
        "denormal": uniform * smallest / 2,
        "tiny": normal * smallest,
        "mixed": normal.sign()
        * (uniform * (np.log(limits.max) - np.log(smallest))).exp()
        * smallest,
        "far": 1e4 + normal,
    }[kind]
    return values.clamp(-limits.max, limits.max).to(dtype)


KINDS = [
    "uniform", "normal", "steps", "binary", "zero", "negative zero", "constant", "nearly constant",
    "huge", "huge positive", "denormal", "tiny", "mixed", "far",
]  # fmt: skip


def in_unit_interval(values):
    """Return values scaled into [0, 1], exact ends kept."""
    return values.abs().clamp_max(1)


def laid_out(tensor, layout):
    """Return the same shape in another memory layout; expanded also repeats values."""
    if tensor.ndim == 0 or layout == "contiguous":
        return tensor
    if layout == "transposed":
        return tensor.transpose(0, -1).contiguous().transpose(0, -1)
    if layout == "strided":
        return torch.stack([tensor, tensor], -1)[..., 0]
    if layout == "offset":
        return torch.cat([tensor, tensor])[len(tensor) :]
    if layout == "expanded":
        return tensor[..., :1].expand(tensor.shape) if tensor.shape[-1] else tensor
    if layout == "one image":
        return tensor[:1].expand(tensor.shape) if len(tensor) else tensor
    if layout == "channels last" and tensor.ndim == 4:
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor


LAYOUTS = [
    "contiguous", "transposed", "strided", "offset", "expanded", "one image", "channels last",
]  # fmt: skip


@st.composite
def shapes(draw, pattern, sizes):
    """Draw a shape of a pattern like ``B [K] H W``; a letter has one size in all arguments."""
    shape = []
    for axis in pattern.split():
        if axis == "...":
            shape += draw(st.lists(st.integers(1, 3), max_size=2))
            continue
        letter = axis.strip("[]")
        if letter != axis and not draw(st.booleans()):
            continue
        if letter.isdigit():
            shape.append(int(letter))
            continue
        if letter not in sizes:
            empty = letter in ("B", "n", "m") and draw(st.integers(0, 9)) == 0
            most = 3 if letter in ("B", "K", "n", "m") else 7
            sizes[letter] = 0 if empty else draw(st.integers(1, most))
        shape.append(sizes[letter])
    return tuple(shape)


@st.composite
def tensors(draw, spec, sizes, dtype):
    """Draw a legal tensor, or list of tensors, of a spec such as ``unit: B H W``."""
    kind, _, pattern = spec.rpartition(":")
    pattern = pattern.strip()
    if kind == "layers":  # each with channels and a grid of its own
        several = draw(st.booleans())
        found = [
            draw(tensors(re.sub(r"\b([CHWhw])\b", rf"\g<1>{i}", pattern), sizes, dtype))
            for i in range(draw(st.integers(1, 3)) if several else 1)
        ]
        return found if several else found[0]
    if kind in ("list", "boxes"):
        count = sizes.setdefault("B", 2) if kind == "boxes" else draw(st.integers(1, 3))
        if kind == "boxes":
            return [draw(tensors("box: n 4", {}, torch.float32)) for _ in range(count)]
        return [
            draw(tensors(re.sub(r"\b([HWhw])\b", rf"\g<1>{i}", pattern), sizes, dtype))
            for i in range(count)
        ]
    shape = draw(shapes(pattern, sizes))
    seed = draw(SEEDS)
    if kind in ("mask", "label", "target", "count", "box"):
        uniform = torch.rand(shape, generator=generator(seed))
        density = draw(st.sampled_from([0.0, 0.2, 0.5, 1.0]))
        values = {
            "mask": uniform < density,
            "label": (uniform * sizes.get("K", 1)).long(),
            "target": torch.tensor([0, 1, 255], dtype=torch.uint8)[(uniform * 3).long()],
            "count": (uniform * 50).long(),
        }.get(kind)
        if values is None:
            corner = (uniform.reshape(-1, 2, 2) * 6).floor()
            values = torch.cat([corner[:, 0], corner[:, 0] + 1 + corner[:, 1]], 1).reshape(shape)
    else:
        values = finite_values(shape, dtype, draw(st.sampled_from(KINDS)), seed)
        values = in_unit_interval(values) if kind == "unit" else values
    values = laid_out(values, draw(st.sampled_from(LAYOUTS)))
    if values.is_floating_point() and kind != "box" and draw(st.integers(0, 4)) == 0:
        values.requires_grad_()
    return values


@st.composite
def anything(draw):
    """Draw what is no legal argument, unless by chance: any shape, any dtype, or no tensor."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(OPTIONS))
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=6)))
    dtype = draw(st.sampled_from(FLOATS + OTHERS))
    values = torch.randn(shape, generator=generator(draw(SEEDS))) * 3
    values = values.to(dtype) if dtype != torch.bool else values > 0
    form = draw(st.sampled_from(["plain", "plain", "plain", "meta", "sparse", "list", "numpy"]))
    if form == "meta":
        return values.to("meta")
    if form == "sparse" and values.ndim:
        return values.to_sparse()
    if form == "list":
        return [values, values]
    if form == "numpy" and dtype != torch.bfloat16:
        return values.numpy()
    return values


def with_bad_pixels(tensor, seed):
    """Return a copy in which some numbers are NaN or infinite."""
    uniform = torch.rand(tensor.shape, generator=generator(seed))
    bad = torch.tensor([float("nan"), float("inf"), -float("inf")], dtype=tensor.dtype)
    chosen = bad[(torch.rand(tensor.shape, generator=generator(seed + 1)) * 3).long()]
    return torch.where(uniform < 0.2, chosen, tensor.detach())


def leaves(value):
    """Return the tensors in an argument."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in leaves(item)]
    return []


def replaced(value, change):
    """Return an argument with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)(replaced(item, change) for item in value)
    return value
