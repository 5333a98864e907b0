"""Recipes: their settings, and the files of their weights."""

import inspect
from pathlib import Path

import numpy as np
import torch

from tests.support import wrong_values as kinds
from tests.support.calls.call import of
from tests.support.calls.datasets import HERE
from tests.support.small_recipes import SMALL
from tests.support.wrong_values import Kind
from wsolrefine import nn, recipes
from wsolrefine.recipes._settings import SETTINGS


def classifier():
    """Return a classifier of three stages, for a recipe that is loaded."""
    layers = [
        layer
        for channels in (3, 4, 4)
        for layer in (torch.nn.Conv2d(channels, 4, 3, 2, 1), torch.nn.ReLU())
    ]
    head = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2)
    return torch.nn.Sequential(*layers, *head)


LAYERS, CHANNELS = ("1", "3", "5"), (4, 4, 4)
BACKBONE = nn.FeatureList(classifier(), LAYERS)
SELF = f"{__name__}:classifier"
INTEGER = Kind(-1, -2, np.int64(-3), legal={"minus one"}, either={"zero", "two"})
EPOCHS = Kind(3, legal={"two", "a million"}, either={"zero"})
WIDTH = Kind(3, np.int64(3), legal={"two"})
WEIGHT = Kind(0.25, np.float32(0.25), legal={"zero", "a half", "two", "a million"})
POSITIVE = Kind(0.25, legal={"a half", "two", "a million"})
BELOW_ONE = Kind(0.25, legal={"a half"}, either={"zero"})
# What a setting may be, by its name: a name means the same in every recipe.
OF_SETTINGS = {
    **dict.fromkeys(("stage", "auxiliary_stage", "embedding_stage", "sem_stage"), INTEGER),
    "multiplies": INTEGER,
    **dict.fromkeys(
        ("scg_stages", "student_stages", "reads"), Kind((-2, -1), [-1], either={"tuple", "list"})
    ),
    "stages": Kind(1, 3, legal={"two"}),
    "edge_stages": Kind(1, 3, legal={"two"}),
    "layer": Kind(None, legal={"None"}, either={"text", "empty text"}),
    **{name: EPOCHS for name in SETTINGS if name.endswith("epochs")},
    "width": WIDTH,
    "inner_channels": WIDTH.or_none(),
    "edge_size": kinds.size,
    "dropout": BELOW_ONE,
    **{name: WEIGHT for name in SETTINGS if name.endswith("_weight")},
    **dict.fromkeys(("restriction_gap", "gamma", "delta", "weight_decay"), WEIGHT),
    **dict.fromkeys(("restriction_threshold", "entropy_mean"), kinds.fraction),
    "entropy_std": POSITIVE,
    **dict.fromkeys(("erasing_threshold", "erasing_drop"), kinds.fraction),
    "evaluate_at": kinds.choice("features", "pixels"),
    "fusion": kinds.choice("addition", "multiplication"),
    "student": kinds.choice("generator", "mff"),
    "teacher": kinds.choice("scg", "accurate").or_none(),
    "orders": Kind((2, 1), [1], legal={"tuple", "list"}),
    "num_seeds": Kind(3, legal={"two", "a million"}, either={"huge"}),
    # Each must also fit the other one.
    "foreground": Kind(0.9, 1, either={"zero", "a half"}),
    "background": Kind(0.1, 0, legal={"zero"}, either={"a half"}),
    **{name: BELOW_ONE for name in SETTINGS if name.endswith("threshold")},
    **dict.fromkeys(("restriction_threshold", "erasing_threshold"), kinds.fraction),
    "learning_rate": POSITIVE,
    "backbone_learning_rate": WEIGHT,
    "momentum": BELOW_ONE,
    "decay": Kind(0.25, 1, legal={"a half"}),
    "refinement_factor": POSITIVE,
}
MODULES = {
    **dict.fromkeys(
        ("embedding", "evaluator", "classifier"), Kind(None, torch.nn.ReLU(), legal={"None"})
    ),
    "head": Kind(None, torch.nn.Linear(4, 2), legal={"None"}),
}
NEEDED = {"Ornet": {"evaluate_at": "pixels"}}
"""What a recipe needs for any value of its other settings: ORNet's evaluator judges pixels."""


def kind_of(name):
    """Return what a setting may be: without an entry, true or false."""
    return MODULES.get(name) or OF_SETTINGS.get(name, kinds.flag)


def built(name):
    """Return the call of a recipe, small where its own settings are large."""
    make = getattr(recipes, name)
    settings = [key for key, one in inspect.signature(make).parameters.items() if one.kind == 3]
    return of(
        make,
        {"backbone": BACKBONE, "channels": CHANNELS, "num_classes": 2, **NEEDED.get(name, {})},
        {
            "channels": Kind((4, 4, 4), [4, 4, 4], np.array([4, 4, 4]), legal={"list"}),
            "num_classes": Kind(3, np.int64(3), legal={"two"}),
        }
        | {key: kind_of(key) for key in settings}
        | ({"threshold": BELOW_ONE.or_none()} if name == "Distill" else {}),
        channels="channels|stage|reads|stages|sem_stage|student_stages",
    )


METADATA = recipes.RecipeMetadata(SELF, LAYERS, CHANNELS, 2)
RECIPE = recipes.Spa(BACKBONE, CHANNELS, 2, **SMALL["Spa"])
FILE = HERE / "spa.safetensors"
recipes.save_recipe(FILE, RECIPE, METADATA)
CALLS = [
    *map(built, SMALL),
    of(
        recipes.save_recipe,
        {"path": HERE / "again.safetensors", "recipe": RECIPE, "metadata": METADATA},
        {"path": Kind(str(HERE / "y"), Path(HERE / "y"), either={"text"})},
    ),
    of(
        recipes.load_recipe,
        {"path": FILE, "backbone": SELF},
        {"path": Kind(str(FILE), either={"text"}), "backbone": Kind(SELF)},
    ),
    of(recipes.read_metadata, {"path": FILE}, {"path": Kind(str(FILE), either={"text"})}),
]
