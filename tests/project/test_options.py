"""The checks of options that all packages share."""

import re
from fractions import Fraction
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from wsolrefine import _options as O


def refused(call, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.5), np.int8(1), Fraction(1, 2)])
def test_a_number_of_any_kind_is_a_plain_float(value):
    assert type(O.check_number("x", value, low=0, high=1)) is float
    assert O.check_number("x", value, low=0, high=1) == float(value)


@pytest.mark.parametrize(
    ("bounds", "value", "message"),
    [
        ({"low": 0, "high": 1}, -0.1, "a number in [0, 1], got -0.1"),
        ({"above": 0, "below": 1}, 1, "a number in (0, 1), got 1"),
        ({"above": 0, "high": 1}, 0, "a number in (0, 1], got 0"),
        ({"low": 0, "below": 1}, nan, "a number in [0, 1), got nan"),
        ({"low": 0}, -1, "a finite number >= 0, got -1"),
        ({"above": 0}, inf, "a finite number > 0, got inf"),
        ({"above": 0, "finite": False}, 0, "a number > 0, got 0"),
        ({"high": 3}, 4, "a finite number <= 3, got 4"),
        ({"below": 3}, 3, "a finite number < 3, got 3"),
        ({}, -inf, "a finite number, got -inf"),
        ({"finite": False}, nan, "a number, got nan"),
        ({}, 10**400, f"a finite number, got {10**400}"),
        ({"below": 0, "finite": False}, 10**400, f"a number < 0, got {10**400}"),
    ],
)
def test_a_number_outside_its_bounds(bounds, value, message):
    refused(lambda: O.check_number("x", value, **bounds), ValueError, f"x: expected {message}")


def test_infinity_where_it_is_allowed():
    assert O.check_number("x", inf, above=0, finite=False) == inf
    assert O.check_number("x", -inf, finite=False) == -inf


NO_NUMBERS = {"None": None, "str": "1", "bool": True, "complex": 1j, "tuple": (1,), "list": [1],
              "Tensor": torch.tensor(1), "ndarray": np.array(1), "bool_": np.bool_(1)}  # fmt: skip


@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_what_is_no_number(kind):
    value, shown = NO_NUMBERS[kind], "bool" if kind == "bool_" and np.__version__ >= "2" else kind
    message = f"x: expected a finite number, got {shown}"
    refused(lambda: O.check_number("x", value), TypeError, message)
    message = f"x: expected an integer >= 1, got {shown}"
    refused(lambda: O.check_count("x", value), TypeError, message)


def test_counts():
    assert [type(O.check_count("x", value)) for value in (2, np.uint8(2))] == [int, int]
    assert O.check_count("x", 0, low=0, high=0) == 0
    message = "x: expected an integer from 0 to 255, got 256"
    refused(lambda: O.check_count("x", 256, low=0, high=255), ValueError, message)
    message = "x: expected an integer >= 1, got float"
    refused(lambda: O.check_count("x", 2.0), TypeError, message)


def test_several_counts():
    for values in ([1, 2], (1, 2), {1, 2}, np.array([1, 2]), range(1, 3)):
        checked = O.check_counts("x", values)
        assert checked == [1, 2]
        assert {type(item) for item in checked} == {int}
    for wrong in (3, None, "12", b"12", {1: 2}, torch.tensor([1, 2]), np.array(1)):
        with pytest.raises(TypeError, match=r"^x: expected integers >= 1, got \w+$"):
            O.check_counts("x", wrong)
    for wrong, got in (
        ((), "()"),
        ([], "[]"),
        ([2, 0], "[2, 0]"),
        ([0] * 9, "[0, 0, 0, 0, 0, 0, 0, 0, ...]"),
    ):
        refused(lambda w=wrong: O.check_counts("x", w), ValueError,
                f"x: expected integers >= 1, got {got}")  # fmt: skip
    message = "x: expected integers >= 1, got one of type float"
    refused(lambda: O.check_counts("x", [1, 2.0]), TypeError, message)


