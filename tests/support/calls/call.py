"""What the table of calls consists of."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from tests.support import wrong_values as kinds
from tests.support.wrong_values import Kind


@dataclass(frozen=True)
class Call:
    """A function, arguments with which it works, and what each may be.

    Attributes:
        function: what is called; its signature names the arguments.
        arguments: by name, those without a default.
        kinds: by name, of all arguments.
        named: what an error calls an argument, where that is not its name.
    """

    function: Callable
    arguments: dict
    kinds: dict[str, Kind]
    named: dict[str, str] = field(default_factory=dict)


def of(function, arguments, options=None, **named):
    """A call whose arguments without a default are tensors, unless ``options`` say otherwise."""
    kinds_of = dict.fromkeys(arguments, kinds.tensor) | (options or {})
    return Call(function, arguments, kinds_of, named)


CAM, MAPS, FEATURES = torch.rand(2, 5, 6), torch.rand(2, 3, 5, 6), torch.rand(2, 4, 5, 6)
IMAGE, MASK = torch.rand(2, 3, 5, 6), torch.rand(2, 5, 6) > 0.5
BOXES, LABEL = torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([0, 1])
