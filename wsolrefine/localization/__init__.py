"""From a model to the whole object: refined maps, masks and boxes."""

from wsolrefine.localization.compositions import accurate, balanced, fast, start_map
from wsolrefine.localization.graph import GraphOutput, LocalizerGraph
from wsolrefine.localization.instances import Instances
from wsolrefine.localization.localizer import Localizer, localize
from wsolrefine.localization.onnx_compared import OnnxDifferences
from wsolrefine.localization.onnx_file import save_onnx
from wsolrefine.localization.result import Localization

__all__ = [
    "GraphOutput",
    "Instances",
    "Localization",
    "Localizer",
    "LocalizerGraph",
    "OnnxDifferences",
    "accurate",
    "balanced",
    "fast",
    "localize",
    "save_onnx",
    "start_map",
]
