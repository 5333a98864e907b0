"""What ``train`` prints before and after a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from wsolrefine.cli.changes import OPTIONS
from wsolrefine.cli.console import Problems, list_problems, output_console, printable
from wsolrefine.cli.train.build import Built
from wsolrefine.cli.train.checkpoints import Whole
from wsolrefine.cli.train.options import Options, command_to_resume
from wsolrefine.data.reader import Reader
from wsolrefine.recipes import Distill


def print_run(options: Options, settings: dict[str, Any], reader: Reader, built: Built) -> None:
    """Print what is trained on what."""
    console, recipe = output_console(), built.recipe
    split = f", {settings['split']}" if settings["split"] else ""
    images, taught = str(len(reader)), {}
    if isinstance(recipe, Distill) and recipe.teacher is not None:
        taught = {"teacher": recipe.teacher.title}
    else:  # which learns the classes of the images
        images += f" of {built.metadata.num_classes} classes"
    changes = options.changes.arguments()
    files = {OPTIONS[name][2:].replace("-", " "): str(path) for name, path in changes.items()}
    lines = {
        "recipe": f"{options.recipe}, {recipe.epochs} epochs",
        "data set": f"{settings['dataset']} ({options.root or settings['root']}{split})",
        "images": images,
        "pixels": str(reader.policy),
        "backbone": f"{settings['backbone']}, {', '.join(built.metadata.layers)}",
        **files,
        **taught,
        "hyper-parameters": ", ".join(f"{k} {v}" for k, v in recipe.hparams.items()),
    }
    table = Table.grid(padding=(0, 2))
    for name, value in lines.items():
        table.add_row(name, printable(value, console))
    console.print(table)


def print_file(path: Path) -> None:
    """Print the path of the trained recipe."""
    console = output_console()
    console.print(Text.assemble("Wrote ", printable(path, console)), soft_wrap=True)


def print_resumed(whole: Whole | None, problems: Problems) -> None:
    """Print which checkpoints cannot be used, and where the run continues."""
    list_problems(problems)
    none = "No checkpoint is whole." if problems else "There is no checkpoint yet."
    after = f"Continuing after epoch {whole.epochs}." if whole else none
    start = "" if whole else " Continuing from the beginning."
    output_console().print(f"{after}{start}")


def exit_interrupted(options: Options, finished: int, epochs: int) -> NoReturn:
    """Print how far an interrupted run came and how to resume it, and exit."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"Stopped after {finished} of {epochs} epochs.")
    console.print(Text.assemble("To continue: ", printable(command_to_resume(options), console)))
    raise SystemExit(130)
