"""The settings of the recipes: their kinds and ranges, checked before anything is built."""

import copy
import inspect
import json
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.backbones import Plain, one_thread  # noqa: F401
from tests.support.small_recipes import SMALL, fit, loader, small
from wsolrefine import recipes, scg
from wsolrefine.recipes._header import _options, check_options
from wsolrefine.recipes._recipe import not_finite
from wsolrefine.recipes._settings import SETTINGS, check_settings

every_recipe = pytest.mark.parametrize("name", SMALL)
MODULES = {"evaluator", "head", "embedding", "classifier"}
EDGES = [
    *(0, 1, 2, 10, 64, 65, 100, 1_000, 1_001, 4_095, 4_096, 4_097, 10_000, 65_536, 65_537),
    *(999_999, 10**6, 10**6 + 1, 2**31, 10**12, 0.5, 1e-30, 0.99, 1e30, 1e31, 1e300),
]
NEVER = {
    "an object": object(),
    "a function": print,
    "bytes": b"1",
    "a list of lists": [[1]],
}
WRONG = {
    "text": "x",
    "none": None,
    "nan": math.nan,
    "infinity": math.inf,
    "-infinity": -math.inf,
    "a huge number": 10**400,
    "a complex number": 1j,
    "-1": -1,
    "0": 0,
    "1": 1,
    "2": 2,
    "a half": 0.5,
    "true": True,
    "no numbers": (),
    "numbers": (1, 2),
    "a tensor": torch.tensor(0.5),
    "an array": np.ones((2, 2)),
    **NEVER,
}  # fmt: skip


def settings_of(name):
    parameters = inspect.signature(getattr(recipes, name)).parameters
    return [key for key, one in parameters.items() if one.kind is one.KEYWORD_ONLY]


@every_recipe
def test_every_setting_is_checked(name):
    assert set(settings_of(name)) - MODULES <= set(SETTINGS)


def test_there_is_no_check_of_a_setting_that_does_not_exist():
    assert set(SETTINGS) == {key for name in SMALL for key in settings_of(name)} - MODULES


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", WRONG)
def test_a_setting_is_plain_or_refused_with_its_name(setting, kind):
    try:
        found, refusal = check_settings({setting: WRONG[kind]})[setting], None
    except (TypeError, ValueError) as error:
        refusal = str(error)
    if refusal is not None:
        assert re.fullmatch(rf"{setting}: expected .+, got .+", refusal)
        return
    assert kind not in NEVER
    assert type(found) in (bool, int, float, str, tuple, type(None))
    assert not isinstance(found, float) or math.isfinite(found)


