"""The hyper-parameters of a recipe by name: what ``--set``, ``--lr`` and ``--epochs`` change."""

from __future__ import annotations

import inspect
import math
import types
import typing
from collections.abc import Sequence
from typing import Any

from torch import nn

from wsolrefine.cli.console import stop
from wsolrefine.cli.train.options import close_to
from wsolrefine.recipes import Recipe

NOT_SET = {"self", "backbone", "channels", "num_classes"}
"""What follows from the backbone and the data."""


def hyper_parameters(
    recipe: type[Recipe], assignments: Sequence[str], lr: float | None, epochs: int | None
) -> dict[str, Any]:
    """Return the keywords of a recipe that the user asked for, or stop with the reason.

    Args:
        recipe: its class.
        assignments: ``name=value`` of each ``--set``.
        lr: learning rate, or None.
        epochs: how many altogether, or None; all phases are brought to it in proportion.

    """
    known = parameters(recipe)
    chosen: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = (part.strip() for part in assignment.partition("="))
        if not equals:
            stop(f"--set: expected name=value, got {assignment!r}")
        if name not in known:
            hint = close_to(name, [*known]) or f" (known: {', '.join(known)})"
            stop(f"--set: expected a hyper-parameter of {recipe.__name__}, got {name!r}{hint}")
        if name in chosen:
            stop(f"--set: expected {name} once, got it twice")
        try:
            chosen[name] = parse(text, known[name])
        except ValueError:
            stop(f"--set {name}: expected {spoken(known[name])}, got {text!r}")
        if is_phase(name) and chosen[name] < 0:
            stop(f"--set {name}: expected a whole number from 0, got {text!r}")
    if lr is not None:
        if "learning_rate" in chosen:
            stop("--lr: --set learning_rate says it already; give the one or the other")
        chosen = {**learning_rates(recipe, lr), **chosen}
    phases = [name for name in known if is_phase(name)]
    if epochs is not None:
        both = [name for name in phases if name in chosen]
        if both:
            stop(f"--epochs: --set {both[0]} says it already; give the one or the other")
        chosen |= in_proportion(default_phases(recipe, phases), epochs)
    return chosen


def parameters(recipe: type[Recipe]) -> dict[str, Any]:
    """Return the names and types of a recipe's hyper-parameters: its keywords but for networks."""
    hints = typing.get_type_hints(recipe.__init__)
    names = inspect.signature(recipe.__init__).parameters
    return {
        name: hints[name]
        for name in names
        if name not in NOT_SET and nn.Module not in (hints[name], *typing.get_args(hints[name]))
    }


def learning_rates(recipe: type[Recipe], lr: float) -> dict[str, float]:
    """Return the rate of new layers and, in the recipe's proportion to it, that of the backbone."""
    found = inspect.signature(recipe.__init__).parameters
    scale = lr / found["learning_rate"].default
    slow = found["backbone_learning_rate"].default * scale
    return {"learning_rate": lr, "backbone_learning_rate": slow}


def is_phase(name: str) -> bool:
    """Tell whether a hyper-parameter is a number of epochs."""
    return name == "epochs" or name.endswith("_epochs")


def default_phases(recipe: type[Recipe], names: Sequence[str]) -> dict[str, int]:
    """Return the epochs of each phase that a recipe has by default."""
    found = inspect.signature(recipe.__init__).parameters
    return {name: int(found[name].default) for name in names}


def in_proportion(phases: dict[str, int], epochs: int) -> dict[str, int]:
    """Bring phases to a number of epochs altogether, in proportion, none of them to nothing.

    A warm-up (``warmup_epochs``) is part of another phase and does not count towards the sum.

    Example:
        >>> in_proportion({"cam_epochs": 6, "segmentation_epochs": 12, "warmup_epochs": 3}, 4)
        {'cam_epochs': 1, 'segmentation_epochs': 3, 'warmup_epochs': 1}

    """
    parts = {name: n for name, n in phases.items() if "warmup" not in name and n > 0}
    if epochs < len(parts):
        stop(f"--epochs: expected at least {len(parts)}, one for each phase, got {epochs}")
    total = sum(parts.values())
    exact = {name: n * epochs / total for name, n in phases.items()}
    found = {name: max(1, math.floor(exact[name])) for name in parts}
    while (rest := epochs - sum(found.values())) != 0:  # the phase that is furthest off gets it
        step = 1 if rest > 0 else -1
        able = [name for name in parts if found[name] + step >= 1]
        furthest = max(able, key=lambda name: step * (exact[name] - found[name]))
        found[furthest] += step
    return {name: found[name] if name in found else round(exact[name]) for name in phases}


def parse(text: str, kind: Any) -> Any:
    """Read a value of a type: numbers, words, yes and no, none, and comma-separated tuples.

    Raises:
        ValueError: the text is no such value.

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
        return _first(text, [kind for kind in arguments if kind is not type(None)])
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


def _first(text: str, kinds: Sequence[Any]) -> Any:
    for kind in kinds[:-1]:
        try:
            return parse(text, kind)
        except ValueError:
            continue
    return parse(text, kinds[-1])


def _fail(text: str) -> Any:
    raise ValueError(text)


def spoken(kind: Any) -> str:
    """Say what a type expects.

    Example:
        >>> spoken(int | None), spoken(tuple[float, float]), spoken(bool)
        ('a whole number or none', 'a number,a number', 'true or false')
        >>> from collections.abc import Sequence
        >>> spoken(Sequence[int])
        'whole numbers with commas between'

    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(spoken, arguments))
    if arguments and origin is not tuple:
        return f"{spoken(arguments[0]).removeprefix('a ')}s with commas between"
    if arguments:
        return ",".join(spoken(one) for one in arguments if one is not ...)
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
    return "none" if kind is type(None) else words.get(kind, str(kind))