def test_several_numbers():
    assert O.check_numbers("x", np.array([0.25, 1]), low=0, high=1) == [0.25, 1.0]
    message = "x: expected numbers in [0, 1], got [0.25, nan]"
    refused(lambda: O.check_numbers("x", [0.25, nan], low=0, high=1), ValueError, message)
    message = "x: expected finite numbers > 0, got [0]"
    refused(lambda: O.check_numbers("x", [0], above=0), ValueError, message)
    message = "x: expected finite numbers, got one of type str"
    refused(lambda: O.check_numbers("x", ["1"]), TypeError, message)


def test_sizes():
    for size in ((3, 4), [3, 4], torch.Size([3, 4]), (np.int64(3), 4)):
        assert O.check_size("x", size) == (3, 4)
    for wrong in ((3,), (3, 4, 5), (0, 4), (3, -1), ()):
        with pytest.raises(ValueError, match=r"^x: expected \(height, width\), two integers >= 1"):
            O.check_size("x", wrong)
    for wrong in (4, None, "34", (3.0, 4), {3, 4}, torch.tensor([3, 4])):
        with pytest.raises(TypeError, match=r"^x: expected \(height, width\), two integers >= 1"):
            O.check_size("x", wrong)


def test_flags():
    assert O.check_flag("x", True) is True
    assert O.check_flag("x", np.bool_(0)) is False
    for wrong in (1, 0, None, "no", torch.tensor(True), [True]):
        with pytest.raises(TypeError, match=r"^x: expected True or False, got "):
            O.check_flag("x", wrong)


def test_choices():
    assert O.check_choice("x", "mean", ("mean", "sum")) == "mean"
    assert type(O.check_choice("x", np.int64(4), (4, 8))) is int
    for wrong, got in (("Mean", "'Mean'"), (None, "None"), (torch.ones(9), "Tensor"),
                       (["mean"], "list"), (1.5, "1.5")):  # fmt: skip
        message = f"x: expected 'mean' or 'sum', got {got}"
        refused(lambda w=wrong: O.check_choice("x", w, ("mean", "sum")), ValueError, message)
    for wrong in (True, 4.0, "4", torch.tensor(4), np.array([4, 8])):
        with pytest.raises(ValueError, match=r"^x: expected 4 or 8, got "):
            O.check_choice("x", wrong, (4, 8))
    with pytest.raises(ValueError, match=r"^x: expected 1 or 8, got True$"):
        O.check_choice("x", True, (1, 8))


def test_texts_and_paths():
    assert O.check_text("x", "") == ""
    assert O.check_path("x", Path("a") / "b") == str(Path("a") / "b")
    for wrong in (None, 3, b"a", ["a"]):
        with pytest.raises(TypeError, match=r"^x: expected a string, got "):
            O.check_text("x", wrong)
        with pytest.raises(TypeError, match=r"^x: expected a path, got "):
            O.check_path("x", wrong)
    for wrong in ("", "a\0b"):
        with pytest.raises(ValueError, match=r"^x: expected a path, got "):
            O.check_path("x", wrong)


def test_kinds():
    assert O.check_kind("x", 3, int, "an integer") == 3
    refused(lambda: O.check_kind("x", None, int, "an integer"), TypeError,
            "x: expected an integer, got None")  # fmt: skip


class Checked(torch.nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        height, width = O.check_size("size", (maps.shape[-2], maps.shape[-1]))
        scale = O.check_number("scale", 0.5, above=0)
        count = O.check_count("count", height)
        assert O.check_choice("choice", "a", ("a", "b"))
        return maps.reshape(-1, count * width) * scale


def test_checks_compile_and_export_with_sizes_that_are_not_known():
    maps = torch.rand(2, 3, 4)
    expected = Checked()(maps)
    torch.compiler.reset()
    for dynamic in (False, True):
        compiled = torch.compile(Checked(), fullgraph=True, backend="eager", dynamic=dynamic)
        assert torch.equal(compiled(maps), expected)
    dims = {0: torch.export.Dim("b"), 1: torch.export.Dim("h"), 2: torch.export.Dim("w")}
    for strict in (False, True):
        program = torch.export.export(Checked(), (maps,), dynamic_shapes=(dims,), strict=strict)
        assert torch.equal(program.module()(maps), expected)