@pytest.mark.parametrize(
    ("name", "setting", "value", "message"),
    [
        ("Spa", "momentum", -1, "a number in [0, 1), got -1"),
        ("Spol", "momentum", 1, "a number in [0, 1), got 1"),
        ("Csoa", "weight_decay", -1, "a number in [0, 1e+30], got -1"),
        ("Spa", "learning_rate", 0, "a number in (0, 1e+30], got 0"),
        ("Ornet", "learning_rate", -1, "a number in (0, 1e+30], got -1"),
        ("SemEdges", "learning_rate", math.nan, "a number in (0, 1e+30], got nan"),
        ("Spol", "learning_rate", math.inf, "a number in (0, 1e+30], got inf"),
        ("Spol", "backbone_learning_rate", -0.1, "a number in [0, 1e+30], got -0.1"),
        ("Spa", "dropout", 1, "a number in [0, 1), got 1"),
        ("Spa", "threshold", 1.0, "a number in [0, 1), got 1.0"),
        ("Csoa", "decay", 0, "a number in (0, 1], got 0"),
        ("Csoa", "epochs", 0, "an integer from 1 to 1000000, got 0"),
        ("Spa", "warmup_epochs", -1, "an integer from 0 to 1000000, got -1"),
        ("Spa", "orders", (), "integers from 1 to 64, got ()"),
        ("Spa", "scg_stages", (), "integers from -1000 to 1000, got ()"),
        ("Ornet", "entropy_std", 0, "a number in (0, 1e+30], got 0"),
        ("Ornet", "erasing_drop", 1.5, "a number in [0, 1], got 1.5"),
        ("Ornet", "layer", 3, "a string, got int"),
        ("Ornet", "reads", (), "integers from -1000 to 1000, got ()"),
        ("Ornet", "inner_channels", 0, "an integer from 1 to 65536, got 0"),
        ("Ornet", "auxiliary_weight", -1, "a number in [0, 1e+30], got -1"),
        ("Ornet", "refinement_auxiliary_weight", -1, "a number in [0, 1e+30], got -1"),
        ("Ornet", "evaluate_at", "maps", "'features' or 'pixels', got 'maps'"),
        ("SemEdges", "map_threshold", 0, "a number in (0, 1), got 0"),
        ("Spa", "orders", (1, 65), "integers from 1 to 64, got (1, 65)"),
        ("SemEdges", "num_seeds", 0, "an integer from 1 to 1000000, got 0"),
        ("SemEdges", "edge_size", (8, 5000), "integers from 1 to 4096, got (8, 5000)"),
        ("Spol", "fusion", "sum", "'multiplication', 'addition' or 'concatenation', got 'sum'"),
        ("Spol", "attention", "no", "True or False, got str"),
        ("Spol", "width", 0, "an integer from 1 to 65536, got 0"),
        ("Spol", "foreground", 0.001, "at least background=0.1, got 0.001"),
        ("Distill", "student", "net", "'generator' or 'mff', got 'net'"),
        ("Distill", "student_stages", (), "integers from -1000 to 1000, got ()"),
        ("Distill", "train_head", 1, "True or False, got int"),
        ("Distill", "threshold", 1, "a number in [0, 1), got 1"),
        ("Distill", "epochs", None, "an integer from 1 to 1000000, got None"),
        ("Distill", "width", None, "an integer from 1 to 65536, got None"),
    ],
)
def test_a_setting_out_of_its_range(name, setting, value, message):
    with pytest.raises(
        (TypeError, ValueError), match=f"^{re.escape(f'{setting}: expected {message}')}$"
    ):
        small(name, **{setting: value})


@pytest.mark.parametrize(
    ("name", "phases"),
    [
        ("Ornet", ("evaluator_epochs", "head_epochs", "generator_epochs", "refinement_epochs")),
        ("SemEdges", ("classifier_epochs", "edge_epochs")),
        ("Spol", ("cam_epochs", "segmentation_epochs")),
    ],
)
def test_a_recipe_has_an_epoch_at_least(name, phases):
    message = re.escape(" + ".join(phases) + ": expected at least one epoch, got 0")
    with pytest.raises(ValueError, match=f"^{message}$"):
        small(name, **dict.fromkeys(phases, 0))


@every_recipe
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"num_classes": 1}, ValueError, "num_classes: expected an integer from 2 to 65536, got 1"),
        (
            {"num_classes": 2.0},
            TypeError,
            "num_classes: expected an integer from 2 to 65536, got float",
        ),
        ({"channels": []}, ValueError, "channels: expected integers >= 1, got []"),
        ({"channels": [4, 0]}, ValueError, "channels: expected integers >= 1, got [4, 0]"),
        ({"channels": 4}, TypeError, "channels: expected integers >= 1, got int"),
        ({"backbone": print}, TypeError, "backbone: expected an nn.Module, got builtin_function"),
    ],
)
def test_the_arguments_that_come_first(name, change, error, message):
    arguments = {"backbone": Plain(), "channels": [8, 12, 16, 24], "num_classes": 2} | change
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        getattr(recipes, name)(*arguments.values(), **SMALL[name])


def test_numbers_of_numpy_become_plain_ones():
    recipe = small(
        "Spa", dropout=np.float32(0.5), stage=np.int64(-2), orders=[1, 2], width=np.int8(8)
    )
    assert recipe.hparams["dropout"] == 0.5
    assert recipe.hparams["orders"] == (1, 2)
    assert {type(value) for value in recipe.hparams.values()} <= {bool, int, float, tuple}


