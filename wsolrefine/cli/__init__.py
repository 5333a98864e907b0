"""The ``wsolrefine`` command, and what it is made of."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec


def _missing() -> None:
    """Replace the command if its libraries are not installed."""
    raise SystemExit("the wsolrefine command needs more packages: pip install 'wsolrefine[cli]'")


def _build() -> Callable[..., object]:
    if any(
        find_spec(name) is None
        for name in ("typer", "rich", "PIL", "matplotlib", "pycocotools", "cv2")
    ):
        return _missing
    import typer

    from wsolrefine.cli.browser_app.command import app as browser_app
    from wsolrefine.cli.compare.command import compare
    from wsolrefine.cli.demo.command import demo
    from wsolrefine.cli.evaluate.command import evaluate
    from wsolrefine.cli.export.command import export
    from wsolrefine.cli.export_model.command import export_model
    from wsolrefine.cli.general import general, with_quiet
    from wsolrefine.cli.guard import Guarded
    from wsolrefine.cli.label.command import label
    from wsolrefine.cli.layers.command import layers
    from wsolrefine.cli.merge.command import merge
    from wsolrefine.cli.refine.command import refine
    from wsolrefine.cli.report.command import report
    from wsolrefine.cli.threshold.command import threshold
    from wsolrefine.cli.train.command import train

    built = typer.Typer(
        name="wsolrefine",
        cls=Guarded,
        help="Turn class activation maps of a classifier into heatmaps, masks and boxes of whole "
        "objects.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    built.callback()(general)
    for command in (
        *(demo, refine, layers, label, threshold, merge, export, export_model),
        *(evaluate, report, compare, train),
    ):
        built.command()(with_quiet(command))
    built.command()(browser_app)  # it prints its address with --quiet, too
    return built


app = _build()
