"""Images of maps that went wrong, each by one mistake, next to the right one."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import wsolrefine as w
from drawings import panels as p
from wsolrefine import capture
from wsolrefine.viz import draw_boxes, overlay

THRESHOLD = 0.34


def draw_wrong_features() -> None:
    seen = p.look(p.MOTORCYCLE)
    features = seen.features[0]
    tokens = features.flatten(2).mT  # (1, 196, C), as a transformer has them
    prefix = tokens[:, :5]
    shown = {
        "right": features,
        "not permuted": tokens.reshape(features.shape),
        "prefix left in": _in_rows(torch.cat([prefix, tokens], 1)[:, :196]),
        "axes swapped": features.mT,
        "first layer": _early(p.MOTORCYCLE),
    }
    panels = [p.over("CAM", seen.image, seen.cam[0])]
    panels += [p.over(title, seen.image, w.scg(seen.cam, f)[0]) for title, f in shown.items()]
    p.save("wrong_features", panels, columns=3, cell=1.7, ratio=0.72, most=24_000)


def draw_wrong_cam() -> None:
    seen = p.look(p.MOTORCYCLE)
    pixels = p.pixels(p.MOTORCYCLE)
    raw = torch.from_numpy(np.array(Image.fromarray(seen.image).resize((224, 224))))
    shown = {
        "right": seen.cam,
        "sign turned": -seen.cam,
        "axes swapped": seen.cam.mT,
        "another class": _cam_of_the_last_class(pixels),
        "pixels 0 to 255": _cam(raw.permute(2, 0, 1)[None].float(), seen.label),
        "constant, or NaN": torch.full_like(seen.cam, torch.nan),
    }
    panels = [
        p.picture(title, _boxed(seen.image, w.scg(cam, seen.features)[0], THRESHOLD))
        for title, cam in shown.items()
    ]
    p.save("wrong_cam", panels, columns=3, cell=1.7, ratio=0.72, most=24_000)


def draw_wrong_box() -> None:
    seen = p.look(p.CUP)
    map = w.scg(seen.cam, seen.both)[0]
    enlarged = p.enlarge(map, seen.image)
    cells = w.largest_box(map[None] > THRESHOLD)[0]
    shown = {
        f"right: {THRESHOLD}": _boxed(seen.image, map, THRESHOLD),
        "threshold 0.02": _boxed(seen.image, map, 0.02),
        "threshold 0.9": _boxed(seen.image, map, 0.9),
        "box in cells": draw_boxes(overlay(seen.image, enlarged), cells, width=4),
    }
    p.save(
        "wrong_box", [p.picture(*item) for item in shown.items()], cell=1.6, ratio=0.68, most=18_000
    )


def _in_rows(tokens: Tensor) -> Tensor:
    return w.tokens_to_map(tokens)


def _early(name: str) -> Tensor:
    found, _ = p.classifier()
    with torch.no_grad(), capture(found.model, "_blocks.0") as outputs:
        found.model(p.pixels(name))
    # As fine as the right features, so that the grid is not what differs.
    return torch.nn.functional.avg_pool2d(outputs["_blocks.0"], 8)


def _cam(pixels: Tensor, label: int) -> Tensor:
    found, layers = p.classifier()
    labels = torch.tensor([label])
    return w.class_activation(found.model, pixels, labels=labels, layers=layers).cam[:, 0]


def _cam_of_the_last_class(pixels: Tensor) -> Tensor:
    found, _ = p.classifier()
    with torch.no_grad():
        return _cam(pixels, int(found.model(pixels).argmin()))


def _boxed(image: np.ndarray, map: Tensor, threshold: float) -> np.ndarray:
    enlarged = p.enlarge(map, image)
    box = w.largest_box(torch.from_numpy(enlarged)[None] > threshold)
    return draw_boxes(overlay(image, enlarged), box, width=6)
