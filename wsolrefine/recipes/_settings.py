"""What each setting of a recipe may be, checked when the recipe is built.

A name means the same in every recipe, so one table serves all of them. What depends on the backbone
(the index of a stage) or on another setting is checked by the recipe itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, get_args

from wsolrefine._options import (
    check_choice,
    check_count,
    check_counts,
    check_flag,
    check_number,
    check_size,
    check_text,
)
from wsolrefine.functional._powers import HIGHEST_ORDER
from wsolrefine.localization.methods import METHODS
from wsolrefine.nn.mff import Fusion

Student = Literal["generator", "mff"]

MOST_EPOCHS = 1_000_000
MOST_CHANNELS = 65_536
MOST_PIXELS = 4_096
MOST_STAGES = 1_000
MOST_SEEDS = 1_000_000
LARGEST = 1e30
"""Limits, far above what is of use and far below what float32 and the memory of a machine hold."""


def check_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings among the arguments of a recipe, as plain values of Python.

    Raises:
        TypeError: a setting is of the wrong kind.
        ValueError: it is out of its range.

    Example:
        >>> check_settings({"self": None, "momentum": 0.5, "scg_stages": [-3, -2]})
        {'momentum': 0.5, 'scg_stages': (-3, -2)}
        >>> check_settings({"momentum": -1})
        Traceback (most recent call last):
            ...
        ValueError: momentum: expected a number in [0, 1), got -1

    """
    return {name: SETTINGS[name](name, value) for name, value in values.items() if name in SETTINGS}


def check_total(**epochs: int) -> int:
    """Return the sum of the epochs of all phases, or raise unless there is one at least.

    Example:
        >>> check_total(cam_epochs=0, segmentation_epochs=0)
        Traceback (most recent call last):
            ...
        ValueError: cam_epochs + segmentation_epochs: expected at least one epoch, got 0

    """
    total = sum(epochs.values())
    if total < 1:
        raise ValueError(f"{' + '.join(epochs)}: expected at least one epoch, got {total}")
    return total


def _indices(name: str, value: Any) -> tuple[int, ...]:
    return tuple(check_counts(name, value, low=-MOST_STAGES, high=MOST_STAGES))


def _orders(name: str, value: Any) -> tuple[int, ...]:
    return tuple(check_counts(name, value, high=HIGHEST_ORDER))


def _size(name: str, value: Any) -> tuple[int, int]:
    height, width = check_size(name, value)
    check_counts(name, (height, width), high=MOST_PIXELS)
    return height, width


def _text_or_none(name: str, value: Any) -> str | None:
    return None if value is None else check_text(name, value)


def _method_or_none(name: str, value: Any) -> str | None:
    return None if value is None else check_choice(name, value, [*METHODS])


def _channels_or_none(name: str, value: Any) -> int | None:
    return None if value is None else _channels(name, value)


_index = partial(check_count, low=-MOST_STAGES, high=MOST_STAGES)
_epochs = partial(check_count, low=0, high=MOST_EPOCHS)
_channels = partial(check_count, high=MOST_CHANNELS)
_weight = partial(check_number, low=0, high=LARGEST)
_positive = partial(check_number, above=0, high=LARGEST)
_fraction = partial(check_number, low=0, high=1)
_below_one = partial(check_number, low=0, below=1)

SETTINGS: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(("stage", "auxiliary_stage", "embedding_stage", "sem_stage"), _index),
    "multiplies": _index,
    **dict.fromkeys(("scg_stages", "student_stages", "reads"), _indices),
    "stages": partial(check_count, high=MOST_STAGES),
    "edge_stages": partial(check_count, high=MOST_STAGES),
    "layer": _text_or_none,
    "epochs": partial(check_count, high=MOST_EPOCHS),
    **dict.fromkeys(("warmup_epochs", "evaluator_epochs", "generator_epochs"), _epochs),
    **dict.fromkeys(("refinement_epochs", "classifier_epochs", "edge_epochs"), _epochs),
    **dict.fromkeys(("cam_epochs", "segmentation_epochs", "head_epochs"), _epochs),
    "width": _channels,
    "inner_channels": _channels_or_none,
    "edge_size": _size,
    "dropout": _below_one,
    "student": partial(check_choice, choices=get_args(Student)),
    "train_head": check_flag,
    # the teacher
    "teacher": _method_or_none,
    "use_labels": check_flag,
    # the losses
    **dict.fromkeys(("restriction_weight", "confseg_weight", "coaug_weight"), _weight),
    **dict.fromkeys(("entropy_weight", "area_weight", "negative_weight"), _weight),
    "auxiliary_weight": _weight,
    "refinement_auxiliary_weight": _weight,
    **dict.fromkeys(("restriction_gap", "gamma", "delta"), _weight),
    **dict.fromkeys(("restriction_threshold", "entropy_mean"), _fraction),
    "entropy_std": _positive,
    **dict.fromkeys(("erasing_threshold", "erasing_drop"), _fraction),
    **dict.fromkeys(("restriction_released", "confseg", "confseg_mean", "coaug"), check_flag),
    **dict.fromkeys(("weighted", "erasing", "suppression", "auxiliary", "distill"), check_flag),
    "train_backbone": check_flag,
    "evaluate_at": partial(check_choice, choices=("features", "pixels")),
    # the maps
    **dict.fromkeys(("refine", "attention", "gaussian"), check_flag),
    "with_cam": check_flag,
    "fusion": partial(check_choice, choices=get_args(Fusion)),
    "orders": _orders,
    "num_seeds": partial(check_count, high=MOST_SEEDS),
    **dict.fromkeys(("foreground", "background"), _fraction),
    **dict.fromkeys(("threshold", "map_threshold"), _below_one),
    **dict.fromkeys(("cam_threshold", "segmentation_threshold"), _below_one),
    # the optimizer
    "learning_rate": _positive,
    "backbone_learning_rate": _weight,
    "momentum": _below_one,
    "weight_decay": _weight,
    "decay": partial(check_number, above=0, high=1),
    "refinement_factor": _positive,
    "sgd": check_flag,
}
"""The check of each setting by its name: it returns the value, or raises."""
