"""Images of the losses that a map has by itself."""

from __future__ import annotations

import torch
from torch import Tensor

import wsolrefine as w
from drawings import panels as p
from wsolrefine import capture, losses

STEPS, RATE = 60, 0.5  # of gradient descent on the values before the sigmoid
THRESHOLD, GAP = 0.012, 0.006  # of the standard deviation over 1000 classes, at most 0.0316


def draw_area_loss() -> None:
    seen = p.look(p.MOTORCYCLE)
    maps = {"CAM": seen.cam, "scg": w.scg(seen.cam, seen.both), "gppl": w.gppl(seen.cam)}
    panels = [
        p.over(f"{name}: {float(losses.area_loss(map)):.2f}", seen.image, map[0])
        for name, map in maps.items()
    ]
    p.save("area_loss", panels, cell=1.8, ratio=0.7, most=25_000)


def draw_entropy_loss() -> None:
    seen, map, steps = p.look(p.MOTORCYCLE), _probability(), torch.linspace(0, 1, 201)
    curve = losses.entropy_loss(steps, reduction="none")
    panels = [
        p.over("p", seen.image, map[0]),
        _costs("H(p) of each pixel", losses.entropy_loss(map, reduction="none")[0]),
        p.curves("H(p)", {"": (steps, curve)}, "p"),
    ]
    p.save("entropy_loss", panels, cell=1.9, ratio=0.72, most=25_000)


def draw_weighted_entropy_loss() -> None:
    seen, map, steps = p.look(p.MOTORCYCLE), _probability(), torch.linspace(0, 1, 201)
    both = {"H(p)": losses.entropy_loss, "weighted": losses.weighted_entropy_loss}
    lines = {name: (steps, loss(steps, reduction="none")) for name, loss in both.items()}
    after = _descended(map)
    counts = {name: _histogram(each) for name, each in (("before", map), ("after", after))}
    panels = [
        p.over("p", seen.image, map[0]),
        p.over(f"p after {STEPS} steps", seen.image, after[0]),
        p.curves("loss of a pixel", lines, "p", room=1.35),
        p.curves("fraction of the pixels", counts, "p"),
    ]
    p.save("weighted_entropy_loss", panels, columns=2, cell=2.6, ratio=0.68, most=40_000)


def draw_restricted_activation_loss() -> None:
    seen, logits = p.look(p.MOTORCYCLE), _logit_map(p.MOTORCYCLE)
    spread = logits.softmax(1).std(1, correction=0)[0]
    levels = torch.full_like(spread, 0.5)
    levels = levels.masked_fill(spread > THRESHOLD + GAP, 1).masked_fill(spread < THRESHOLD, 0)
    probability = logits[0, seen.label].sigmoid()
    each = logits[0].flatten(1).T[..., None, None]  # every pixel as an image of its own
    labels = torch.full((len(each),), seen.label)
    cost = losses.restricted_activation_loss(
        each, labels, threshold=THRESHOLD, gap=GAP, reduction="none"
    )
    panels = [
        _costs("v: std over classes", spread, round(float(spread.amax()), 3)),
        p.stretched(p.cells("v and the thresholds", levels, p.LEVELS), seen.image),
        _costs("p of the label", probability, 1),
        _costs("loss of each pixel", cost.view_as(spread), 1),
    ]
    p.save("restricted_activation_loss", panels, columns=2, cell=2.5, ratio=0.7, most=25_000)


def _probability() -> Tensor:
    seen = p.look(p.MOTORCYCLE)
    return w.scg(seen.cam, seen.both)


def _costs(title: str, map: Tensor, high: float = 0.7) -> p.Panel:
    """A map cell by cell, as wide and high as the photograph; ln 2 is just below 0.7."""
    return p.stretched(p.values(title, map, 0, high), p.photograph(p.MOTORCYCLE))


def _descended(map: Tensor) -> Tensor:
    """Return the map after steps down the weighted entropy alone."""
    logits = map.logit(1e-3).requires_grad_()
    for _ in range(STEPS):
        loss = losses.weighted_entropy_loss(logits, logits=True, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, logits)
        logits = (logits - RATE * gradient).detach().requires_grad_()
    return logits.detach().sigmoid()


def _histogram(map: Tensor) -> tuple[Tensor, Tensor]:
    counts = torch.histc(map, 20, 0, 1) / map.numel()
    return (torch.arange(20) + 0.5) / 20, counts


def _logit_map(name: str) -> Tensor:
    """Return the class scores of each pixel, (1, K, h, w)."""
    found, layers = p.classifier()
    with torch.no_grad(), capture(found.model, layers.cam) as outputs:
        found.model(p.pixels(name))
        head = found.model.get_submodule(layers.head)
        return head(outputs[layers.cam].movedim(1, 3)).movedim(3, 1)
