"""One table of values that are wrong for an option of some kind, and of values that are right.

To cover a function, list it in ``tests/project/test_wrong_values.py`` with arguments that work and
the kind of each option. A kind names the values that must be refused and those that must pass.
"""

from math import inf, nan
from pathlib import Path

import numpy as np
import torch

WRONG = {
    "None": None,
    "text": "x",
    "bytes": b"x",
    "empty text": "",
    "tuple": (1,),
    "empty tuple": (),
    "list": [1, 2, 3],
    "list of texts": ["x"],
    "dict": {"x": 1},
    "True": True,
    "NumPy True": np.bool_(True),
    "complex": 1j,
    "NaN": nan,
    "NumPy NaN": np.float32(nan),
    "infinity": inf,
    "minus infinity": -inf,
    "a half": 0.5,
    "minus one": -1,
    "zero": 0,
    "two": 2,
    "a million": 10**6,
    "huge": 10**400,
    "tensor": torch.tensor([1.0, 2.0]),
    "0-d tensor": torch.tensor(1),
    "0-d float tensor": torch.tensor(0.5),
    "array": np.array([1.0, 2.0]),
    "0-d array": np.array(1),
    "object": object(),
    "type": int,
    "function": len,
}
"""What users pass by mistake. No kind refuses all: see ``LEGAL``."""


class Kind:
    """What an option may be.

    Attributes:
        legal: names of values of ``WRONG`` that are right for this kind; any other must be refused.
        right: values that must pass, besides those.
        either: names of values about which the kind says nothing.
    """

    def __init__(self, *right, legal=(), either=()):
        self.right, self.legal, self.either = right, {*legal}, {*either}

    def or_none(self):
        return Kind(*self.right, None, legal={*self.legal, "None"}, either=self.either)


NUMBERS = {"a half", "zero", "two", "minus one", "a million"}
INTEGERS = {"zero", "two", "minus one", "a million", "huge"}
INDICES = INTEGERS | {"text", "empty text"}
INFINITE = {"infinity", "minus infinity", "huge"}

number = Kind(0.25, np.float32(0.25), np.float64(0.25), np.int64(1), legal=NUMBERS)
any_number = Kind(0.25, np.float16(0.25), legal=NUMBERS | INFINITE)
threshold_tensor = Kind(
    0.25,
    torch.tensor(0.25),
    legal=NUMBERS | INFINITE | {"tensor", "0-d tensor", "0-d float tensor"},
)
not_negative = Kind(0.25, np.float32(0.25), np.int8(1), legal=NUMBERS - {"minus one"})
positive = Kind(0.25, np.float32(0.25), legal=NUMBERS - {"minus one", "zero"})
positive_or_infinite = Kind(inf, legal=NUMBERS - {"minus one", "zero"} | {"infinity", "huge"})
fraction = Kind(0.25, np.float32(0.25), 1, legal={"zero", "a half"})
open_fraction = Kind(0.25, np.float64(0.25), legal={"a half"})
count = Kind(3, np.int64(3), np.uint8(3), legal={"two", "a million"}, either={"huge"})
count_from_zero = Kind(3, np.int64(3), legal={"two", "zero", "a million"}, either={"huge"})
odd = Kind(3, np.int64(3))
counts = Kind((2, 1), [1], {1}, np.array([2, 1]), legal={"tuple", "list"})
flag = Kind(False, np.bool_(False), legal={"True", "NumPy True"})
size = Kind((3, 4), [3, 4], torch.Size([3, 4]), (np.int64(3), 4))
text = Kind("y", legal={"text", "empty text"})
path = Kind("y", Path("y"), legal={"text"})


function = Kind(len, legal={"function", "type"})


def choice(*choices):
    return Kind(*choices)


# Arguments that are no options.
tensor = Kind()
tensor_of_any_shape = Kind(legal={"tensor", "0-d float tensor"})
generator = Kind(torch.Generator()).or_none()
