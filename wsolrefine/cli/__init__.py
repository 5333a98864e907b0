"""The ``wsolrefine`` command: ``demo``, ``refine``, ``evaluate``, ``train``, one file each."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec


def _missing() -> None:
    """Stand in for the command where its libraries are not installed."""
    raise SystemExit("the wsolrefine command needs its extra: pip install 'wsolrefine[cli]'")


def _build() -> Callable[..., object]:
    if any(
        find_spec(name) is None for name in ("typer", "rich", "PIL", "matplotlib", "pycocotools")
    ):
        return _missing
    import typer

    from wsolrefine.cli.demo import demo
    from wsolrefine.cli.evaluate import evaluate
    from wsolrefine.cli.refine import refine
    from wsolrefine.cli.train import train

    built = typer.Typer(
        name="wsolrefine",
        help="From a classifier's class activation map to the whole object: map, mask, box.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    built.command()(demo)
    built.command()(refine)
    built.command()(evaluate)
    built.command()(train)
    return built


app = _build()
