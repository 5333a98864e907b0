"""Images of the functions that return maps."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse
from torch import Tensor

import wsolrefine as w
from drawings import panels as p
from wsolrefine import capture


def draw_scg() -> None:
    seen = p.look(p.MOTORCYCLE)
    cam = p.resized(seen.cam, 14)[0]
    rows = w.self_correlation(seen.features)[0]
    levels = torch.full((14, 14), 0.5).masked_fill(cam > 0.6, 1).masked_fill(cam < 0.3, 0)
    positive, negative = (rows[s.flatten()].mean(0).view(14, 14) for s in (cam > 0.6, cam < 0.3))
    panels = [
        p.picture("photograph", seen.image),
        p.over("CAM", seen.image, seen.cam[0]),
        p.stretched(p.cells("confident pixels", levels, p.LEVELS), seen.image),
        p.over("O: mean over object", seen.image, positive),
        p.over("B: mean over background", seen.image, negative),
        p.over("ReLU(O - B), min-maxed", seen.image, w.scg(seen.cam, seen.features)[0]),
    ]
    p.save("scg", panels, columns=3, cell=2.4, ratio=0.72)


def draw_scg_released() -> None:
    panels: list[p.Panel] = []
    for row, name in enumerate((p.MOTORCYCLE, p.CUP, p.CAT)):
        seen = p.look(name)
        maps = [f(seen.cam, seen.features) for f in (w.scg, w.scg_released)]
        titles = ("CAM", "scg", "scg_released") if row == 0 else [""] * 3
        for title, map in zip(titles, [seen.cam, *maps], strict=True):
            panels.append(p.over(title, seen.image, map[0]))
    p.save("scg_released", panels, columns=3, ratio=0.62)


def draw_sem() -> None:
    seen = p.look(p.CUP)
    panels = [p.over("CAM", seen.image, seen.cam[0])]
    for seeds in (5, 15, 60, 150):
        refined = w.sem(seen.cam, seen.features, num_seeds=seeds)
        panels.append(p.over(f"num_seeds={seeds}", seen.image, refined[0]))
    p.save("sem", panels, ratio=0.68)


def draw_gppl() -> None:
    seen = p.look(p.CUP)
    cam = p.resized(seen.cam, 56)
    prior = w.gaussian_map(w.fit_gaussian(cam), (56, 56))
    panels = [
        p.picture("photograph", seen.image),
        p.over("CAM", seen.image, cam[0]),
        p.over("its Gaussian", seen.image, prior[0]),
        p.over("gppl: the larger of both", seen.image, w.gppl(cam)[0]),
    ]
    p.save("gppl", panels, ratio=0.68)


def draw_gppl_released() -> None:
    seen = p.look(p.MOTORCYCLE)
    cam = p.resized(seen.cam, 256)
    band = cam.where((cam >= 0.1) & (cam <= 0.5), 0.0)
    panels = [
        p.over("CAM", seen.image, cam[0]),
        p.over("values from 0.1 to 0.5", seen.image, band[0]),
        p.over("gppl_released", seen.image, w.gppl_released(seen.cam)[0]),
        p.over("gppl, the paper", seen.image, w.gppl(cam)[0]),
    ]
    p.save("gppl_released", panels, ratio=0.72)


def draw_multiply_maps() -> None:
    seen = p.look(p.MOTORCYCLE)
    maps = [seen.cam, w.scg(seen.cam, seen.features)]
    panels = [
        p.picture("photograph", seen.image),
        p.over("CAM, 7 x 7", seen.image, maps[0][0]),
        p.over("scg, 14 x 14", seen.image, maps[1][0]),
        p.over("multiply_maps", seen.image, w.multiply_maps(maps)[0]),
        p.over("powers=[0.3, 1]", seen.image, w.multiply_maps(maps, powers=[0.3, 1])[0]),
    ]
    p.save("multiply_maps", panels, ratio=0.72)


def draw_pamr() -> None:
    panels: list[p.Panel] = []
    for row, name in enumerate((p.MOTORCYCLE, p.CUP)):
        seen = p.look(name)
        map = w.scg(seen.cam, seen.both)
        panels.append(p.picture("photograph" if row == 0 else "", seen.image))
        for iterations in (0, 1, 10):
            title = f"iterations={iterations}" if row == 0 else ""
            drawn = w.pamr(map, p.colors(name), iterations=iterations)
            panels.append(p.over(title, seen.image, drawn[0]))
    p.save("pamr", panels, columns=4, ratio=0.6, most=35_000)


def draw_minmax() -> None:
    found, layers = p.classifier()
    with torch.no_grad(), capture(found.model, layers.cam) as outputs:
        found.model(p.pixels(p.CUP))
    weight = found.model.get_submodule(layers.head).weight.detach()[p.look(p.CUP).label]
    scores = torch.einsum("c,chw->hw", weight, outputs[layers.cam][0])
    flat = 3 + 2.5e-7 * torch.randint(-1, 2, (7, 7))
    noise = (flat - flat.amin()) / (flat.amax() - flat.amin())
    panels = [
        p.values(
            "class scores", scores, round(float(scores.amin()), 1), round(float(scores.amax()), 1)
        ),
        p.values("minmax", w.minmax(scores)),
        p.values("3, rounding errors", flat, 0, 6),
        p.values("plain min-max", noise),
        p.values("minmax", w.minmax(flat)),
    ]
    p.save("minmax", panels, cell=1.8)


def draw_fit_gaussian() -> None:
    panels = []
    for title, name in (("motorcycle", p.MOTORCYCLE), ("cup", p.CUP), ("cat", p.CAT)):
        seen = p.look(name)
        gaussian = w.fit_gaussian(torch.from_numpy(p.enlarge(seen.cam[0], seen.image)))
        panels.append(_outlined(p.over(title, seen.image, seen.cam[0]), gaussian))
    p.save("fit_gaussian", panels, ratio=0.7)


def draw_gaussian_map() -> None:
    shapes = {
        "round": [[20.0, 0.0], [0.0, 20.0]],
        "tilted": [[60.0, 25.0], [25.0, 15.0]],
        "singular: on a line": [[60.0, 0.0], [0.0, 0.0]],
    }
    mean, size = torch.tensor([15.0, 10.0]), (21, 31)
    panels = [
        p.values(title, w.gaussian_map(w.Gaussian(mean, torch.tensor(covariance)), size))
        for title, covariance in shapes.items()
    ]
    p.save("gaussian_map", panels, cell=2.4, ratio=0.7)


def _outlined(panel: p.Panel, gaussian: w.Gaussian) -> p.Panel:
    """Draw the mean of a Gaussian and the ellipses of one and two standard deviations."""

    def draw(axes: Axes) -> None:
        panel(axes)
        axes.autoscale(False)
        axes.plot(*gaussian.mean.tolist(), "+", color="white", ms=10, mew=2)
        for deviations in (1, 2):
            axes.add_patch(_ellipse(*gaussian, 2 * deviations))

    return draw


def _ellipse(mean: Tensor, covariance: Tensor, diameter: float) -> Ellipse:
    variances, directions = torch.linalg.eigh(covariance)
    width, height = (diameter * variances.sqrt()).tolist()
    angle = float(torch.rad2deg(torch.atan2(directions[1, 0], directions[0, 0])))
    return Ellipse(mean.tolist(), width, height, angle=angle, fill=False, ec="white", lw=1.5)
