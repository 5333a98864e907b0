"""What the images share: photographs, the classifier's outputs for them, panels side by side."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator
from PIL import Image
from torch import Tensor

from wsolrefine import Classifier, Layers, class_activation, find_layers, load_classifier
from wsolrefine.viz import overlay

FOLDER = Path(__file__).parents[1] / "img"
MAX_BYTES = 60_000
OBJECT, UNDECIDED, GROUND = "#e8590c", "#ced4da", "#1971c2"
LEVELS = [(1.0, OBJECT, "object"), (0.5, UNDECIDED, "undecided"), (0.0, GROUND, "background")]
PASTEL = ["#f1f3f5", "#ffc078", "#8ce99a", "#74c0fc", "#e599f7", "#ffe066", "#ff8787", "#66d9e8"]
LINES = (GROUND, OBJECT, "#2b8a3e", "#862e9c")
MOTORCYCLE, CUP, CAT = "motorcycle_left.png", "coffee.png", "chelsea.png"
Panel = Callable[[Axes], None]


class Seen(NamedTuple):
    """A photograph and the classifier's outputs for it; B = 1 everywhere."""

    image: np.ndarray  # (H, W, 3) uint8
    label: int
    cam: Tensor  # (1, 7, 7)
    features: list[Tensor]  # one (1, C, 14, 14)
    both: list[Tensor]  # that and the finer stage before it, as find_layers has them


@functools.cache
def classifier() -> tuple[Classifier, Layers]:
    found = load_classifier()
    return found, find_layers(found.model, torch.zeros(1, 3, 224, 224))


def photograph_path(name: str) -> Path:
    """Return the file of one of the photographs that are installed with scikit-image."""
    return Path(importlib.util.find_spec("skimage").origin).parent / "data" / name


def photograph(name: str) -> np.ndarray:
    return np.asarray(Image.open(photograph_path(name)).convert("RGB"))


def pixels(name: str) -> Tensor:
    return classifier()[0].preprocess(Image.fromarray(photograph(name)))[None]


def colors(name: str, side: int = 112) -> Tensor:
    """Read a photograph in small, (1, 3, side, side) in [0, 1]."""
    small = Image.fromarray(photograph(name)).resize((side, side), Image.Resampling.BOX)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)[None] / 255


@functools.cache
def look(name: str) -> Seen:
    loaded, layers = classifier()
    found = class_activation(loaded.model, pixels(name), layers=layers)
    return Seen(
        photograph(name), int(found.labels), found.cam[:, 0], found.features[-1:], found.features
    )


def resized(maps: Tensor, side: int) -> Tensor:
    """Resize maps (B, h, w) to (B, side, side), as the functions do."""
    return F.interpolate(maps[:, None], (side, side), mode="bilinear")[:, 0]


def enlarge(map: Tensor, image: np.ndarray) -> np.ndarray:
    """Resize one map (h, w) to the photograph, as the command does."""
    size = image.shape[:2]
    return F.interpolate(map[None, None].float(), size, mode="bilinear")[0, 0].numpy()


def picture(title: str, image: np.ndarray) -> Panel:
    def draw(axes: Axes) -> None:
        axes.imshow(image)
        axes.set_title(title)

    return draw


def over(title: str, image: np.ndarray, map: Tensor) -> Panel:
    """A map (h, w) in [0, 1] laid over its photograph."""
    return picture(title, overlay(image, enlarge(map, image), 0.6))


def values(title: str, map: Tensor, low: float = 0, high: float = 1) -> Panel:
    """A map (h, w) cell by cell, with its scale."""

    def draw(axes: Axes) -> None:
        shown = axes.imshow(map, cmap="turbo", vmin=low, vmax=high)
        beside = axes.inset_axes((1.02, 0, 0.05, 1))
        axes.figure.colorbar(shown, cax=beside, ticks=[low, high]).outline.set_visible(False)
        beside.tick_params(labelsize=7)
        axes.set_title(title)

    return draw