# What is not finite -------------------------------------------------------------------------------

TERMS = {
    ("Spa", 0): ["cross_entropy"],
    ("Spa", 1): ["cross_entropy", "restricted_activation_loss"],
    ("Csoa", 0): ["cross_entropy", "auxiliary_cross_entropy", "confseg_loss", "coaug_loss"],
    ("Ornet", 0): ["head_cross_entropy"],
    ("Ornet", 1): ["cross_entropy", "auxiliary_cross_entropy"],
    ("Ornet", 2): ["cross_entropy", "entropy_loss", "area_loss", "auxiliary_cross_entropy"],
    ("SemEdges", 0): ["cross_entropy"],
    ("SemEdges", 1): ["hard_negative_suppression_loss"],
    ("Spol", 0): ["multiplicative_loss"],
    ("Spol", 1): ["masked_bce_loss"],
    ("Distill", 0): ["binary_cross_entropy", "cross_entropy"],
}


@pytest.mark.parametrize(("name", "epoch"), TERMS)
def test_the_terms_of_a_loss_have_names(name, epoch):
    recipe = small(name)
    images, labels = next(iter(loader()))
    recipe.prepare(epoch)
    loss = recipe.loss(images, labels, epoch=epoch)
    assert list(recipe._terms) == TERMS[name, epoch]
    torch.testing.assert_close(loss.detach(), sum(recipe._terms.values()))
    assert not any(term.requires_grad for term in recipe._terms.values())
    copy.deepcopy(recipe)


class Spoiling(nn.Module):
    """A backbone whose last map is multiplied, from a number of calls on."""

    def __init__(self, calls, factor):
        super().__init__()
        self.plain, self.calls, self.factor = Plain(), calls, factor

    def forward(self, images):
        maps = self.plain(images)
        if self.training:
            self.calls -= 1
        return maps if self.calls >= 0 else [one * self.factor for one in maps]


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_training_stops_at_the_first_loss_that_is_not_finite(factor):
    recipe = small("Csoa", Spoiling(3, factor), epochs=3)
    before = {}

    from lightning import Callback

    class Watch(Callback):
        def on_train_batch_end(self, trainer, module, *_):
            before.update({key: value.clone() for key, value in module.state_dict().items()})

    message = r"^csoa: expected a finite loss, got nan in epoch 2, step 2 \(cross_entropy\)$"
    with pytest.raises(FloatingPointError, match=message):
        fit(recipe, 3, callbacks=[Watch()])
    assert not_finite(before) is None
    weights = dict(recipe.named_parameters())
    assert all(torch.equal(weights[key], before[key]) for key in weights)


def test_the_term_that_is_not_finite_is_named(monkeypatch):
    monkeypatch.setattr("wsolrefine.recipes.ornet.area_loss", lambda maps: maps.mean() / 0)
    recipe = small("Ornet", head_epochs=0, generator_epochs=0)
    message = r"got inf in epoch 1, step 1 \(area_loss\)$"
    with pytest.raises(FloatingPointError, match=message):
        fit(recipe, 1)


def spoil_weight(recipe, optimizer):
    recipe.head[1].weight.data[0, 0, 0, 0] = math.inf


def spoil_statistics(recipe, optimizer):
    norm = next(one for one in recipe.modules() if isinstance(one, nn.BatchNorm2d))
    norm.running_var[0] = math.inf


def spoil_momentum(recipe, optimizer):
    parameter = recipe.head[1].weight
    optimizer.state[parameter]["momentum_buffer"][0] = math.nan


