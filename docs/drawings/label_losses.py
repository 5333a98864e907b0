"""Images of the losses that compare a map with labels of pixels, or with other images."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

import wsolrefine as w
from drawings import crf
from drawings import panels as p
from drawings.pixel_metrics import soft_edges
from wsolrefine import layer_cam, losses

EARLY = "_blocks.10"
MOST = 0.9  # probability of the strongest edge


def draw_masked_bce_loss() -> None:
    seen = p.look(p.MOTORCYCLE)
    map = w.scg(seen.cam, seen.both)
    widened = w.gppl(p.resized(seen.cam, map.shape[-1]))
    target = w.pseudo_label(widened, foreground=0.5, background=0.1)
    cost = losses.masked_bce_loss(map.logit(0.01), target, reduction="none")[0]
    names = [(1.0, p.OBJECT, "1"), (255.0, p.UNDECIDED, "255"), (0.0, p.GROUND, "0")]
    panels = [
        p.stretched(p.cells("pseudo label", target[0], names), seen.image),
        p.over("prediction", seen.image, map[0]),
        _costs("loss of each pixel", cost, seen.image),
    ]
    p.save("masked_bce_loss", panels, cell=1.9, ratio=0.75, most=30_000)


def draw_confseg_loss() -> None:
    seen = p.look(p.MOTORCYCLE)
    cam = p.resized(seen.cam, 14)
    auxiliary = _early_map()
    confident, above, below = w.confseg(cam)
    labels = torch.full_like(cam, 0.5).masked_fill(above, 1).masked_fill(below, 0)
    cost = (auxiliary - cam).abs().where(confident, 0.0)
    total = float(losses.confseg_loss(auxiliary, cam))
    panels = [
        p.over("CAM: last layer", seen.image, cam[0]),
        p.stretched(p.cells("where it is confident", labels[0], p.LEVELS), seen.image),
        p.over("auxiliary map: earlier layer", seen.image, auxiliary[0]),
        _costs(f"distance, sum {total:.1f}", cost[0], seen.image, 1),
    ]
    p.save("confseg_loss", panels, columns=2, cell=2.6, ratio=0.75, most=40_000)


def draw_hard_negative_suppression_loss() -> None:
    small = crf.shrunk(p.MOTORCYCLE)
    boundary = w.pseudo_boundary(crf.aligned(small), small.image)
    edges = MOST * soft_edges(small.shown, small.map[0])
    costs = [
        losses.hard_negative_suppression_loss(
            edges, boundary, suppression=suppression, reduction="none"
        )
        for suppression in (False, True)
    ]
    false = [cost.where(~boundary, 0.0)[0] for cost in costs]
    high = round(float(false[1].amax()), 2)
    panels = [
        p.picture("P: soft edges", _gray(edges[0])),
        p.picture("pseudo boundary", _gray(boundary[0].float())),
        p.values("loss of false edges", false[0], 0, high),
        p.values("with suppression", false[1], 0, high),
    ]
    p.save("hard_negative_suppression_loss", panels, columns=2, cell=2.6, ratio=0.7, most=50_000)


def draw_coaug_loss() -> None:
    panels: list[p.Panel] = []
    for row, name in enumerate((p.MOTORCYCLE, p.CUP)):
        seen = p.look(name)
        small = cv2.resize(seen.image, (300, 200), interpolation=cv2.INTER_AREA)
        map = torch.from_numpy(p.enlarge(seen.cam[0], small))
        confident = torch.from_numpy(
            cv2.resize(
                w.confseg(seen.cam).confident[0].byte().numpy(),
                (300, 200),
                interpolation=cv2.INTER_NEAREST,
            )
        )
        titles = ("F: object", "B: the rest", "M: the confident rest")
        for title, weight in zip(titles, (map, 1 - map, (1 - map) * confident), strict=True):
            shown = (small * weight[..., None].numpy()).astype(np.uint8)
            panels.append(p.picture(title if row == 0 else "", shown))
    p.save("coaug_loss", panels, columns=3, cell=1.9, ratio=0.68, most=35_000)


def _early_map() -> Tensor:
    """Return the map of an earlier layer, (1, 14, 14) in [0, 1]."""
    seen, (found, _) = p.look(p.MOTORCYCLE), p.classifier()
    with torch.enable_grad(), w.capture(found.model, EARLY) as outputs:
        scores = found.model(p.pixels(p.MOTORCYCLE).requires_grad_())[:, seen.label]
        return layer_cam(outputs[EARLY], scores).detach()


def _costs(title: str, map: Tensor, image: np.ndarray, high: float | None = None) -> p.Panel:
    most = round(float(map.amax()), 1) if high is None else high
    return p.stretched(p.values(title, map, 0, most), image)


def _gray(map: Tensor) -> np.ndarray:
    return (255 * map[..., None]).byte().expand(-1, -1, 3).numpy()
