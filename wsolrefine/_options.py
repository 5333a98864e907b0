"""Checks of options: numbers, counts, flags, choices, sizes, texts.

Each check returns the option as a plain Python value, so that a NumPy scalar is as good as a
number. Tensors are refused, because reading one would wait for a GPU. Booleans are not numbers and
numbers are not flags: ``num_seeds=True`` is a mistake, not 1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")

# What sizes are while torch.export traces dynamic shapes.
_SYMBOLS: tuple[type, ...] = (torch.SymInt, torch.SymFloat)


def check_number(
    name: str,
    value: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    finite: bool = True,
) -> float:
    """Return a number, or raise unless it is within its bounds. NaN never is.

    Args:
        name: name of the option.
        value: an integer or a float, of Python or NumPy.
        low: the smallest number allowed.
        high: the largest number allowed.
        above: the number must be larger than this.
        below: the number must be smaller than this.
        finite: False allows infinity too.

    Raises:
        TypeError: it is not a number.
        ValueError: it is not within its bounds.

    Example:
        >>> check_number("drop", 1, low=0, high=1)
        1.0
        >>> check_number("drop", 1.5, low=0, high=1)
        Traceback (most recent call last):
            ...
        ValueError: drop: expected a number in [0, 1], got 1.5

    """
    expected = _interval(low, high, above, below, finite)
    if not _is_number(value):
        raise _wrong_kind(name, expected, value)
    number = _as_float(value)
    fits = (
        number == number  # not NaN
        and (low is None or number >= low)
        and (high is None or number <= high)
        and (above is None or number > above)
        and (below is None or number < below)
        and (not finite or abs(number) < inf)
    )
    if not fits:
        raise ValueError(f"{name}: expected {expected}, got {value}")
    return number


def check_count(name: str, value: Any, *, low: int | None = 1, high: int | None = None) -> int:
    """Return an integer, or raise unless it is from ``low`` to ``high``.

    Raises:
        TypeError: it is not an integer; 2.0 is not.
        ValueError: it is not within its bounds.

    Example:
        >>> check_count("num_seeds", 0)
        Traceback (most recent call last):
            ...
        ValueError: num_seeds: expected an integer >= 1, got 0

    """
    expected = _range("an integer", low, high)
    if not _is_integer(value):
        raise _wrong_kind(name, expected, value)
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(f"{name}: expected {expected}, got {value}")
    count: int = value
    return count if isinstance(value, _SYMBOLS) else int(count)


def check_numbers(
    name: str,
    values: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> list[float]:
    """Return one or more finite numbers as a list, or raise unless all are within the bounds.

    Raises:
        TypeError: it is not a collection, or holds something that is not a number.
        ValueError: it is empty, or a number is not within the bounds.

    """
    expected = _interval(low, high, above, below, True).replace("a ", "", 1)
    expected = expected.replace("number", "numbers", 1)
    items = _items(name, values, expected, _is_number)
    try:
        return [
            check_number(name, item, low=low, high=high, above=above, below=below) for item in items
        ]
    except ValueError as error:
        raise ValueError(f"{name}: expected {expected}, got {_listed(values)}") from error


def check_counts(name: str, values: Any, *, low: int = 1, high: int | None = None) -> list[int]:
    """Return one or more integers as a list, or raise unless all are from ``low`` to ``high``.

    Raises:
        TypeError: it is not a collection, or holds something that is not an integer.
        ValueError: it is empty, or an integer is not within the bounds.

    Example:
        >>> check_counts("orders", (0, 1))
        Traceback (most recent call last):
            ...
        ValueError: orders: expected integers >= 1, got (0, 1)

    """
    expected = _range("integers", low, high)
    items = _items(name, values, expected, _is_integer)
    if any(item < low or (high is not None and item > high) for item in items):
        raise ValueError(f"{name}: expected {expected}, got {_listed(values)}")
    return [check_count(name, item, low=low, high=high) for item in items]


def check_size(name: str, value: Any) -> tuple[int, int]:
    """Return height and width, or raise unless they are two integers of at least 1.

    Raises:
        TypeError: it is not a sequence of integers.
        ValueError: there are not two, or one is below 1.

    Example:
        >>> check_size("size", (0, 4))
        Traceback (most recent call last):
            ...
        ValueError: size: expected (height, width), two integers >= 1, got (0, 4)

    """
    expected = "(height, width), two integers >= 1"
    if not isinstance(value, (Sequence, np.ndarray)):
        raise _wrong_kind(name, expected, value)
    items = _items(name, value, expected, _is_integer)
    if len(items) != 2 or items[0] < 1 or items[1] < 1:
        raise ValueError(f"{name}: expected {expected}, got {_listed(value)}")
    return check_count(name, items[0]), check_count(name, items[1])


def check_flag(name: str, value: Any) -> bool:
    """Return True or False, or raise for anything else, such as "no", which Python takes as true.

    Raises:
        TypeError: it is not a boolean.

    """
    if not isinstance(value, (bool, np.bool_)):
        raise _wrong_kind(name, "True or False", value)
    return bool(value)


def check_choice(name: str, value: Any, choices: Sequence[T]) -> T:
    """Return the one of the choices that the value equals, or raise if there is none.

    Raises:
        ValueError: it is none of them.

    Example:
        >>> check_choice("reduction", "max", ("mean", "sum", "none"))
        Traceback (most recent call last):
            ...
        ValueError: reduction: expected 'mean', 'sum' or 'none', got 'max'

    """
    for choice in choices:
        alike = _is_integer(value) if _is_integer(choice) else isinstance(value, type(choice))
        if alike and value == choice:
            return choice
    *most, last = map(repr, choices)
    expected = f"{', '.join(most)} or {last}" if most else last
    raise ValueError(f"{name}: expected {expected}, got {_shown(value)}")


def check_text(name: str, value: Any) -> str:
    """Return a string, or raise.

    Raises:
        TypeError: it is not a string.

    """
    text: str = check_kind(name, value, str, "a string")
    return text


def check_texts(name: str, values: Any) -> list[str]:
    """Return a list of strings, or raise; one string is not a list of its letters.

    Raises:
        TypeError: it is not a collection of strings.

    """
    if isinstance(values, (list, tuple)) and not values:
        return []
    return _items(name, values, "a list of strings", lambda item: isinstance(item, str))


def check_path(name: str, value: Any) -> str:
    """Return the path of a file or folder as a string, or raise.

    Raises:
        TypeError: it is neither a string nor a path.
        ValueError: it is empty, which would mean the working folder, or holds a null character.

    """
    path = os.fspath(check_kind(name, value, (str, os.PathLike), "a path"))
    if not isinstance(path, str):
        raise _wrong_kind(name, "a path", path)
    if not path or "\0" in path:
        raise ValueError(f"{name}: expected a path, got {path!r}")
    return path


def check_function(name: str, value: Any, expected: str = "a function") -> None:
    """Raise unless it is something that can be called, or None.

    Raises:
        TypeError: it is neither.

    """
    if value is not None and not callable(value):
        raise _wrong_kind(name, f"{expected} or None", value)


def check_logits(logits: Any) -> None:
    """Raise unless ``logits`` says how to read a model's output: a name, an index, a function.

    Raises:
        TypeError: it is none of these, nor None.

    """
    known = isinstance(logits, (str, Integral)) or callable(logits) or logits is None
    if not known or isinstance(logits, bool):
        raise _wrong_kind("logits", "a name, an index, a function or None", logits)


def check_call(call: Any) -> None:
    """Raise unless ``call`` says how a model is called.

    Raises:
        TypeError: it is neither a function nor None.

    """
    check_function("call", call, "a function (model, images) -> output")


def check_device(name: str, value: Any) -> torch.device:
    """Return a device, or raise unless it is one or the name of one.

    Raises:
        TypeError: it is neither.
        ValueError: no device has that name.

    Example:
        >>> check_device("device", "gpu")
        Traceback (most recent call last):
            ...
        ValueError: device: expected a device of torch such as 'cpu' or 'cuda:0', got 'gpu'

    """
    expected = "a device of torch such as 'cpu' or 'cuda:0'"
    check_kind(name, value, (torch.device, str), expected)
    try:
        return torch.device(value)
    except RuntimeError:
        raise ValueError(f"{name}: expected {expected}, got {value!r}") from None


def check_kind(name: str, value: Any, kind: type | tuple[type, ...], expected: str) -> Any:
    """Return a value of that type, or raise.

    Raises:
        TypeError: it is of another type.

    Example:
        >>> check_kind("generator", 3, torch.Generator, "a torch.Generator or None")
        Traceback (most recent call last):
            ...
        TypeError: generator: expected a torch.Generator or None, got int

    """
    if not isinstance(value, kind):
        raise _wrong_kind(name, expected, value)
    return value


def kind_of(value: object) -> str:
    """Return what a message calls a value of a wrong kind: its type, and None itself."""
    return "None" if value is None else type(value).__name__


def _is_integer(value: object) -> bool:
    return isinstance(value, (Integral, torch.SymInt)) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (Real, *_SYMBOLS)) and not isinstance(value, bool)


def _as_float(value: Any) -> float:
    number: float = value
    try:
        return number if isinstance(value, _SYMBOLS) else float(number)
    except OverflowError:  # an integer beyond the largest float
        return inf if value > 0 else -inf


def _items(name: str, values: Any, expected: str, fits: Callable[[object], bool]) -> list[Any]:
    """Return the items of a collection, which must not be empty, of the type that fits."""
    other = isinstance(values, (str, bytes, bytearray, Mapping, Tensor))
    other |= isinstance(values, np.ndarray) and values.ndim != 1
    if other or not isinstance(values, Collection):
        raise _wrong_kind(name, expected, values)
    items = list(values)
    for item in items:
        if not fits(item):
            raise TypeError(f"{name}: expected {expected}, got one of type {type(item).__name__}")
    if not items:
        raise ValueError(f"{name}: expected {expected}, got {values}")
    return items


def _interval(
    low: float | None, high: float | None, above: float | None, below: float | None, finite: bool
) -> str:
    """Say which numbers are expected: "a number in [0, 1)", "a finite number > 0"."""
    least, most = low if above is None else above, high if below is None else below
    if least is not None and most is not None:
        opening, closing = "[" if above is None else "(", "]" if below is None else ")"
        return f"a number in {opening}{least}, {most}{closing}"
    number = "a finite number" if finite else "a number"
    if least is not None:
        return f"{number} {'>=' if above is None else '>'} {least}"
    if most is not None:
        return f"{number} {'<=' if below is None else '<'} {most}"
    return number


def _range(what: str, low: int | None, high: int | None) -> str:
    if low is None:
        return what
    return f"{what} >= {low}" if high is None else f"{what} from {low} to {high}"


def _wrong_kind(name: str, expected: str, value: object) -> TypeError:
    return TypeError(f"{name}: expected {expected}, got {kind_of(value)}")


def _shown(value: object) -> str:
    """Return a short value itself, and of any other its type: a tensor would fill the screen."""
    plain = value is None or isinstance(value, (str, Real, complex))
    return repr(value) if plain else kind_of(value)


def _listed(values: Collection[Any]) -> str:
    if len(values) > 8:
        return f"[{', '.join(map(str, list(values)[:8]))}, ...]"
    return str(tuple(values) if isinstance(values, tuple) else list(values))
