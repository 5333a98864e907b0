"""The layers of a classifier on the terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from wsolrefine.cli.console import output_console, printable
from wsolrefine.cli.layers.found import Found


def show(found: Found) -> None:
    """Print the layers, and how the CAM is computed."""
    console = output_console()
    height, width = found.size
    table = Table(title=printable(f"{found.name}, {height} x {width} pixels", console))
    table.add_column("stage", justify="right")
    table.add_column("layer", overflow="fold")
    table.add_column("kind", overflow="fold")
    for name in ("grid", "channels"):
        table.add_column(name, justify="right")
    table.add_column("used for")
    for layer in found.layers:
        table.add_row(
            "" if layer.stage is None else str(layer.stage),
            printable(layer.name, console),
            printable(layer.kind, console),
            "" if layer.grid is None else f"{layer.grid[0]} x {layer.grid[1]}",
            "" if layer.channels is None else str(layer.channels),
            layer.use,
        )
    console.print(table)
    if found.head is None:
        how = f"CAM: Grad-CAM at {found.cam}, one backward pass for each class"
    else:
        how = f"CAM: maps of {found.cam}, weighted by the weights of {found.head}; no backward pass"
    console.print(Text.assemble(printable(how, console)), soft_wrap=True)