@pytest.mark.parametrize(
    ("spoil", "place"),
    [
        (spoil_weight, "inf in head.1.weight"),
        (spoil_statistics, "inf in backbone.stages.0.1.running_var"),
        (spoil_momentum, "nan in momentum_buffer of head.1.weight"),
    ],
)
def test_no_epoch_ends_with_weights_that_are_not_finite(spoil, place):
    """The loss of the last step may be finite all the same."""
    from lightning import Callback

    class Spoil(Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, number):
            if trainer.current_epoch == 1 and number == 1:
                spoil(module, trainer.optimizers[0])

    recipe = small("Spa", epochs=3)
    message = re.escape(f"spa: expected finite weights after epoch 2, got {place}")
    with pytest.raises(FloatingPointError, match=f"^{message}$"):
        fit(recipe, 3, callbacks=[Spoil()])


def test_a_mask_of_infinities_among_the_buffers_is_no_fault():
    recipe = small("Csoa", epochs=1)
    recipe.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    fit(recipe, 1)


def test_not_finite_names_the_first_value():
    tensors = {"a": torch.ones(2, dtype=torch.int64), "b": torch.tensor([1, math.nan, math.inf])}
    name, value = not_finite(tensors)
    assert name == "b"
    assert math.isnan(value)
    assert not_finite({"a": tensors["a"], "empty": torch.empty(0)}) is None


@every_recipe
def test_every_value_that_a_setting_takes_can_be_read_from_a_file(name):
    """Nothing is trained that ``load_recipe`` would refuse: both bounds are tried."""
    parameters = inspect.signature(getattr(recipes, name)).parameters
    numbers = [sign * number for number in EDGES for sign in (1, -1)]
    for setting in set(settings_of(name)) - MODULES:
        default, taken = parameters[setting].default, 0
        for number in numbers:
            for value in (number, (number,), (number, number)):
                try:
                    found = check_settings({setting: value})
                except (TypeError, ValueError):
                    continue
                stored = _options("hyper_parameters", json.loads(json.dumps(found)))
                check_options(stored, {setting: default})
                assert stored == found
                taken += 1
        assert taken or isinstance(default, bool | str | None)


@pytest.mark.parametrize("value", [(65,), (1, 5000), (70_000,), (0,), (64, 1), (1,)])
def test_orders_are_those_that_the_functions_take(value):
    def refused(call):
        try:
            call()
        except ValueError as error:
            return str(error).partition(",")[0]
        return None

    cam, features = torch.rand(1, 4, 4), torch.rand(1, 3, 4, 4)
    refused_by_function = refused(lambda: scg(cam, [features], orders=value))
    assert refused(lambda: check_settings({"orders": value})) == refused_by_function


@pytest.mark.parametrize(
    ("name", "extreme"),
    [
        *[("Spa", {"orders": (64,)}), ("Spa", {"foreground": 0, "background": 1})],
        *[("Spa", {"foreground": 1, "background": 0}), ("Spa", {"restriction_gap": 1e30})],
        *[("Spa", {"restriction_threshold": 0}), ("Spa", {"restriction_threshold": 1})],
        *[("SemEdges", {"num_seeds": 1}), ("SemEdges", {"num_seeds": 1_000_000})],
        *[("SemEdges", {"map_threshold": 1e-30}), ("SemEdges", {"negative_weight": 0})],
        *[("Ornet", {"erasing_threshold": 1, "erasing_drop": 1}), ("Ornet", {"entropy_std": 1e30})],
        *[("Ornet", {"auxiliary_weight": 1e30}), ("Ornet", {"inner_channels": 1})],
        *[("Ornet", {"entropy_mean": 0}), ("Ornet", {"entropy_mean": 1, "entropy_std": 1e-3})],
        *[("Csoa", {"gamma": 0, "delta": 0}), ("Csoa", {"gamma": 1e3, "delta": 1e3})],
        *[
            ("Spol", {"foreground": 1, "background": 1}),
            ("Spol", {"foreground": 0, "background": 0}),
        ],
    ],
)
def test_an_extreme_setting_that_is_taken_works(name, extreme):
    """The bounds of the functions that a recipe calls are not tighter than those of its settings."""
    recipe = small(name, **extreme)
    images, labels = next(iter(loader(4)))
    for epoch in range(recipe.epochs):
        recipe.prepare(epoch)
        recipe.loss(images, labels, epoch=epoch)
    assert recipe(images).maps.isfinite().all()
