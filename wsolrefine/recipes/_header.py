"""The header of a recipe's file: every value is checked before it is used."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from wsolrefine.models import Preprocess

MAX_SIDE = 4096
"""Largest side of images in pixels; the largest networks take about a fourth of it."""

MAX_COUNT = 1_000_000
"""Largest whole number in a header: classes, channels, epochs."""


def parse(header: Mapping[str, str], keys: Mapping[str, object]) -> dict[str, Any]:
    """Return the fields of a header.

    Args:
        header: the texts of a file.
        keys: names of the fields that must be there.

    Raises:
        ValueError: a field is missing, is no JSON, or has another kind of value.

    """
    fields: dict[str, Any] = {}
    for key in keys:
        if key not in header:
            raise ValueError(f"{key}: expected a value, got none")
        try:
            value = json.loads(header[key], parse_constant=_no_constant)
        except RecursionError:
            raise ValueError(f"{key}: expected a value, got one nested too deeply") from None
        except ValueError as error:
            raise ValueError(f"{type(error).__name__}: {error} ({key})") from None
        fields[key] = _FIELDS[key](key, value)
    layers, channels = fields["layers"], fields["channels"]
    if len(layers) != len(channels):
        raise ValueError(f"channels: expected {len(layers)} as layers, got {len(channels)}")
    names, number = fields["class_names"], fields["num_classes"]
    if names is not None and len(names) != number:
        raise ValueError(f"class_names: expected {number} as num_classes, got {len(names)}")
    return fields


def check_options(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raise unless hyper-parameters are those of a recipe and of the kinds of their defaults.

    Args:
        options: name to value.
        defaults: name to default. Of one with None the recipe knows the kind: a text, as ``layer``
            of ORNet, or a number, as ``threshold`` of distillation.

    Raises:
        ValueError: a name is unknown, or its value is of another kind.

    """
    for name, value in options.items():
        if name not in defaults:
            raise ValueError(f"hyper_parameters: expected those of the recipe, got {name!r}")
        _like(f"hyper_parameters: {name}", value, defaults[name])


def _like(name: str, value: Any, default: Any) -> None:
    if default is None:
        fits = value is None or isinstance(value, str) or _is_number(value)
    elif isinstance(default, bool):
        fits = isinstance(value, bool)
    elif isinstance(default, int):
        fits = _is_whole(value, -MAX_COUNT)
    elif isinstance(default, float):
        fits = _is_number(value)
    elif isinstance(default, str):
        fits = isinstance(value, str)
    else:  # orders, stages, a size
        fits = isinstance(value, tuple) and all(_is_whole(v, -MAX_SIDE, MAX_SIDE) for v in value)
    if not fits:
        raise _wrong(name, f"a value like {default!r}", value)


def _no_constant(name: str) -> None:
    raise ValueError(f"the number {name}")


def _wrong(name: str, expected: str, value: object) -> ValueError:
    shown = repr(value)
    return ValueError(f"{name}: expected {expected}, got {shown[:80]}{'...' * (len(shown) > 80)}")


def _is_whole(value: object, low: int = 0, high: int = MAX_COUNT) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and abs(value) < math.inf


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise _wrong(name, "a name", value)
    return value


def _texts(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise _wrong(name, "a list of names", value)
    return tuple(_text(name, item) for item in value)


def _names(name: str, value: object) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong(name, "a list of names or null", value)
    return list(value)


def _count(name: str, value: object) -> int:
    if not _is_whole(value, 1):
        raise _wrong(name, f"a whole number from 1 to {MAX_COUNT}", value)
    assert isinstance(value, int)
    return value


def _counts(name: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not value:
        raise _wrong(name, "a list of whole numbers", value)
    return tuple(_count(name, item) for item in value)


def _threshold(name: str, value: object) -> float:
    if not _is_number(value) or not 0 <= value < 1:  # type: ignore[operator]
        raise _wrong(name, "a number in [0, 1)", value)
    return float(value)  # type: ignore[arg-type]


def _options(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(name, "names and values", value)
    return {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}


def _versions(name: str, value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise _wrong(name, "names and versions", value)
    return dict(value)


def _preprocess(name: str, value: object) -> Preprocess | None:
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != set(Preprocess.__annotations__):
        raise _wrong(name, "size, mean, std and interpolation, or null", value)
    for key, number in (("size", 2), ("mean", 3), ("std", 3)):
        values = value[key]
        if not isinstance(values, list) or len(values) != number:
            raise _wrong(f"{name}: {key}", f"{number} numbers", values)
    if not all(_is_whole(side, 1, MAX_SIDE) for side in value["size"]):
        raise _wrong(f"{name}: size", f"whole numbers from 1 to {MAX_SIDE}", value["size"])
    if not all(map(_is_number, value["mean"])):
        raise _wrong(f"{name}: mean", "3 numbers", value["mean"])
    if not all(_is_number(part) and part > 0 for part in value["std"]):
        raise _wrong(f"{name}: std", "3 numbers above 0", value["std"])
    _text(f"{name}: interpolation", value["interpolation"])
    lists = {key: tuple(value[key]) for key in ("size", "mean", "std")}
    return Preprocess(**lists, interpolation=value["interpolation"])


_FIELDS: dict[str, Callable[[str, Any], Any]] = {
    "backbone": _text,
    "layers": _texts,
    "channels": _counts,
    "num_classes": _count,
    "class_names": _names,
    "preprocess": _preprocess,
    "recipe": _text,
    "hyper_parameters": _options,
    "threshold": _threshold,
    "versions": _versions,
}
