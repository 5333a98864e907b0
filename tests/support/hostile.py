"""Hypothesis strategies for arguments that a caller may really pass: odd values, layouts, kinds.

A legal tensor is drawn from a spec such as ``unit: B H W``: a kind (any finite number if none is
given) and a pattern of axes, in which a letter has one size in all arguments of a call.
"""

import math
import re
import warnings

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.masked import masked_tensor

from tests.support.strategies import SEEDS, generator

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
OTHERS = [
    torch.bool, *INTEGERS, torch.uint16, torch.uint32, torch.uint64, torch.complex64,
    torch.complex128, torch.float8_e4m3fn, torch.float8_e5m2,
]  # fmt: skip

# Values of an option that mean nothing anywhere, or only by chance.
OPTIONS = [
    None, "text", "", b"bytes", (), (1,), [1.0, 2.0], {}, object(), math.nan, math.inf, -math.inf,
    -1, 0, 1, 2, -0.5, 0.5, 1.5, True, 1 + 1j, np.float64(0.5), np.int64(3), np.array([1.0, 2.0]),
    torch.tensor(0.5), torch.tensor([1, 2]), 2**63, -(2**70), 10**400, 1e308, range(3), slice(2),
    print, [None], [[1]], set(), iter(()),
]  # fmt: skip

# Finite numbers, from uniform and normal ones and the limits of the dtype.
VALUES = {
    "uniform": lambda u, n, limits: u,
    "normal": lambda u, n, limits: n,
    "steps": lambda u, n, limits: (u * 4).floor() / 4,
    "binary": lambda u, n, limits: (u > 0.5).double(),
    "zero": lambda u, n, limits: 0 * u,
    "negative zero": lambda u, n, limits: -0.0 * u,
    "constant": lambda u, n, limits: torch.full_like(u, 0.3),
    "nearly constant": lambda u, n, limits: 1 + u * limits.eps,
    "far from zero": lambda u, n, limits: 1e4 + n,
    "huge": lambda u, n, limits: n.sign() * limits.max * (0.5 + u / 2),
    "huge and positive": lambda u, n, limits: limits.max * (0.5 + u / 2),
    "denormal": lambda u, n, limits: u * limits.smallest_normal / 2,
    "tiny": lambda u, n, limits: n * limits.smallest_normal,
    "of all sizes": lambda u, n, limits: (
        n.sign() * limits.smallest_normal * (u * math.log(limits.max / limits.tiny)).exp()
        if limits.bits < 64
        else n.sign() * (u * 1400 - 700).exp()
    ),
}
# A gradient is about as large as a result divided by what it is taken of, so that of the smallest
# numbers is beyond their dtype.
SMALLEST = ("denormal", "tiny", "of all sizes")


def finite(shape, dtype, values, seed):
    """Return finite numbers of a dtype."""
    g, limits = generator(seed), torch.finfo(dtype)
    uniform = torch.rand(shape, generator=g, dtype=torch.float64)
    normal = torch.randn(shape, generator=g, dtype=torch.float64)
    found = VALUES[values](uniform, normal, limits)
    return found.clamp(-limits.max, limits.max).to(dtype)


def corners(shape, seed):
    """Return boxes with x0 < x1 and y0 < y1."""
    drawn = (torch.rand(shape, generator=generator(seed)) * 6).floor()
    return torch.cat([drawn[..., :2], drawn[..., :2] + 1 + drawn[..., 2:]], -1)


def spread(tensor):
    """Return the same shape with one column repeated, without copies of it."""
    return tensor[..., :1].expand(tensor.shape) if tensor.shape[-1] else tensor


class Tagged(Tensor):
    """A subclass of Tensor, as of torchvision's images and masks."""


def inference(tensor):
    """Return a copy that takes no part in autograd."""
    with torch.inference_mode():
        return tensor.clone()


LAYOUTS = {
    "contiguous": lambda t: t,
    "transposed": lambda t: t.transpose(0, -1).contiguous().transpose(0, -1),
    "strided": lambda t: torch.stack([t, t], -1)[..., 0],
    "offset": lambda t: torch.cat([t, t])[len(t) :],
    "expanded": spread,
    "one image": lambda t: t[:1].expand(t.shape) if len(t) else t,
    "channels last": lambda t: (
        t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t
    ),
    "negated": lambda t: torch._neg_view(-t) if t.is_floating_point() else t,
    "flipped": lambda t: t.flip(-1),
    "of every other row": lambda t: torch.cat([t, t], -1)[..., ::2][..., : t.shape[-1]],
    "tagged": lambda t: t.as_subclass(Tagged),
    "inference": inference,
}


@st.composite
def shapes(draw, pattern, sizes):
    """Draw a shape of a pattern like ``B [K] H W``; ``sizes`` holds those drawn before."""
    shape = []
    for axis in pattern.split():
        letter = axis.strip("[]")
        if axis == "...":
            shape += draw(st.lists(st.integers(1, 3), max_size=2))
        elif letter.isdigit():
            shape.append(int(letter))
        elif letter == axis or draw(st.booleans()):
            if letter not in sizes:
                empty = letter in ("B", "n", "m") and draw(st.integers(0, 9)) == 0
                most = 3 if letter in ("B", "K", "n", "m") else 7
                sizes[letter] = 0 if empty else draw(st.integers(1, most))
            shape.append(sizes[letter])
    return tuple(shape)


