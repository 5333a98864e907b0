"""Modules with weights: how they are made, and what they are called with."""

import numpy as np
import torch

from tests.support import wrong_values as kinds
from tests.support.calls.call import CAM, FEATURES, IMAGE, of
from tests.support.wrong_values import Kind
from wsolrefine import nn


class Passed(torch.nn.Module):
    """A backbone of one stage."""

    def forward(self, images):
        return [images]


def forward(module, arguments, **named):
    """The call of a module; a parameter that takes a list of stages takes nothing else."""
    return of(module.forward, arguments, **named)


STAGES = [torch.rand(2, 4, 5, 6), torch.rand(2, 8, 3, 3)]
HEAD = {"in_channels": kinds.count, "num_classes": kinds.count, "width": kinds.count}
CALLS = [
    of(
        nn.ActivationGenerator,
        {"in_channels": 4, "num_classes": 3},
        HEAD | {"num_classes": kinds.count.or_none(), "inner_channels": kinds.count.or_none()},
    ),
    of(
        nn.ConvolutionalHead,
        {"in_channels": 4, "num_classes": 3},
        HEAD | {"dropout": kinds.fraction},
    ),
    of(
        nn.EdgeHead,
        {"channels": [4, 8]},
        {"channels": kinds.counts, "width": kinds.count, "size": kinds.size},
    ),
    of(
        nn.FeatureList,
        {"model": torch.nn.Sequential(torch.nn.ReLU()), "layers": ["0"]},
        {
            "layers": Kind(("0",), ["0"]),
            "call": kinds.function.or_none(),
            "logits": Kind(
                legal={"None", "text", "empty text", "type", "function"} | kinds.INTEGERS
            ),
        },
    ),
    of(
        nn.MFFNet,
        {"channels": [4, 8, 16], "num_outputs": 3},
        {
            "channels": Kind((2, 1, 3), np.array([2, 1, 3]), legal={"list"}, either={"tuple"}),
            "num_outputs": kinds.count,
            "stages": Kind(1, np.int64(2), legal={"two"}),
            "fusion": kinds.choice("multiplication", "addition", "concatenation"),
            "attention": kinds.flag,
            "width": kinds.count,
            "dropout": kinds.fraction,
        },
    ),
    of(
        nn.MultiplicativeChannelAttention,
        {"channels": [4, 8]},
        {"channels": kinds.counts, "width": kinds.count},
    ),
    of(nn.stage_channels, {"backbone": Passed(), "images": IMAGE}),
]
FORWARDS = [
    forward(nn.ActivationGenerator(4, 3).eval(), {"features": FEATURES}),
    forward(nn.ConvolutionalHead(4, 3).eval(), {"features": FEATURES}),
    forward(nn.EdgeHead([4, 8]).eval(), {"features": STAGES, "maps": CAM}),
    forward(nn.FeatureList(torch.nn.Sequential(torch.nn.ReLU()), ["0"]), {"images": IMAGE}),
    forward(nn.MFFNet([4, 8], 3, stages=2).eval(), {"features": STAGES}),
    forward(nn.MultiplicativeChannelAttention([4, 8]).eval(), {"features": STAGES}),
]
