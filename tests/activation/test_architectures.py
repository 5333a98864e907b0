"""The layers of many architectures: those of the table in docs/layers.md, where their library installs."""

import re
from pathlib import Path

import pytest
import torch

from tests.support.architectures import BUILDERS, build, can_build
from wsolrefine import capture, class_activation, find_layers
from wsolrefine.activation.layers import Layers
from wsolrefine.activation.layout import lay_out

PAGE = Path(__file__).parents[2] / "docs/layers.md"


def table():
    """Return the layers of each architecture by its name, as the page has them."""
    section = PAGE.read_text("utf-8").split("## Architectures, checked\n")[1].split("\n## ")[0]
    found = {}
    for line in section.splitlines():
        if re.match(r"\| `\w+:", line):
            name, _, features, cam, head = (cell.strip() for cell in line.strip("|").split("|"))
            names = tuple(feature.strip("`") for feature in features.split(", "))
            found[name.strip("`")] = Layers(
                names, cam.strip("`"), None if head == "None" else head.strip("`")
            )
    return found


def test_the_page_has_every_architecture():
    assert list(table()) == list(BUILDERS)
    assert len(BUILDERS) >= 40


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.filterwarnings("ignore")
def test_layers_of_architectures(name):
    if not can_build(name):
        pytest.skip(f"{name.split(':')[0]} is not installed")
    model, size = build(name)
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(3))
    layers = find_layers(model, images)
    assert layers == table()[name]
    out = class_activation(model, images, layers=layers)
    assert out.cam.isfinite().all()
    for features in out.features:
        assert abs(features.shape[2] * size[1] - features.shape[3] * size[0]) < max(size)
    check_local(model, images, layers.features[-1], size)


def check_local(model, images, name, size):
    """Brighten one corner of the image after the other: the map changes most near that corner."""
    height, width = size[0] // 2, size[1] // 2
    maps = []
    for corner in (None, (0, 0), (0, 1), (1, 0), (1, 1)):
        changed = images.clone()
        if corner is not None:
            i, j = corner
            changed[..., i * height : (i + 1) * height, j * width : (j + 1) * width] += 3
        with torch.no_grad(), capture(model, name) as outputs:
            model(changed)
        maps.append(lay_out(outputs[name], size).clone())
    change = torch.stack([(one - maps[0]).double().square().sum(1)[0] for one in maps[1:]])
    change = change / change.sum(0).clamp_min(1e-300)  # of each cell, by which corner it changes
    rows, columns = change.shape[1:]
    for k, share in enumerate(change):
        top, left = k < 2, k % 2 == 0
        near = share[: rows // 2] if top else share[-(rows // 2) :]
        near = near[:, : columns // 2] if left else near[:, -(columns // 2) :]
        assert near.mean() > share.mean()
