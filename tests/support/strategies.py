"""Hypothesis strategies: they draw sizes, kinds and a seed, then torch makes the values."""

from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

SEEDS = st.integers(0, 2**31 - 1)
# Never equal to a value that a drawn CAM can take, so that no comparison hangs on one rounding.
THRESHOLDS = st.integers(-10, 110).map(lambda percent: percent / 100 + 0.00137)
ORDERS = st.sets(st.integers(1, 4), min_size=1).map(lambda orders: tuple(sorted(orders)))
FLIPS = st.sampled_from(["rows", "columns", "transpose"])


class Scene(NamedTuple):
    """One drawn input: a CAM, the layers (first the largest grid), and what a function is handed."""

    cam: Tensor
    layers: list[Tensor]

    @property
    def features(self):
        return self.layers[0] if len(self.layers) == 1 else self.layers

    @property
    def grid(self):
        return tuple(self.layers[0].shape[-2:])

    def map(self, change):
        """The scene with ``change`` applied to the features of every layer."""
        return Scene(self.cam, [change(layer) for layer in self.layers])


def generator(seed):
    return torch.Generator().manual_seed(seed)


def flip(maps, how):
    """Mirror the last two axes top to bottom or left to right, or swap them."""
    return maps.mT if how == "transpose" else maps.flip(-2 if how == "rows" else -1)


def rotate(features, seed):
    """Turn the feature space by a random orthogonal matrix."""
    channels = features.shape[1]
    square = torch.randn(channels, channels, generator=generator(seed), dtype=features.dtype)
    return torch.einsum("dc,bchw->bdhw", torch.linalg.qr(square).Q, features)


@st.composite
def maps(draw, *, maximum=6, dtype=torch.float64, ranks=(2, 3, 4, 5)):
    """Maps (..., H, W) of any sign, any scale, sometimes constant or all zero."""
    lead = [draw(st.integers(1, 3)) for _ in range(draw(st.sampled_from(ranks)) - 2)]
    h, w = draw(st.integers(1, maximum)), draw(st.integers(1, maximum))
    values = torch.randn(*lead, h, w, generator=generator(draw(SEEDS)), dtype=dtype)
    kind = draw(st.sampled_from(["signed", "signed", "positive", "constant", "zero"]))
    if kind == "positive":
        return values.abs()
    if kind == "constant":
        return values[..., :1, :1].expand_as(values).clone()
    return values if kind == "signed" else torch.zeros_like(values)


@st.composite
def masks(draw, *, maximum=9, with_maps=True):
    """Boolean (B, H, W) or (B, K, H, W), from empty to full."""
    b, h, w = (draw(st.integers(1, n)) for n in (3, maximum, maximum))
    k = draw(st.sampled_from([(), (1,), (3,)])) if with_maps else ()
    density = draw(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.6, 0.8, 1.0]))
    return torch.rand(b, *k, h, w, generator=generator(draw(SEEDS))) < density


@st.composite
def scenes(draw, *, max_layers=3, with_maps=True, dtype=torch.float64):
    """A CAM and features: any grids, dead pixels, constant CAMs, more channels than pixels or fewer."""
    b, h, w = (draw(st.integers(1, n)) for n in (3, 6, 6))
    k = draw(st.sampled_from([(), (), (1,), (3,)])) if with_maps else ()
    g = generator(draw(SEEDS))
    dead = draw(st.sampled_from([0.0, 0.0, 0.3, 1.0]))
    grids = [(h, w)]
    smaller = st.tuples(st.integers(1, h), st.integers(1, w))
    grids += draw(st.lists(smaller, max_size=max_layers - 1))
    layers = []
    for rows, columns in grids:
        c = draw(st.sampled_from([1, 2, 3, 5, 40]))
        alive = torch.rand(b, 1, rows, columns, generator=g) >= dead
        layers.append(torch.randn(b, c, rows, columns, generator=g, dtype=dtype) * alive)
    other = draw(st.booleans())
    size = (draw(st.integers(1, 8)), draw(st.integers(1, 8))) if other else (h, w)
    size = (1, 1) if (1, 1) in grids else size  # a single cell is refused under a larger CAM
    cam = torch.rand(b, *k, *size, generator=g, dtype=dtype)
    if draw(st.integers(0, 5)) == 0:  # resizing keeps zero exactly, other constants up to rounding
        cam = torch.full_like(cam, 0.0 if other else draw(st.sampled_from([0.0, 0.25, 1.0])))
    return Scene(cam, layers)


def object_scene():
    """A CAM, features and mask: the CAM sees a corner of an object, the rest has other features."""
    features = 0.1 * torch.randn(1, 8, 12, 12, generator=generator(0))
    features[:, 1] += 1
    features[:, :2, 3:9, 3:9] += torch.tensor([1.0, -1.0]).view(1, 2, 1, 1)
    cam = torch.zeros(1, 12, 12)
    cam[:, 4:6, 4:6] = 1
    inside = torch.zeros(12, 12, dtype=torch.bool)
    inside[3:9, 3:9] = True
    return cam, features, inside
