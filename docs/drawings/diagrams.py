"""Boxes and arrows: how tensors run through a module, with the shapes that they really have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch
from torch import Tensor, nn

from drawings import panels as p

WIDTH, HEIGHT = 0.98, 0.6  # of a box
INPUT, INNER, OUTPUT = "#d0ebff", "#f1f3f5", "#ffe8cc"


class Box(NamedTuple):
    """A tensor at a column and row, counted from the upper left; the batch is left out."""

    column: float
    row: float
    name: str
    shape: Sequence[int]
    color: str = INNER


def outputs(module: nn.Module, names: Sequence[str], *inputs: Any) -> tuple[dict[str, Any], Any]:
    """Run a module on its inputs; return the output of each named part, and of the whole."""
    kept: dict[str, Any] = {}

    def keep(name: str) -> Any:
        return lambda part, args, output: kept.update({name: output})

    handles = [module.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    result = module.eval()(*inputs)
    for handle in handles:
        handle.remove()
    return kept, result


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape without the batch, and without a grid of one pixel."""
    shape = tuple(tensor.shape[1:])
    return shape[:1] if shape[1:] == (1, 1) else shape


def diagram(boxes: dict[str, Box], arrows: Sequence[tuple[str, str, str]]) -> p.Panel:
    """Draw boxes by key, and arrows from one to another, each with a word above it."""

    def draw(axes: Axes) -> None:
        for box in boxes.values():
            corner = (box.column - WIDTH / 2, box.row - HEIGHT / 2)
            axes.add_patch(
                FancyBboxPatch(
                    corner,
                    WIDTH,
                    HEIGHT,
                    boxstyle="round,pad=0,rounding_size=0.08",
                    fc=box.color,
                    ec="0.5",
                    lw=0.8,
                )
            )
            shape = " x ".join(map(str, box.shape))
            middle = {"ha": "center", "va": "center"}
            axes.text(box.column, box.row - 0.12, box.name, fontsize=9, **middle)
            axes.text(
                box.column,
                box.row + 0.14,
                shape,
                fontsize=8 if len(shape) < 14 else 7,
                color="0.3",
                **middle,
            )
        for start, end, word in arrows:
            _arrow(axes, boxes[start], boxes[end], word)
        columns, rows = ([box[i] for box in boxes.values()] for i in (0, 1))
        axes.set_xlim(min(columns) - 0.52, max(columns) + 0.52)
        axes.set_ylim(max(rows) + 0.4, min(rows) - 0.4)

    return draw


def _arrow(axes: Axes, start: Box, end: Box, word: str) -> None:
    """Leave at the side that faces the other box."""
    if start.column == end.column:
        side = HEIGHT / 2 if end.row > start.row else -HEIGHT / 2
        ends = (start.column, start.row + side), (end.column, end.row - side)
    else:
        side = WIDTH / 2 if end.column > start.column else -WIDTH / 2
        ends = (start.column + side, start.row), (end.column - side, end.row)
    style = {"arrowstyle": "-|>", "color": "0.35", "lw": 1, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", ends[1], ends[0], arrowprops=style)
    if word:
        middle = (ends[0][0] + ends[1][0]) / 2, (ends[0][1] + ends[1][1]) / 2
        above = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center", "va": "bottom"}
        axes.annotate(word, middle, fontsize=8, color="0.3", **above)
