"""Drawings."""

from pathlib import Path

import numpy as np
import torch

from tests.support import wrong_values as kinds
from tests.support.calls.call import of
from tests.support.wrong_values import Kind
from wsolrefine import viz

PICTURE = np.zeros((5, 6, 3), np.uint8)
FILE = {"path": Kind("x.png", Path("x.png"), either={"text"})}
CALLS = [
    of(
        viz.contact_sheet,
        {"rows": [[PICTURE]], "titles": ["x"], "path": "x.png"},
        {
            "rows": Kind([[None]], ([PICTURE],)),
            "titles": Kind(("x", "y"), legal={"list of texts"}),
            "captions": Kind(("x",), legal={"list of texts", "None"}),
            "cell": Kind(0.5, np.float32(2), legal={"a half", "two"}),
        }
        | FILE,
    ),
    of(
        viz.draw_boxes,
        {"image": PICTURE, "boxes": [1, 1, 3, 3]},
        {
            "boxes": Kind([[1, 1, 3, 3]], torch.zeros(2, 4), [], legal={"empty tuple"}),
            "labels": Kind(("x",), legal={"list of texts", "None"}),
            "color": Kind((1, 2, 3), np.array([1, 2, 3]), legal={"list"}),
            "width": Kind(3, np.int64(3), legal={"two", "None"}),
            "dashed": kinds.flag,
        },
    ),
    of(
        viz.overlay,
        {"image": PICTURE, "map": np.zeros((5, 6))},
        {"alpha": kinds.fraction, "colormap": Kind("gray")},
    ),
    of(
        viz.plot_bars,
        {"values": {"x": 1}, "path": "x.png", "x_label": "x"},
        {
            "values": Kind({"x": 0.5, "y": np.float32(1)}, legal={"dict"}),
            "x_label": kinds.text,
            "title": kinds.text.or_none(),
        }
        | FILE,
    ),
    of(
        viz.plot_curves,
        {"series": {"x": ([0, 1], [0, 1])}, "path": "x.png", "x_label": "x", "y_label": "y"},
        {
            "series": Kind({"x": [torch.rand(3), np.ones(3)]}),
            "x_label": kinds.text,
            "y_label": kinds.text,
            "title": kinds.text.or_none(),
            "marks": Kind({"x": 0.5}, {}, legal={"dict", "None"}),
        }
        | FILE,
    ),
]
