"""One run of ``export-model``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from wsolrefine import Localizer, save_onnx
from wsolrefine._options import check_number
from wsolrefine.cli.choice import Choice
from wsolrefine.cli.console import Problems, list_problems, output_console, printable, stop
from wsolrefine.cli.files import MISSING, kind_of, may, system_error, termination_as_interrupt
from wsolrefine.cli.images import quiet
from wsolrefine.cli.loading import own_error
from wsolrefine.cli.refine.inputs import each_once
from wsolrefine.data import UnreadableImage, read_image
from wsolrefine.localization.graph import input_size
from wsolrefine.localization.masks import Parts

MOST = 64
"""Photographs to compare on: they make one batch."""

OPTIONS = {
    "localizer": "--model",
    "method": "--method",
    "model": "--model",
    "size": "--input-size",
    "tolerance": "--tolerance",
    "top": "--top",
}
"""The option behind each argument of :func:`wsolrefine.save_onnx`."""


def run(
    arguments: Sequence[str],
    out: Path,
    choice: Choice,
    parts: Parts,
    top: int,
    tolerance: float,
) -> None:
    """Export a model and a method, and say how closely the file was compared.

    Args:
        arguments: photographs to compare on: files, folders and globs.
        out: the file.
        choice: the model and the method.
        parts: what one object is.
        top: number of classes of an image.
        tolerance: the most by which scores and maps may differ.

    """
    try:
        check_number("tolerance", tolerance, low=0)
    except ValueError as error:
        stop(f"--{error}")
    _check_file(out)
    localizer = choice.load("cpu")
    localizer.parts = parts
    images = _photographs(arguments, localizer)
    try:
        with termination_as_interrupt():  # which leaves no part of a file
            differences = save_onnx(localizer, out, top=top, images=images, tolerance=tolerance)
    except ImportError as error:
        stop(error, 1)
    except OSError as error:
        stop(f"--out: {system_error(error)}", 1)
    except Exception as error:  # the model may be the user's code, and raise anything
        said = own_error(error)
        argument, _, rest = said.partition(": ")
        if argument in ("labels", "boxes"):  # of the file
            stop(said, 1)
        if argument in OPTIONS:
            stop(f"{OPTIONS[argument]}: {rest}", 1 if argument == "tolerance" else 2)
        stop(f"--model: {said}")
    height, width = input_size(localizer, None)
    number = "2 generated images" if images is None else f"{len(images)} photographs"
    console = output_console(soft_wrap=True)
    console.print(
        printable(
            f"{out}: {localizer.name}, {localizer.method}, images of {height} x {width} to {top} "
            f"{'class' if top == 1 else 'classes'}"
        )
    )
    console.print(
        printable(
            f"on {number}, ONNX Runtime differs from PyTorch by at most "
            f"{differences.scores:.1e} in scores, {differences.maps:.1e} in maps (0 to 1) and "
            f"{differences.boxes:g} pixels in boxes"
        )
    )


def _check_file(out: Path) -> None:
    """Stop unless there can be a new file of that name."""
    kind = kind_of(out)
    if kind != MISSING:
        stop(f"--out: expected a new file, got {out} ({'exists' if kind == 'file' else kind})")
    folder = out.absolute().parent
    if kind_of(folder) != "folder":
        stop(f"--out: expected a file in a folder that exists, got {out}")
    if not may(folder, os.W_OK | os.X_OK):
        stop(f"--out: expected a folder that can be written to, got {folder} (permission denied)")


def _photographs(arguments: Sequence[str], localizer: Localizer) -> Tensor | None:
    """Return photographs as a batch for the model; None if none were asked for."""
    if not arguments:
        return None
    problems: Problems = []
    found = each_once(arguments, problems)
    if len(found) > MOST:
        stop(f"IMAGES: expected at most {MOST} to compare on, got {len(found):,}")
    pixels = []
    with quiet():
        for path, _ in found:
            try:
                pixels.append(localizer.prepare_image(read_image(path)))
            except UnreadableImage as error:
                problems.append((str(path), error.reason))
            except OSError as error:
                problems.append((str(path), system_error(error)))
    if problems:
        list_problems(problems)
        stop("no file was written: some images could not be read", 1)
    return localizer.prepare_batch(pixels)
