"""``wsolrefine export-model``: a model and a method as one ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsolrefine.cli.changes import Checkpoint, ClassNames, InputSize, Mean, Std, changes_of
from wsolrefine.cli.choice import choose_localizer
from wsolrefine.cli.console import stop
from wsolrefine.cli.options import PARTS, Layer, Model, parse_path, threshold_option
from wsolrefine.localization.graph import EXPORTED
from wsolrefine.localization.masks import check_parts

DEFAULT = "fast"


def export_model(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGES]...",
            help="Photographs on which the file is compared with PyTorch: files, folders and "
            "quoted globs. Default: two generated images.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", parser=parse_path, metavar="FILE", help="A new file."),
    ] = Path("model.onnx"),
    model: Model = None,
    checkpoint: Checkpoint = None,
    class_names: ClassNames = None,
    input_size: InputSize = None,
    mean: Mean = None,
    std: Std = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            autocompletion=lambda: [*EXPORTED],
            help=f"Refinement: {', '.join(EXPORTED)}. balanced and accurate need gradients, which "
            "no exported graph has.",
        ),
    ] = DEFAULT,
    layer: Layer = None,
    threshold: Annotated[float | None, threshold_option("that of the method")] = None,
    parts: Annotated[
        str,
        typer.Option(
            metavar="|".join(PARTS),
            help="Box of the largest component, or of all components together.",
        ),
    ] = PARTS[0],
    top: Annotated[int, typer.Option(min=1, help="Classes of an image.")] = 1,
    tolerance: Annotated[
        float, typer.Option(help="The most by which scores and maps may differ from PyTorch's.")
    ] = 1e-3,
) -> None:
    """Write a model and a method as one ONNX file: images to maps, boxes and scores.

    [bold]Examples[/bold]

        wsolrefine export-model photos --out model.onnx

        wsolrefine export-model --model timm:resnet50 --method scg --top 5

        wsolrefine export-model -m torchvision:resnet50 --checkpoint best.pt

    [bold]Results[/bold]

    The file --out. Before it is kept, ONNX Runtime runs it, and what it gives
    is compared with PyTorch. Size, mean, standard deviation, class names and
    threshold are in its metadata.

    [bold]Exit codes[/bold]

    0 written; 1 something could not be read or written, or the file differs
    from PyTorch; 2 an invalid option, or a model that cannot be exported; 130
    stopped by Ctrl-C, nothing is left.
    """
    if method not in EXPORTED:
        stop(f"--method: expected one of {', '.join(EXPORTED)}, got {method!r:.80}")
    if parts not in PARTS:
        stop(f"--parts: expected one of {', '.join(PARTS)}, got {parts!r:.80}")
    changes = changes_of(checkpoint, class_names, input_size, mean, std)
    choice = choose_localizer(model, None, method, layer, threshold, changes)
    from wsolrefine.cli.export_model.run import run

    run(images or [], out, choice, check_parts(parts), top, tolerance)
