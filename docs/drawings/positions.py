"""Images of the functions that compare the features of positions."""

from __future__ import annotations

from matplotlib.axes import Axes

import wsolrefine as w
from drawings import panels as p

WHEEL = (9, 3)  # row and column of a cell of the 14 x 14 grid on the motorcycle
GROUND = (12, 12)  # of one beside it


def draw_feature_affinity() -> None:
    seen, side = p.look(p.MOTORCYCLE), 28
    powers = (1, 3)
    maps = [w.feature_affinity(seen.both, size=(side, side), power=power)[0] for power in powers]
    panels: list[p.Panel] = []
    for cell in (WHEEL, GROUND):
        first, pixel = cell == WHEEL, (2 * cell[0] + 1) * side + 2 * cell[1] + 1
        panels.append(_marked(p.picture("position" if first else "", seen.image), cell))
        for power, map in zip(powers, maps, strict=True):
            row = map[pixel].view(side, side)
            title = f"power={power}" if first else ""
            panels.append(_marked(p.over(title, seen.image, row), cell))
    p.save("feature_affinity", panels, columns=3, ratio=0.6, most=35_000)


def draw_label_spreading() -> None:
    panels: list[p.Panel] = []
    for row, name in enumerate((p.MOTORCYCLE, p.CAT)):
        seen, colors = p.look(name), p.colors(name)
        maps = [seen.cam, w.scg(seen.cam, seen.both)]
        shares = [w.label_spreading(seen.cam, seen.both, image) for image in (None, colors)]
        maps += [w.minmax(share) for share in shares]
        titles = ("CAM", "scg", "label_spreading", "with colors")
        panels.append(p.picture("photograph" if row == 0 else "", seen.image))
        for title, map in zip(titles, maps, strict=True):
            panels.append(p.over(title if row == 0 else "", seen.image, map[0]))
    p.save("label_spreading", panels, columns=5, ratio=0.6, most=35_000)


def draw_self_correlation() -> None:
    seen = p.look(p.MOTORCYCLE)
    orders = [w.self_correlation(seen.features, orders=o)[0] for o in ((1,), (2,), (1, 2))]
    panels: list[p.Panel] = []
    for cell in (WHEEL, (2, 7)):
        first = cell == WHEEL
        panels.append(_marked(p.picture("pixel" if first else "", seen.image), cell))
        for title, matrix in zip(("first order", "second order", "maximum"), orders, strict=True):
            map = matrix[14 * cell[0] + cell[1]].view(14, 14)
            panels.append(_marked(p.over(title if first else "", seen.image, map), cell))
    p.save("self_correlation", panels, columns=4, ratio=0.66)


def draw_self_correlation_released() -> None:
    seen, pixel = p.look(p.MOTORCYCLE), 14 * WHEEL[0] + WHEEL[1]
    paper = w.self_correlation(seen.features)[0, pixel].view(14, 14)
    released = w.self_correlation_released(seen.features)[0, :, pixel].view(14, 14)
    panels = [
        p.picture("pixel", seen.image),
        p.over("paper: row", seen.image, w.minmax(paper)),
        p.over("released code: column", seen.image, w.minmax(released)),
    ]
    p.save("self_correlation_released", [_marked(panel, WHEEL) for panel in panels], ratio=0.72)


def draw_ncut() -> None:
    seen = p.look(p.CUP)
    panels = [p.picture("photograph", seen.image), p.over("CAM", seen.image, seen.cam[0])]
    for threshold in (0.1, 0.2, 0.3):
        map = w.ncut(seen.cam, seen.features, threshold=threshold)
        panels.append(p.over(f"threshold={threshold}", seen.image, map[0]))
    p.save("ncut", panels, ratio=0.68, most=30_000)


def draw_pc1() -> None:
    seen = p.look(p.MOTORCYCLE)
    panels = [
        p.picture("photograph", seen.image),
        p.over("CAM", seen.image, seen.cam[0]),
        p.over("pc1", seen.image, w.pc1(seen.cam, seen.features)[0]),
        p.over("pc1 of the negated CAM", seen.image, w.pc1(-seen.cam, seen.features)[0]),
    ]
    p.save("pc1", panels, ratio=0.72, most=30_000)


def _marked(panel: p.Panel, cell: tuple[int, int]) -> p.Panel:
    """Put a cross at a cell of the 14 x 14 grid."""

    def draw(axes: Axes) -> None:
        panel(axes)
        height, width = axes.get_images()[0].get_size()
        x, y = (cell[1] + 0.5) * width / 14, (cell[0] + 0.5) * height / 14
        for color, size in (("black", 11), ("white", 8)):
            axes.plot(x, y, "x", color=color, ms=size, mew=size / 3)

    return draw
