"""How results are drawn: on axes of matplotlib, which is imported when they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from wsolrefine._options import kind_of


def axes_for(needed_by: str, ax: Any) -> Any:
    """Return the axes to draw on: those given, or those of a new figure.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: ``ax`` is neither axes of matplotlib nor None.

    """
    try:
        from matplotlib import pyplot
        from matplotlib.axes import Axes
    except ModuleNotFoundError as error:
        raise ImportError(f"{needed_by} needs matplotlib: pip install matplotlib") from error
    if ax is None:
        return pyplot.subplots()[1]
    if not isinstance(ax, Axes):
        raise TypeError(f"ax: expected axes of matplotlib or None, got {kind_of(ax)}")
    return ax


def check_results(val: Any) -> None:
    """Raise unless ``val`` is what a metric returned, or a list of such values of one kind."""
    steps = val if type(val) in (list, tuple) else [val]
    kinds = [_kind(step) for step in steps]
    if not kinds or None in kinds or any(kind != kinds[0] for kind in kinds):
        expected = "the result of a metric, or a list of its results"
        got = val if not kinds else kind_of(val)
        raise TypeError(f"val: expected {expected}, got {got}")


def _kind(result: Any) -> Any:
    """Return what two results must share: being a scalar, or the names of their scalars."""
    scalars = result if isinstance(result, dict) else {None: result}
    known = all(isinstance(value, Tensor) and value.ndim == 0 for value in scalars.values())
    return set(scalars) if scalars and known else None


def draw_curve(
    axes: Any, x: Tensor, y: Tensor, label: str, *, marked: tuple[Tensor, Tensor] | None = None
) -> None:
    """Draw a line, and mark a point of it."""
    (line,) = axes.plot(x.cpu(), y.cpu(), linewidth=2, label=label)
    if marked is not None:
        axes.plot(*(value.cpu() for value in marked), marker="o", color=line.get_color())


def draw_precision(
    axes: Any,
    recall: Tensor,
    precision: Tensor,
    title: str,
    *,
    marked: tuple[Tensor, Tensor] | None = None,
) -> None:
    """Draw precision over recall."""
    draw_curve(axes, recall, precision, "", marked=marked)
    label_axes(axes, "recall", "precision", title)
    axes.set_xlim(-0.03, 1.03)


def draw_bars(axes: Any, fractions: Mapping[str, Tensor]) -> None:
    """Draw a bar with its percentage for each fraction."""
    values = [value.item() for value in fractions.values()]
    bars = axes.bar(list(fractions), values, width=0.6)
    axes.bar_label(bars, labels=[f"{100 * value:.1f}%" for value in values], padding=2)
    axes.tick_params("x", labelrotation=20)
    label_axes(axes, "", "fraction of images")


def label_axes(axes: Any, x: str, y: str, title: str | None = None) -> None:
    """Say what is drawn. Everything drawn here is a fraction."""
    axes.set(xlabel=x, ylabel=y, ylim=(-0.03, 1.08))
    axes.grid(visible=True, alpha=0.4)
    if title is not None:
        axes.set_title(title)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
