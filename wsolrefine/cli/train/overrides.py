"""The hyper-parameters of a recipe, as changed by ``--set``, ``--lr`` and ``--epochs``."""

from __future__ import annotations

import inspect
import math
import types
import typing
from collections.abc import Sequence
from typing import Any

from torch import nn

from wsolrefine.cli.console import similar_names, stop
from wsolrefine.recipes import Recipe

NOT_SET = {"self", "backbone", "channels", "num_classes"}
"""Parameters that follow from the backbone and the data."""


def hyper_parameters(
    recipe: type[Recipe], assignments: Sequence[str], lr: float | None, epochs: int | None
) -> dict[str, Any]:
    """Return the keywords of a recipe that the user set, or stop.

    Args:
        recipe: class of the recipe.
        assignments: ``name=value`` of each ``--set``.
        lr: learning rate, or None.
        epochs: total number of epochs, to which all phases are scaled, or None.

    """
    known = parameters(recipe)
    chosen: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = (part.strip() for part in assignment.partition("="))
        if not equals:
            stop(f"--set: expected name=value, got {assignment!r}")
        if name not in known:
            hint = similar_names(name, known) or f" (known: {', '.join(known)})"
            stop(f"--set: expected a hyper-parameter of {recipe.__name__}, got {name!r}{hint}")
        if name in chosen:
            stop(f"--set: expected {name} once, got it twice")
        try:
            chosen[name] = parse(text, known[name])
        except ValueError:
            stop(f"--set {name}: expected {describe(known[name])}, got {text!r}")
        if is_phase(name) and chosen[name] < 0:
            stop(f"--set {name}: expected an integer >= 0, got {text!r}")
    if lr is not None:
        if "learning_rate" in chosen:
            stop("--lr: expected either it or --set learning_rate, got both")
        chosen = {**learning_rates(recipe, lr), **chosen}
    phases = [name for name in known if is_phase(name)]
    if epochs is not None:
        both = [name for name in phases if name in chosen]
        if both:
            stop(f"--epochs: expected either it or --set {both[0]}, got both")
        chosen |= scale_phases(default_phases(recipe, phases), epochs)
    return chosen


def parameters(recipe: type[Recipe]) -> dict[str, Any]:
    """Return the names and types of a recipe's hyper-parameters: all keywords except modules."""
    hints = typing.get_type_hints(recipe.__init__)
    names = inspect.signature(recipe.__init__).parameters
    return {
        name: hints[name]
        for name in names
        if name not in NOT_SET and nn.Module not in (hints[name], *typing.get_args(hints[name]))
    }


def learning_rates(recipe: type[Recipe], lr: float) -> dict[str, float]:
    """Return the learning rate of new layers, and that of the backbone scaled with it."""
    defaults = inspect.signature(recipe.__init__).parameters
    scale = lr / defaults["learning_rate"].default
    backbone = defaults["backbone_learning_rate"].default * scale
    return {"learning_rate": lr, "backbone_learning_rate": backbone}


def is_phase(name: str) -> bool:
    """Tell whether a hyper-parameter is a number of epochs."""
    return name == "epochs" or name.endswith("_epochs")


def default_phases(recipe: type[Recipe], names: Sequence[str]) -> dict[str, int]:
    """Return the default number of epochs of each phase."""
    defaults = inspect.signature(recipe.__init__).parameters
    return {name: int(defaults[name].default) for name in names}


def scale_phases(phases: dict[str, int], epochs: int) -> dict[str, int]:
    """Scale phases to a total number of epochs, in proportion, with at least one epoch each.

    A warm-up (``warmup_epochs``) is part of another phase and does not count towards the total.

    Example:
        >>> scale_phases({"cam_epochs": 6, "segmentation_epochs": 12, "warmup_epochs": 3}, 4)
        {'cam_epochs': 1, 'segmentation_epochs': 3, 'warmup_epochs': 1}

    """
    counted = {name: n for name, n in phases.items() if "warmup" not in name and n > 0}
    if epochs < len(counted):
        stop(f"--epochs: expected at least {len(counted)}, one for each phase, got {epochs}")
    total = sum(counted.values())
    exact = {name: n * epochs / total for name, n in phases.items()}
    scaled = {name: max(1, math.floor(exact[name])) for name in counted}
    while (rest := epochs - sum(scaled.values())) != 0:  # change the phase with the largest error
        step = 1 if rest > 0 else -1
        candidates = [name for name in counted if scaled[name] + step >= 1]
        furthest = max(candidates, key=lambda name: step * (exact[name] - scaled[name]))
        scaled[furthest] += step
    return {name: scaled[name] if name in scaled else round(exact[name]) for name in phases}


def parse(text: str, kind: Any) -> Any:
    """Parse a value of a type: numbers, words, true and false, none, comma-separated lists.

    Raises:
        ValueError: the text is not a value of this type.

    Example:
        >>> parse("0.1, 0.5", tuple[float, float]), parse("no", bool), parse("none", int | None)
        ((0.1, 0.5), False, None)

    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        for value in arguments:
            if text == str(value):
                return value
        raise ValueError(text)
    if origin in (typing.Union, types.UnionType):
        if text.lower() == "none" and type(None) in arguments:
            return None
        return _parse_first(text, [kind for kind in arguments if kind is not type(None)])
    if origin is tuple or (isinstance(origin, type) and issubclass(origin, Sequence)):
        parts = [part.strip() for part in text.strip("()[]").split(",")]
        kinds = (
            arguments if origin is tuple and ... not in arguments else arguments[:1] * len(parts)
        )
        return tuple(parse(part, one) for part, one in zip(parts, kinds, strict=True))
    if kind is bool:
        return _BOOLEANS.get(text.lower()) if text.lower() in _BOOLEANS else _fail(text)
    if kind is str:
        return text
    if kind is float:
        number = float(text)
        return number if math.isfinite(number) else _fail(text)
    if kind is int:
        return int(text)
    return _fail(text)


_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _parse_first(text: str, kinds: Sequence[Any]) -> Any:
    """Parse a value of the first type that fits."""
    for kind in kinds[:-1]:
        try:
            return parse(text, kind)
        except ValueError:
            continue
    return parse(text, kinds[-1])


def _fail(text: str) -> Any:
    raise ValueError(text)


def describe(kind: Any) -> str:
    """Return the expected value of a type, for error messages.

    Example:
        >>> describe(int | None), describe(tuple[float, float]), describe(bool)
        ('an integer or none', 'number,number', 'true or false')
        >>> from collections.abc import Sequence
        >>> describe(Sequence[int])
        'comma-separated integers'

    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(describe, arguments))
    if arguments and origin is not tuple:
        return f"comma-separated {describe(arguments[0]).partition(' ')[2]}s"
    if arguments:
        return ",".join(describe(one).partition(" ")[2] for one in arguments if one is not ...)
    words = {int: "an integer", float: "a number", bool: "true or false", str: "a word"}
    return "none" if kind is type(None) else words.get(kind, str(kind))
