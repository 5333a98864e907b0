"""Line and bar charts of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wsolrefine._options import check_kind, check_number, check_text
from wsolrefine.viz._arrays import as_array
from wsolrefine.viz._figure import figure_path


def plot_curves(
    series: Mapping[str, tuple[Any, Any]],
    path: str | Path,
    *,
    x_label: str,
    y_label: str,
    title: str | None = None,
    marks: Mapping[str, float] | None = None,
) -> None:
    r"""Save lines over a common axis, each with one point marked and named in the legend.

    Args:
        series: name to x and y: sequences, arrays or tensors of one length. NaN leaves a gap.
        path: file to write, format by suffix (png, pdf, svg, jpg, webp).
        x_label: what x is, with its unit.
        y_label: what y is, with its unit.
        title: text above the axes.
        marks: name to the x of the point to mark, or of the line's nearest point; lines that are
            not named get no mark. None marks the highest point of each line, the first on ties.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: no series, x and y of different lengths or empty, a mark of an unknown name, or
            a suffix that matplotlib cannot write.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "lines.png"
        ...     plot_curves({"CAM": ([0, 1], [0.2, 0.5])}, path, x_label="x", y_label="y")
        ...     path.read_bytes()[:4]
        b'\x89PNG'

    """
    file = figure_path(path)
    x_label, y_label = check_text("x_label", x_label), check_text("y_label", y_label)
    if title is not None:
        title = check_text("title", title)
    lines = {name: _line(name, values) for name, values in _named("series", series)}
    if not lines:
        raise ValueError("series: expected at least one, got none")
    if marks is not None:
        marks = {
            name: check_number("marks", at, finite=False) for name, at in _named("marks", marks)
        }
    unknown = sorted(set(marks or ()) - set(lines))
    if unknown:
        raise ValueError(f"marks: expected names of series, got {unknown[0]!r}")
    figure, axes = _page((6.4, 4.2), title)
    for index, (name, (x, y)) in enumerate(lines.items()):
        # Each line is thinner than those below it, so that coinciding lines are all visible.
        width = 1.5 + min(3.0, 0.8 * (len(lines) - 1 - index))
        (drawn,) = axes.plot(x, y, linewidth=width)
        at = _marked(x, y, None if marks is None else marks.get(name, np.nan))
        label = name if at is None else f"{name}: {y[at]:.3g} at {x[at]:.3g}"
        # A name that begins with an underscore would be left out of the legend.
        drawn.set_label(" " + label if label.startswith("_") else label)
        if at is not None:
            axes.plot(x[at], y[at], "o", color=drawn.get_color(), markersize=4 + width, label="_")
    axes.set_xlabel(x_label, parse_math=False)
    axes.set_ylabel(y_label, parse_math=False)
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    axes.grid(alpha=0.3)
    for text in axes.legend(frameon=False, fontsize=9).get_texts():
        text.set_parse_math(False)
    figure.savefig(file)


def plot_bars(
    values: Mapping[str, float],
    path: str | Path,
    *,
    x_label: str,
    title: str | None = None,
) -> None:
    r"""Save horizontal bars, the first on top, each with its value at its end.

    Args:
        values: name to value, at least 0.
        path: file to write, format by suffix (png, pdf, svg, jpg, webp).
        x_label: what the values are, with their unit.
        title: text above the bars.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: no value, one that is negative or not finite, or a suffix that matplotlib cannot
            write.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "bars.png"
        ...     plot_bars({"right": 0.7, "part": 0.3}, path, x_label="share of the images")
        ...     path.read_bytes()[:4]
        b'\x89PNG'

    """
    file = figure_path(path)
    x_label = check_text("x_label", x_label)
    if title is not None:
        title = check_text("title", title)
    bars_of = dict(_named("values", values))
    if not bars_of:
        raise ValueError("values: expected at least one, got none")
    for name, value in bars_of.items():
        try:
            bars_of[name] = check_number("values", value, low=0)
        except ValueError as error:
            expected = f"values: expected finite numbers >= 0 in {name!r}"
            raise ValueError(f"{expected}, got {value}") from error
    values = bars_of
    figure, axes = _page((6.4, 0.9 + 0.34 * len(values)), title)
    places: Sequence[int] = range(len(values))
    bars = axes.barh(places, list(values.values()), color="#1971c2", height=0.7)
    axes.bar_label(bars, fmt="{:.3g}", padding=3, fontsize=9)
    axes.set_yticks(places, list(values), parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, max(1e-9, max(values.values())) * 1.12)  # room for the number
    axes.set_xlabel(x_label, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file)


def _named(argument: str, values: Any) -> list[tuple[str, Any]]:
    """Return the names of a mapping with their values, or raise."""
    check_kind(argument, values, Mapping, "a mapping of names")
    return [
        (check_kind(argument, name, str, "names that are strings"), value)
        for name, value in values.items()
    ]


def _line(name: str, values: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    if not isinstance(values, (list, tuple)) or len(values) != 2:
        kind = type(values).__name__
        raise TypeError(f"series: expected a pair of x and y in {name!r}, got {kind}")
    across, up = (as_array("series", value).astype(np.float64) for value in values)
    if across.ndim != 1 or across.shape != up.shape or not len(across):
        shapes = f"{across.shape} and {up.shape}"
        raise ValueError(f"series: expected x and y of one length in {name!r}, got {shapes}")
    return across, up


def _marked(x: npt.NDArray[Any], y: npt.NDArray[Any], wanted: float | None) -> int | None:
    """Return the index of the highest point, or of the one nearest to the wanted x, if any."""
    if wanted is None:
        return None if np.isnan(y).all() else int(np.nanargmax(y))
    return None if np.isnan(wanted) else int(np.abs(x - wanted).argmin())


def _page(size: tuple[float, float], title: str | None) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if title:
        axes.set_title(title, fontsize=11, parse_math=False)
    return figure, axes
