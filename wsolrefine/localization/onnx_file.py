"""The whole way from images to boxes as one ONNX file, which is compared before it is kept."""

from __future__ import annotations

import json
import os
import time
from os import PathLike
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wsolrefine._check import check_tensors
from wsolrefine._options import check_number, check_path
from wsolrefine.localization.graph import LocalizerGraph
from wsolrefine.localization.localizer import Localizer
from wsolrefine.localization.onnx_compared import OnnxDifferences, compared
from wsolrefine.localization.onnx_record import exported, require_packages
from wsolrefine.models import Preprocess

FORMAT = "wsolrefine-onnx-1"


def save_onnx(
    localizer: Localizer,
    path: str | PathLike[str],
    *,
    top: int = 1,
    size: tuple[int, int] | None = None,
    images: Tensor | None = None,
    tolerance: float = 1e-3,
) -> OnnxDifferences:
    """Save a localizer as one ONNX file, from preprocessed images to boxes.

    The file has the input ``images`` ``(batch, 3, H, W)`` and the outputs ``labels``, ``scores``,
    ``maps`` and ``boxes`` of :class:`wsolrefine.LocalizerGraph`, for any number of images. Before
    it is kept, ONNX Runtime runs it, and what it gives is compared with the localizer in PyTorch.
    It is written atomically: if anything fails, ``path`` is as it was.

    The metadata of the file, texts of JSON by name, are ``format``, ``method``, ``threshold``,
    ``parts``, ``model``, ``class_names``, ``size`` (H, W) and, if the localizer's preprocessing is
    a :class:`wsolrefine.Preprocess`, ``mean``, ``std`` and ``interpolation``.

    Args:
        localizer: see :class:`wsolrefine.LocalizerGraph`, which says what can be exported.
        path: the file, usually ``NAME.onnx``.
        top: number of classes an image.
        size: (height, width) of the images; None: what the localizer's preprocessing makes.
        images: preprocessed images to compare on, ``(B, 3, H, W)``; None: two generated ones.
            Photographs show more: of images that a model sees no object in, all maps are weak.
        tolerance: the most by which a score or a map may differ. Labels must be the same, and the
            boxes those of the maps of the file.

    Returns:
        ``OnnxDifferences(scores, maps, boxes)``.

    Raises:
        ImportError: onnx, onnxscript or onnxruntime is not installed (extra ``onnx``), or torch is
            too old to export loops.
        OSError: the file cannot be written.
        TypeError: an argument is of another kind.
        ValueError: see :class:`wsolrefine.LocalizerGraph`; the model cannot be exported; or the
            file differs by more than the tolerance.

    Example:
        >>> from torch import nn
        >>> from wsolrefine import Localizer
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.AdaptiveAvgPool2d(1),
        ...                       nn.Flatten(), nn.Linear(8, 10))
        >>> localizer = Localizer(model, refine="scg")
        >>> found = save_onnx(localizer, "model.onnx", size=(32, 32))  # doctest: +SKIP
        >>> found.maps < 1e-5  # doctest: +SKIP
        True

    """
    target = Path(check_path("path", path))
    tolerance = check_number("tolerance", tolerance, low=0)
    graph = LocalizerGraph(localizer, top=top, size=size)
    height, width = graph.size
    if images is None:
        images = _generated(localizer, graph.size)
    check_tensors(images=(images, "B 3 H W"))
    if tuple(images.shape[-2:]) != graph.size or not images.shape[0]:
        expected = f"images: expected shape (B, 3, {height}, {width}) with B >= 1"
        raise ValueError(f"{expected}, got {tuple(images.shape)}")
    require_packages()
    # The commands know this form of a name: they remove what a killed run has left.
    temporary = target.with_name(f".wsolrefine-tmp-{os.getpid()}-{time.time_ns()}{target.suffix}")
    try:
        temporary.touch(exist_ok=False)
        program = exported(graph, images)
        program.model.metadata_props.update(_metadata(localizer, graph))
        # Beside a file of more than 2 GB, which protobuf cannot hold, its weights would be another.
        program.save(temporary, external_data=False)
        differences = compared(temporary, localizer, graph, images, tolerance)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return differences


def _generated(localizer: Localizer, size: tuple[int, int]) -> Tensor:
    """Return two smooth images in many colors, ``(2, 3, H, W)``, preprocessed if that is known."""
    small = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    smooth = F.interpolate(small, size=size, mode="bicubic").clamp(0, 1)
    if localizer.preprocess is None:
        return localizer.prepare_batch([*smooth])
    from PIL import Image

    pixels = (255 * smooth).byte().permute(0, 2, 3, 1).numpy()
    return localizer.prepare_batch([localizer.prepare_image(Image.fromarray(p)) for p in pixels])


def _metadata(localizer: Localizer, graph: LocalizerGraph) -> dict[str, str]:
    """Return what a program needs that runs the file, as texts of JSON."""
    values: dict[str, Any] = {
        "format": FORMAT,
        "model": localizer.name,
        "method": localizer.method,
        "threshold": graph.threshold,
        "parts": graph.parts,
        "size": graph.size,
        "class_names": localizer.class_names,
    }
    preprocess = localizer.preprocess
    if type(preprocess) is Preprocess:  # another one may do more
        values["mean"] = [float(value) for value in preprocess.mean]
        values["std"] = [float(value) for value in preprocess.std]
        values["interpolation"] = preprocess.interpolation
    return {name: json.dumps(value) for name, value in values.items()}
