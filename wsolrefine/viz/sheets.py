"""Tables of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wsolrefine._options import check_kind, check_number, check_texts
from wsolrefine.viz._arrays import as_array, as_image
from wsolrefine.viz._figure import figure_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def contact_sheet(
    rows: Sequence[Sequence[Any]],
    titles: Sequence[str],
    path: str | Path,
    *,
    captions: Sequence[str] | None = None,
    cell: float = 2.2,
) -> None:
    """Save a table of images, one row per subject, each row as tall as its images need.

    Args:
        rows: one sequence of cells per row. A cell is ``(H, W, 3)`` uint8, ``(H, W)`` in [0, 1]
            (shown in the overlay's colors), or None for an empty cell. Short rows are allowed.
        titles: texts above the columns; their number is the number of columns.
        path: file to write, format by suffix (png, pdf, svg, jpg).
        captions: one text per row, written above its first image.
        cell: width of a column in inches, at 150 dots per inch.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: no row or no column, a row longer than ``titles``, ``captions`` of another
            number than ``rows``, a cell of another shape, ``cell`` not in (0, 100], or a suffix
            that matplotlib cannot write.

    """
    file = figure_path(path)
    draw_sheet(rows, titles, captions=captions, cell=cell).savefig(file)


def draw_sheet(
    rows: Sequence[Sequence[Any]],
    titles: Sequence[str],
    *,
    captions: Sequence[str] | None = None,
    cell: float = 2.2,
) -> Figure:
    """Draw the table of :func:`contact_sheet` and return the figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_kind("rows", rows, (list, tuple), "a list of rows")
    titles = check_texts("titles", titles)
    cell = check_number("cell", cell, above=0, high=100)
    for name, some in (("rows", rows), ("titles", titles)):
        if not some:
            raise ValueError(f"{name}: expected at least one, got {some!r}")
    if captions is not None:
        captions = check_texts("captions", captions)
        if len(captions) != len(rows):
            raise ValueError(f"captions: expected {len(rows)} as rows, got {len(captions)}")
    for row in rows:
        check_kind("rows", row, (list, tuple), "a list of rows, each a list of cells")
    table = [[None if value is None else _cell(value) for value in row] for row in rows]
    longest = max(len(row) for row in table)
    if longest > len(titles):
        raise ValueError(f"rows: expected at most {len(titles)} cells as titles, got {longest}")

    # Very wide or very tall images would leave the page empty: keep a row within 1:4 and 4:1.
    shapes = [[value.shape for value in row if value is not None] for row in table]
    heights = [cell * max([min(4.0, max(0.25, h / w)) for h, w, *_ in s] or [1]) for s in shapes]
    gap, head = 0.06, 0.3
    above = [head + (0.16 if captions else 0)] + [0.24 if captions else gap] * (len(rows) - 1)
    size = len(titles) * (cell + gap) + gap, sum(heights) + sum(above) + gap
    figure = Figure(figsize=size, dpi=150)
    FigureCanvasAgg(figure)
    top = size[1]
    for index, (row, height) in enumerate(zip(table, heights, strict=True)):
        top -= above[index] + height
        for column, title in enumerate(titles):
            left = gap + column * (cell + gap)
            axes = figure.add_axes(
                (left / size[0], top / size[1], cell / size[0], height / size[1])
            )
            axes.set_axis_off()
            value = row[column] if column < len(row) else None
            if value is not None:
                axes.imshow(value, cmap="turbo", vmin=0, vmax=1, interpolation="bilinear")
                axes.set_anchor("NW")
            if index == 0:
                middle = (left + cell / 2) / size[0]
                figure.text(middle, 1 - 0.22 / size[1], title, ha="center", fontsize=10)
        if captions:
            at = gap / size[0], (top + height + 0.05) / size[1]
            figure.text(*at, captions[index], fontsize=8, color="0.25", parse_math=False)
    return figure


def _cell(value: Any) -> npt.NDArray[Any]:
    """Check one cell of a contact sheet: an image or a map."""
    array = as_array("rows", value)
    if array.ndim == 2 and 0 not in array.shape:
        return array.astype(np.float32)
    return as_image(array)
