"""``wsolrefine layers``: what is found in a classifier."""

from __future__ import annotations

from typing import Annotated

import torch
import typer
from PIL import Image

from wsolrefine.cli.changes import Checkpoint, ClassNames, InputSize, Mean, Std, changes_of
from wsolrefine.cli.console import stop
from wsolrefine.cli.layers.found import Found, find
from wsolrefine.cli.layers.table import show
from wsolrefine.cli.loading import load_model, own_error
from wsolrefine.models import DEFAULT_CLASSIFIER


def layers(
    model: Annotated[
        str,
        typer.Argument(
            metavar="[MODEL]",
            help="Classifier: efficientnet-lite0 (default), timm:NAME, torchvision:NAME or "
            "package.module:callable.",
            show_default=False,
        ),
    ] = DEFAULT_CLASSIFIER,
    checkpoint: Checkpoint = None,
    class_names: ClassNames = None,
    input_size: InputSize = None,
    mean: Mean = None,
    std: Std = None,
) -> None:
    """Show the stages of a classifier, and the layers that maps are computed from.

    [bold]Examples[/bold]

        wsolrefine layers

        wsolrefine layers timm:convnext_tiny --input-size 384

        wsolrefine layers torchvision:resnet50 --checkpoint best.pt

    [bold]Results[/bold]

    A table: the last layer of each stage with its grid and channels, whether
    its features are used (choose others with refine --layer), the layer of the
    CAM and the head. Below it, how the CAM is computed.
    """
    changes = changes_of(checkpoint, class_names, input_size, mean, std)
    changes.settings()  # stops where a file cannot be read
    classifier = load_model(model, "MODEL", changes)
    try:
        gray = classifier.preprocess(Image.new("RGB", (64, 64), "gray"))
        found: Found = find(classifier, torch.as_tensor(gray)[None])
    except Exception as error:  # the model may be the user's code, and raise anything
        stop(f"MODEL {model}: {own_error(error)}")
    show(found)
