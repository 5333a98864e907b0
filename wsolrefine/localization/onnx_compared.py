"""An ONNX file next to the localizer that it was made of."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from wsolrefine.functional.boxes import union_box
from wsolrefine.localization.graph import GraphOutput, LocalizerGraph
from wsolrefine.localization.localizer import Localizer
from wsolrefine.localization.masks import objects_of


class OnnxDifferences(NamedTuple):
    """The largest differences of an ONNX file from PyTorch on the images that were compared.

    Attributes:
        scores: of the probabilities.
        maps: of the heatmaps in [0, 1].
        boxes: of the sides of the boxes, in pixels.

    """

    scores: float
    maps: float
    boxes: float


def compared(
    path: Path, localizer: Localizer, graph: LocalizerGraph, images: Tensor, tolerance: float
) -> OnnxDifferences:
    """Return how much a file differs from the localizer, or raise beyond the tolerance."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors: it warns of constants that it does not fold
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    differences = OnnxDifferences(0.0, 0.0, 0.0)
    for some in (images, images[:1]):  # another number of images, too
        expected = localizer(some, top=graph.top).to("cpu")
        given = session.run([*GraphOutput._fields], {"images": some.numpy(force=True)})
        found = GraphOutput(*map(torch.from_numpy, given))
        if not torch.equal(found.labels, expected.labels):
            got = found.labels.tolist()
            raise ValueError(
                f"labels: expected {expected.labels.tolist()} as in PyTorch, got {got} from the "
                "ONNX file"
            )
        apart = [
            float((getattr(found, name) - getattr(expected, name)).abs().max())
            for name in OnnxDifferences._fields
        ]
        for name, difference in zip(OnnxDifferences._fields[:2], apart, strict=False):
            if not difference <= tolerance:  # nor is NaN
                raise ValueError(
                    f"tolerance: expected {name} within {tolerance:g} of those of PyTorch, got a "
                    f"difference of {difference:.3g} from the ONNX file"
                )
        objects = objects_of(found.maps, graph.size, graph.threshold, graph.parts)
        if not torch.equal(found.boxes, union_box(objects > 0)):
            raise ValueError("boxes: expected those of the maps of the ONNX file, got others")
        differences = OnnxDifferences(*map(max, differences, apart))
    return differences
