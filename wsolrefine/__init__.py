"""From a classifier's class activation map to the whole object, as batched tensor functions."""

from wsolrefine import _command  # noqa: F401 - first, see there
from wsolrefine.activation import (
    ClassActivation,
    Layers,
    bagcams,
    capture,
    class_activation,
    find_layers,
    find_stages,
    gap_cam,
    grad_cam,
    layer_cam,
)
from wsolrefine.functional.affinity import feature_affinity
from wsolrefine.functional.boxes import box_iou, component_boxes, largest_box, union_box
from wsolrefine.functional.components import connected_components
from wsolrefine.functional.confseg import ConfSeg, confseg, confseg_thresholds
from wsolrefine.functional.conv_crf import coarse_to_fine, conv_crf
from wsolrefine.functional.correlation import self_correlation, self_correlation_released
from wsolrefine.functional.erasing import attentive_erasing
from wsolrefine.functional.fusion import multiply_maps
from wsolrefine.functional.gaussian import Gaussian, fit_gaussian, gaussian_map
from wsolrefine.functional.gppl import gppl, gppl_released, pseudo_label
from wsolrefine.functional.instances import instance_labels
from wsolrefine.functional.label_spreading import label_spreading
from wsolrefine.functional.ncut import ncut
from wsolrefine.functional.normalize import minmax
from wsolrefine.functional.outline import outline
from wsolrefine.functional.pamr import pamr
from wsolrefine.functional.pc1 import pc1
from wsolrefine.functional.pseudo_boundary import pseudo_boundary
from wsolrefine.functional.scg import scg, scg_released
from wsolrefine.functional.sem import sem
from wsolrefine.functional.suppression import suppress_non_maxima
from wsolrefine.functional.thinning import thin
from wsolrefine.functional.tokens import tokens_to_map
from wsolrefine.localization import (
    GraphOutput,
    Instances,
    Localization,
    Localizer,
    LocalizerGraph,
    OnnxDifferences,
    localize,
    save_onnx,
)
from wsolrefine.models import Classifier, Preprocess, load_classifier

__all__ = [
    "ClassActivation",
    "Classifier",
    "ConfSeg",
    "Gaussian",
    "GraphOutput",
    "Instances",
    "Layers",
    "Localization",
    "Localizer",
    "LocalizerGraph",
    "OnnxDifferences",
    "Preprocess",
    "attentive_erasing",
    "bagcams",
    "box_iou",
    "capture",
    "class_activation",
    "coarse_to_fine",
    "component_boxes",
    "confseg",
    "confseg_thresholds",
    "connected_components",
    "conv_crf",
    "feature_affinity",
    "find_layers",
    "find_stages",
    "fit_gaussian",
    "gap_cam",
    "gaussian_map",
    "gppl",
    "gppl_released",
    "grad_cam",
    "instance_labels",
    "label_spreading",
    "largest_box",
    "layer_cam",
    "load_classifier",
    "localize",
    "minmax",
    "multiply_maps",
    "ncut",
    "outline",
    "pamr",
    "pc1",
    "pseudo_boundary",
    "pseudo_label",
    "save_onnx",
    "scg",
    "scg_released",
    "self_correlation",
    "self_correlation_released",
    "sem",
    "suppress_non_maxima",
    "thin",
    "tokens_to_map",
    "union_box",
]
__version__ = "0.1.0.dev0"