@st.composite
def dense(draw, kind, pattern, sizes, dtype, values_of):
    """Draw one tensor."""
    shape, seed = draw(shapes(pattern, sizes)), draw(SEEDS)
    uniform = torch.rand(shape, generator=generator(seed))
    if kind == "mask":
        values = uniform < draw(st.sampled_from([0.0, 0.2, 0.5, 1.0]))
    elif kind == "label":
        values = (uniform * sizes.get("K", 1)).long()
    elif kind == "target":
        values = torch.tensor([0, 1, 255], dtype=torch.uint8)[(uniform * 3).long()]
    elif kind == "count":
        values = (uniform * draw(st.sampled_from([0, 50]))).long()
    elif kind == "picture":
        values = (uniform * 256).byte()
    elif kind == "corners":
        values = corners(shape, seed)
    else:
        values = finite(shape, dtype, draw(st.sampled_from(values_of)), seed)
        values = values.abs().clamp_max(1) if kind == "unit" else values
    values = LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](values)
    graph = values.is_floating_point() and kind != "corners" and not values.is_inference()
    return values.requires_grad_() if graph and draw(st.integers(0, 4)) == 0 else values


@st.composite
def tensors(draw, spec, sizes, dtype, values_of=tuple(VALUES)):
    """Draw a legal tensor, or a list of tensors, of a spec such as ``unit: B H W``."""
    kind, _, pattern = (part.strip() for part in spec.rpartition(":"))
    if kind == "boxes":  # a list with the boxes of each image
        images = range(sizes.setdefault("B", 2))
        return [draw(dense("corners", pattern, {}, dtype, values_of)) for _ in images]
    if kind in ("layers", "list"):  # each with channels and a grid of its own
        one = kind == "layers" and draw(st.booleans())
        patterns = [
            re.sub(r"\b([CHWhw])\b", rf"\g<1>{i}", pattern)
            for i in range(1 if one else draw(st.integers(1, 3)))
        ]
        several = [draw(dense("", each, sizes, dtype, values_of)) for each in patterns]
        return several[0] if one else several
    if kind == "stages":
        patterns = pattern.split("|")
        return [draw(dense("unit", each, sizes, dtype, values_of)) for each in patterns]
    return draw(dense(kind, pattern, sizes, dtype, values_of))


FORMS = {
    "plain": lambda t: t,
    "on meta": lambda t: t.to("meta"),
    "sparse": lambda t: t.to_sparse() if t.ndim else t,
    "sparse in rows": lambda t: t.float().to_sparse_csr() if t.ndim == 2 else t,
    "quantized": lambda t: torch.quantize_per_tensor(t.float(), 0.1, 0, torch.quint8),
    "nested": lambda t: torch.nested.as_nested_tensor([t, t]) if t.ndim else t,
    "jagged": lambda t: torch.nested.as_nested_tensor([t, t], layout=torch.jagged) if t.ndim else t,
    "masked": lambda t: masked_tensor(t.float(), t > 0),
    "without a shape": lambda t: torch.nn.UninitializedParameter(),
    "parameter": lambda t: torch.nn.Parameter(t.float()),
    "in a list": lambda t: [t, t],
    "in a dict": lambda t: {"x": t},
    "array": lambda t: t.numpy(),
    "numbers": lambda t: t.tolist(),
}


@st.composite
def anything(draw):
    """Draw what is no legal argument, unless by chance: any shape, dtype or form, or no tensor."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(OPTIONS))
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=6)))
    values = torch.randn(shape, generator=generator(draw(SEEDS))) * 3
    form = draw(st.sampled_from(list(FORMS)))
    if form == "plain":
        return values.to(draw(st.sampled_from(FLOATS + OTHERS)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that these kinds are young or old
        return FORMS[form](values)


CHANGES = {
    "empty": lambda t, axis: t.narrow(axis, 0, 0),
    "of one": lambda t, axis: t.narrow(axis, 0, 1) if t.shape[axis] else t,
    "twice as long": lambda t, axis: torch.cat([t, t], axis),
    "without an axis": lambda t, axis: t.select(axis, 0) if t.shape[axis] else t,
    "with an axis more": lambda t, axis: t.unsqueeze(axis),
    "turned": lambda t, axis: t.transpose(axis, -1),
}


@st.composite
def altered(draw, value):
    """Draw a legal argument with another shape, dtype or form, which may be legal too."""
    if isinstance(value, list):
        if not value or draw(st.booleans()):
            return value[1:] if draw(st.booleans()) else [*value, *value[:1]]
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], draw(altered(value[at])), *value[at + 1 :]]
    if not value.ndim or draw(st.booleans()):
        return value.detach().to(draw(st.sampled_from(FLOATS + OTHERS)))
    change = CHANGES[draw(st.sampled_from(list(CHANGES)))]
    return change(value.detach(), draw(st.integers(0, value.ndim - 1)))


def with_bad_numbers(tensor, seed):
    """Return a copy in which some numbers are NaN or infinite."""
    if not tensor.is_floating_point():
        return tensor
    uniform = torch.rand((2, *tensor.shape), generator=generator(seed))
    bad = torch.tensor([math.nan, math.inf, -math.inf], dtype=tensor.dtype)
    return torch.where(uniform[0] < 0.2, bad[(uniform[1] * 3).long()], tensor.detach())


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
    return [replaced(item, change) for item in value] if isinstance(value, list) else value
