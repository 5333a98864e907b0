"""Images of the functions that return masks, labels and boxes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

import wsolrefine as w
from drawings import panels as p
from wsolrefine.viz import draw_boxes

MASK = """
..........
.###...##.
.###..##..
....##....
....##....
........#.
.###...#..
.#.#......
.###......
"""


def draw_confseg() -> None:
    panels = []
    for name in (p.MOTORCYCLE, p.CAT):
        seen = p.look(name)
        cam = torch.from_numpy(p.enlarge(seen.cam[0], seen.image))
        _, above, below = w.confseg(cam)
        labels = torch.full_like(cam, 0.5).masked_fill(above, 1).masked_fill(below, 0)
        panels.append(p.over("CAM", seen.image, seen.cam[0]))
        panels.append(p.cells("confseg", labels, p.LEVELS))
    p.save("confseg", panels, ratio=0.8)


def draw_confseg_thresholds() -> None:
    names = {"motorcycle": p.MOTORCYCLE, "cup": p.CUP, "cat": p.CAT}
    panels = [_histogram(title, p.look(name)) for title, name in names.items()]
    p.save("confseg_thresholds", panels, cell=2.6, ratio=0.6)


def draw_pseudo_label() -> None:
    seen = p.look(p.CUP)
    widened, refined = (
        torch.from_numpy(p.enlarge(map[0], seen.image))[None]
        for map in (w.gppl(seen.cam), w.scg(seen.cam, seen.features))
    )
    names = [(1.0, p.OBJECT, "1"), (255.0, p.UNDECIDED, "255"), (0.0, p.GROUND, "0")]
    other = w.pseudo_label(refined, foreground=0.4, background=0.1)
    panels = [
        p.over("gppl", seen.image, widened[0]),
        p.cells("0.5 and 0.004", w.pseudo_label(widened)[0], names),
        p.over("scg", seen.image, refined[0]),
        p.cells("0.4 and 0.1", other[0], names),
    ]
    p.save("pseudo_label", panels, ratio=0.78)


def draw_connected_components() -> None:
    mask = torch.tensor([[cell == "#" for cell in row] for row in MASK.split()])[None]
    panels = [
        p.numbered("mask", mask[0].long(), lambda value: ""),
        p.numbered("connectivity=8", w.connected_components(mask)[0]),
        p.numbered("connectivity=4", w.connected_components(mask, connectivity=4)[0]),
    ]
    p.save("connected_components", panels, ratio=0.9)


def draw_union_box() -> None:
    p.save("union_box", _boxed(w.union_box), cell=2.6, ratio=0.74)


def draw_largest_box() -> None:
    p.save("largest_box", _boxed(w.largest_box), cell=2.6, ratio=0.74)


def draw_component_boxes() -> None:
    coins = p.photograph("coins.png")
    gray = torch.from_numpy(coins[None, ..., 0].astype(np.float32))
    ground = F.avg_pool2d(gray, 121, 1, 60, count_include_pad=False)
    mask = F.avg_pool2d(gray, 9, 1, 4) > ground + 8
    boxes = w.component_boxes(mask)[0]
    large = boxes[(boxes[:, 2] - boxes[:, 0]) > 25]
    panels = [
        p.picture("photograph", coins),
        p.picture("mask", _white(mask)),
        p.picture("boxes wider than 25 pixels", draw_boxes(coins, large, color=(255, 160, 0))),
    ]
    p.save("component_boxes", panels, cell=2.6, ratio=0.8)


def draw_instance_labels() -> None:
    """Two objects that touch, and a third whose second peak hardly stands out."""
    peaks = [(1.0, 11, 12), (0.75, 22, 27), (0.9, 9, 45), (0.85, 17, 51)]
    y, x = torch.meshgrid(torch.arange(32), torch.arange(64), indexing="ij")
    map = torch.stack(
        [height * (-((y - v) ** 2 + (x - u) ** 2) / 60).exp() for height, v, u in peaks]
    ).amax(0)
    components = w.connected_components(map[None] > 0.2)[0]
    instances = w.instance_labels(map[None], threshold=0.2)[0]
    colors = ("#e8e8e8", "#d1495b", "#2e86ab", "#edae49")
    named = [(float(value), color, str(value)) for value, color in enumerate(colors)]
    panels = [
        p.values("map", map),
        *(
            p.cells(title, labels, named[1 : int(labels.max()) + 1] + named[:1])
            for title, labels in (("components", components), ("instances", instances))
        ),
    ]
    p.save("instance_labels", panels, cell=2.2, ratio=0.62)


def draw_box_iou() -> None:
    pairs = [
        ([1.0, 1.0, 6.0, 5.0], [2.0, 2.0, 7.0, 6.0]),
        ([1.0, 1.0, 7.0, 6.0], [3.0, 2.0, 5.0, 4.0]),
        ([1.0, 1.0, 4.0, 4.0], [4.0, 3.0, 7.0, 6.0]),
    ]
    p.save("box_iou", [_overlap(*pair) for pair in pairs], cell=2.4, ratio=0.95)


def _histogram(title: str, seen: p.Seen) -> p.Panel:
    """How often each value occurs in the CAM, colored by what the thresholds make of it."""

    def draw(axes: Axes) -> None:
        cam = torch.from_numpy(p.enlarge(seen.cam[0], seen.image))
        low, high = (float(threshold) for threshold in w.confseg_thresholds(cam))
        counts, edges = np.histogram(cam, 50, (0, 1))
        middle = (edges[:-1] + edges[1:]) / 2
        colors = [p.GROUND if m < low else p.OBJECT if m > high else p.UNDECIDED for m in middle]
        axes.bar(middle, counts, 0.021, color=colors)
        axes.set_ylim(0, 1.3 * counts.max())
        for name, value in (("low", low), ("high", high)):
            axes.axvline(value, color="black", lw=1)
            place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            axes.annotate(
                f"{name} {value:.2f}", (value, 0.98), (3, 0), va="top", fontsize=7, **place
            )
        axes.set_xticks([0, 0.5, 1])
        axes.tick_params(labelsize=7)
        axes.set_title(title)
        axes.set_xlabel("CAM value", fontsize=8)
        axes.spines["bottom"].set_visible(True)
        entries = [(p.GROUND, "background"), (p.UNDECIDED, "undecided"), (p.OBJECT, "object")]
        p.legend(axes, entries, -0.3)

    return draw


def _boxed(find: Callable[[Tensor], Tensor]) -> list[p.Panel]:
    """A photograph, a mask of it with several components, the mask with the box."""
    seen = p.look(p.MOTORCYCLE)
    map = w.scg(seen.cam, seen.features)[0]
    mask = torch.from_numpy(p.enlarge(map, seen.image) > 0.3)[None]
    thick = seen.image.shape[1] // 90
    boxed = draw_boxes(_white(mask), find(mask), color=(255, 140, 0), width=thick)
    return [
        p.picture("photograph", seen.image),
        p.picture("scg > 0.3", _white(mask)),
        p.picture(find.__name__, boxed),
    ]


def _white(mask: Tensor) -> np.ndarray:
    """Show a mask (1, H, W) as white on dark gray."""
    return np.where(mask[0, ..., None].numpy(), 235, 60).repeat(3, 2).astype(np.uint8)


def _overlap(first: list[float], second: list[float]) -> p.Panel:
    def draw(axes: Axes) -> None:
        for (x0, y0, x1, y1), color in ((first, p.OBJECT), (second, p.GROUND)):
            size = (x1 - x0, y1 - y0)
            axes.add_patch(Rectangle((x0, y0), *size, fc=color, ec=color, alpha=0.45, lw=2))
        boxes = torch.tensor([first]), torch.tensor([second])
        half_open, inclusive = (float(w.box_iou(*boxes, inclusive=i)) for i in (False, True))
        axes.set(xlim=(0, 8), ylim=(7, 0), xticks=range(9), yticks=range(8), aspect="equal")
        axes.grid(color="0.85", lw=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, labelleft=False, labelbottom=False)
        axes.set_title(f"IoU {half_open:.2f}, inclusive {inclusive:.2f}")

    return draw
