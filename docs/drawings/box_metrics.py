"""Images of the metrics of boxes, on photographs of which the truth is known."""

from __future__ import annotations

import cv2
import torch
from matplotlib.axes import Axes
from torch import Tensor

import wsolrefine as w
from drawings import panels as p
from drawings import truth
from wsolrefine import class_activation, metrics
from wsolrefine.viz import draw_boxes, overlay

THRESHOLD = 0.34  # of scg
SIDE = 224
IOUS = (0.5, 0.7)
ORANGE = (255, 160, 0)

# Four of the coins, half-open, in pixels of the photograph, and a box for each type of error.
COINS = [[23, 101, 67, 147], [83, 103, 121, 145], [25, 178, 64, 217], [79, 172, 124, 219]]
COINS_SHOWN = (8, 82, 142, 228)
NAMES = ("coin", "button")
COIN, BUTTON = range(2)
PREDICTED = [
    ([27, 103, 70, 149], COIN),
    ([27, 103, 70, 149], BUTTON),
    ([23, 101, 119, 149], COIN),
    ([23, 101, 45, 147], COIN),
    ([11, 86, 77, 156], COIN),
    ([56, 122, 94, 168], COIN),
]


def draw_box_accuracy() -> None:
    names = (p.MOTORCYCLE, *truth.BOXES)
    maps = torch.stack([_score_map(name) for name in names])
    boxes = [_true_box(name)[None] for name in names]
    sizes = [p.photograph(name).shape[:2] for name in names]
    metric = metrics.MaxBoxAcc(half_open=True, ious=IOUS)
    metric.update(maps, boxes, sizes)
    found = metric.details()
    best = found.curve.amax(1)
    lines = {
        f"IoU {iou}: best {float(most):.2f}": (found.thresholds, line)
        for iou, line, most in zip(IOUS, found.curve, best, strict=True)
    }
    points = (found.best_thresholds, best)
    panels = [_box_at(p.MOTORCYCLE, threshold) for threshold in (0.1, 0.4, 0.8)]
    title = f"BoxAcc of {len(names)} photographs"
    panels.append(p.curves(title, lines, "threshold", marks={"": points}))
    p.save("box_accuracy", panels, columns=2, cell=2.7, ratio=0.68, most=40_000)


def draw_localization_accuracy() -> None:
    cases = {p.CUP: "espresso", p.CAT: "tabby", "rocket.jpg": "missile"}
    panels = [_ranked(name, label) for name, label in cases.items()]
    p.save("localization_accuracy", panels, cell=2.0, ratio=0.95, most=35_000)


def draw_error_types() -> None:
    coins = p.photograph("coins.png")
    true = torch.tensor(COINS).float()
    boxes = torch.tensor([box for box, _ in PREDICTED]).float()
    labels = torch.tensor([label for _, label in PREDICTED])
    count = len(PREDICTED)
    codes = metrics.localization_errors(boxes, labels, [true] * count, torch.tensor([COIN] * count))
    x0, y0, x1, y1 = COINS_SHOWN
    large = cv2.resize(coins[y0:y1, x0:x1], None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    corner = torch.tensor([x0, y0, x0, y0])
    panels = []
    for box, label, code in zip(boxes, labels, codes, strict=True):
        shown = draw_boxes(large, 3 * (true - corner), width=4, dashed=True)
        named = [NAMES[int(label)]]
        shown = draw_boxes(shown, 3 * (box - corner), width=6, color=ORANGE, labels=named)
        panels.append(p.picture(metrics.LocalizationError(int(code)).name, shown))
    p.save("error_types", panels, columns=3, cell=1.8, ratio=1.08, most=45_000)


def _score_map(name: str) -> Tensor:
    seen = p.look(name)
    return metrics.prepare_score_map(w.scg(seen.cam, seen.both)[0], (SIDE, SIDE))


def _true_box(name: str) -> Tensor:
    if name == p.MOTORCYCLE:
        return w.largest_box(truth.motorcycle_mask()[None])[0]
    return torch.tensor(truth.BOXES[name])


def _box_at(name: str, threshold: float) -> p.Panel:
    """The box of the map above a threshold, and the true one."""
    image, map = p.photograph(name), _score_map(name)
    scale = torch.tensor([*image.shape[1::-1]] * 2) / SIDE
    box, true = w.largest_box(map[None] > threshold) * scale, _true_box(name)[None]
    shown = draw_boxes(overlay(image, p.enlarge(map, image), 0.5), true, width=6, dashed=True)
    title = f"map > {threshold:.2f}: IoU {float(w.box_iou(box, true)):.2f}"
    return p.picture(title, draw_boxes(shown, box, width=7, color=ORANGE))


def _ranked(name: str, label: str) -> p.Panel:
    """The box of the true class, and what it counts for."""
    (loaded, layers), image = p.classifier(), p.photograph(name)
    names = [each.split(",")[0] for each in loaded.class_names or []]
    found = class_activation(loaded.model, p.pixels(name), top=5, layers=layers)
    maps = w.scg(found.cam[0], [each.expand(5, -1, -1, -1) for each in found.features])
    large = torch.stack([torch.from_numpy(p.enlarge(map, image)) for map in maps])
    boxes = w.largest_box(large > THRESHOLD)
    labels, true = found.labels, _true_box(name)[None]
    rank = labels[0].tolist().index(names.index(label))
    hits = metrics.localization_hits(
        boxes[None],
        labels,
        [true],
        labels[:, rank],
        hit=">=",
        gt_known_boxes=boxes[rank][None],
    )[0].tolist()
    shown = draw_boxes(image, true, width=max(3, image.shape[1] // 100), dashed=True)
    shown = draw_boxes(shown, boxes[rank], width=image.shape[1] // 90, color=ORANGE)
    answers = zip(("Top-1", "Top-5", "GT-known"), hits, strict=True)
    lines = [
        f"first class: {names[labels[0, 0]]}",
        f"{label} is number {rank + 1}, IoU {float(w.box_iou(boxes[rank][None], true)):.2f}",
        ", ".join(f"{key} {'yes' if hit else 'no'}" for key, hit in answers),
    ]

    def draw(axes: Axes) -> None:
        axes.imshow(shown)
        axes.set_title(label)
        axes.set_xlabel("\n".join(lines), fontsize=8, linespacing=1.5)

    return draw
