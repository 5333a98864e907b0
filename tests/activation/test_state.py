"""Finding layers leaves a model as it was, also one that changes itself when it runs."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.support.zoo import seeded
from wsolrefine import class_activation, find_layers, find_stages
from wsolrefine.nn import FeatureList, stage_channels

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Stateful(nn.Module):
    """A classifier of averaged features that first changes itself, in evaluation mode too."""

    def __init__(self, change):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8), nn.ReLU())
        self.fc, self.change = nn.Linear(8, 4), change
        self.register_buffer("center", torch.zeros(8))
        self.register_buffer("cached", None)
        self.register_buffer("table", torch.ones(2))
        self.register_buffer("adjacency", torch.eye(3).to_sparse())
        self.plain, self.runs, self.last, self.seen = torch.ones(8), 0, None, {}

    def forward(self, x):
        features = self.body(x).mean((2, 3))
        self.change(self, features.detach())
        return self.fc(features - self.center)


CHANGES = {
    "in place": lambda m, f: m.center.mul_(0.9).add_(f.mean(0)),
    "through data": lambda m, f: m.center.data.add_(f.mean(0)),
    "anew": lambda m, f: setattr(m, "center", 0.9 * m.center + f.mean(0)),
    "of another shape": lambda m, f: setattr(m.table, "data", f.clone()),
    "plain tensor": lambda m, f: m.plain.add_(1),
    "counter": lambda m, f: setattr(m, "runs", m.runs + 1),
    "filled": lambda m, f: setattr(m, "cached", f),
    "kept": lambda m, f: setattr(m, "last", f),
    "new attribute": lambda m, f: setattr(m, "shape", f.shape),
    "new buffer": lambda m, f: m.register_buffer("mean", f.mean(0)),
    "other dict": lambda m, f: setattr(m, "seen", {len(f): f}),
    "batch statistics": lambda m, f: m.body[1].train(),
    "sparse": lambda m, f: m.adjacency.mul_(2),
}


def snapshot(model):
    """Return all that a module holds in itself, with the values that its tensors have now."""
    return [
        {name: (id(value), copy.deepcopy(value)) for name, value in table.items()}
        for module in model.modules()
        for table in (module._buffers, vars(module))
    ]


def same(one, other):
    assert [list(table) for table in one] == [list(table) for table in other]
    for before, after in zip(one, other, strict=True):
        for name in before:
            assert before[name][0] == after[name][0], name
            if isinstance(before[name][1], torch.Tensor):
                dense = (tables[name][1].to_dense() for tables in (before, after))
                assert_close(*dense, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize(
    "function",
    [
        find_layers,
        find_stages,
        lambda model, images: FeatureList(model, ["body.0"])(images),
        lambda model, images: stage_channels(FeatureList(model, ["body"]), images),
    ],
    ids=["find_layers", "find_stages", "FeatureList", "stage_channels"],
)
def test_what_a_model_changes_in_itself_is_put_back(function, change):
    model = seeded(Stateful, change).eval()
    before = snapshot(model)
    function(model, IMAGES)
    same(before, snapshot(model))


def test_it_is_put_back_after_an_error():
    def change(model, features):
        model.center.add_(1)
        raise RuntimeError("stop")

    model = seeded(Stateful, change).eval()
    before = snapshot(model)
    with pytest.raises(ValueError, match="stop"):
        find_layers(model, IMAGES)
    same(before, snapshot(model))


def test_a_run_on_the_own_images_updates_what_the_model_updates():
    model = seeded(Stateful, CHANGES["in place"]).eval()
    layers = find_layers(model, IMAGES)
    out = class_activation(model, IMAGES, layers=layers)
    alone = seeded(Stateful, CHANGES["in place"]).eval()
    assert_close(out.logits, alone(IMAGES).detach())
    assert_close(model.center, alone.center, rtol=0, atol=0)
    assert model.center.any()


@pytest.mark.parametrize("lazy", [True, False])
def test_layers_that_a_model_builds_when_it_first_runs_stay(lazy):
    def build(model, features):
        if model.last is None:
            model.last = nn.Linear(8, 4)
            model.last.requires_grad_(False)
        model.last(features)

    model = seeded(Stateful, (lambda m, f: None) if lazy else build).eval()
    if lazy:
        model.fc = nn.LazyLinear(4)
    assert find_layers(model, IMAGES).cam == "body"
    built = model.fc if lazy else model.last
    assert type(built) is nn.Linear
    weight = built.weight
    class_activation(model, IMAGES)
    assert (model.fc if lazy else model.last).weight is weight
    assert built.in_features == 8