def cells(title: str, labels: Tensor, names: Sequence[tuple[float, str, str]]) -> Panel:
    """A map of few values; ``names`` lists value, color and text of each."""

    def draw(axes: Axes) -> None:
        colors = np.zeros((*labels.shape, 3))
        for value, color, _ in names:
            colors[(labels == value).numpy()] = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        axes.imshow(colors)
        axes.set_title(title)
        legend(axes, [(color, text) for _, color, text in names])

    return draw


def stretched(panel: Panel, image: np.ndarray) -> Panel:
    """Give a panel of square cells the proportions of the photograph."""

    def draw(axes: Axes) -> None:
        panel(axes)
        axes.set_aspect(image.shape[0] / image.shape[1])

    return draw


def numbered(
    title: str,
    numbers: Tensor,
    text: Callable[[int], str] = lambda value: str(value or ""),
    color: Callable[[int], int] = lambda value: value,
) -> Panel:
    """A few large cells, each with its number; ``color`` picks from the palette."""

    def draw(axes: Axes) -> None:
        for (y, x), value in np.ndenumerate(numbers.numpy()):
            face = PASTEL[color(int(value))]
            axes.add_patch(Rectangle((x, y), 1, 1, fc=face, ec="white"))
            axes.text(x + 0.5, y + 0.55, text(int(value)), ha="center", va="center", fontsize=8)
        height, width = numbers.shape
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", title=title)

    return draw


def curves(
    title: str,
    lines: Mapping[str, tuple[Any, Any]],
    x_label: str,
    *,
    marks: Mapping[str, tuple[Any, Any]] | None = None,
    room: float = 1.08,
) -> Panel:
    """Lines of x and y by name, and points by name; a single line needs no name.

    ``room`` is how high the axes are, by the highest value: more makes place for the legend.
    """

    def draw(axes: Axes) -> None:
        for (name, (x, y)), color in zip(lines.items(), LINES, strict=False):
            axes.plot(x, y, color=color, lw=2, label=name)
        for name, point in (marks or {}).items():
            axes.plot(*point, "o", color="black", ms=5, label=name)
        axes.set_title(title)
        axes.set_xlabel(x_label, fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.tick_params(labelsize=8)
        axes.set_ylim(0, room * axes.get_ylim()[1])
        axes.grid(color="0.9")
        axes.spines[["left", "bottom"]].set_visible(True)
        if len(lines) > 1 or marks:
            axes.legend(fontsize=8, frameon=False, handlelength=1.2)

    return draw


def legend(axes: Axes, entries: Sequence[tuple[str, str]], y: float = -0.01) -> None:
    """List colors and what they mean, below the panel."""
    patches = [
        Patch(facecolor=color, edgecolor="0.4", lw=0.5, label=text) for color, text in entries
    ]
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, y), "ncols": len(patches)}
    small = {"handlelength": 1, "handleheight": 1, "columnspacing": 0.9, "handletextpad": 0.4}
    axes.legend(handles=patches, frameon=False, fontsize=7, **below, **small)


def save(
    name: str,
    panels: Sequence[Panel],
    *,
    columns: int | None = None,
    cell: float = 2.1,
    ratio: float = 1.0,
    most: int = MAX_BYTES,
) -> None:
    """Draw panels side by side into docs/img/NAME.webp, of at most ``most`` bytes.

    ``ratio`` is a panel's height by width.
    """
    columns = columns or len(panels)
    rows = -(-len(panels) // columns)
    size = (cell * columns, rows * (cell * ratio + 0.3))
    figure = Figure(figsize=size, dpi=110, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.01, hspace=0.01)
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.title.set_fontsize(9)
        for spine in axes.spines.values():
            spine.set_visible(False)
        panel(axes)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.04)
    save_image(name, Image.open(buffer).convert("RGB"), most)


def save_image(name: str, drawn: Image.Image, most: int = MAX_BYTES) -> None:
    """Save an image as docs/img/NAME.webp, of at most ``most`` bytes."""
    path = FOLDER / f"{name}.webp"
    FOLDER.mkdir(exist_ok=True)
    for quality in (85, 75, 65, 55):
        drawn.save(path, quality=quality, method=6)
        if path.stat().st_size <= most:
            return
    raise ValueError(f"{path.name}: expected at most {most} bytes, got {path.stat().st_size}")
