"""Files that figures are saved to."""

from __future__ import annotations

from pathlib import Path

from wsolrefine._options import check_path


def figure_path(path: str | Path) -> str:
    """Return the path of a figure as a string, or raise unless matplotlib can write such a file.

    A path without a suffix gets matplotlib's own, ``.png``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    file = check_path("path", path)
    suffix = Path(file).suffix.lower().removeprefix(".")
    known = FigureCanvasAgg.get_supported_filetypes()
    if suffix and suffix not in known:
        raise ValueError(f"path: expected a suffix out of {', '.join(sorted(known))}, got {file!r}")
    return file
