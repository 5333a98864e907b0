"""What comes from a model: its layers, their outputs, and class activation maps."""

from wsolrefine.activation.bagcams import bagcams
from wsolrefine.activation.cams import gap_cam, grad_cam
from wsolrefine.activation.forward import ClassActivation, class_activation
from wsolrefine.activation.hooks import capture
from wsolrefine.activation.layer_cam import layer_cam
from wsolrefine.activation.layers import Layers, find_layers, find_stages

__all__ = [
    "ClassActivation",
    "Layers",
    "bagcams",
    "capture",
    "class_activation",
    "find_layers",
    "find_stages",
    "gap_cam",
    "grad_cam",
    "layer_cam",
]
