"""Modules with weights: parts of the papers' networks, on the feature maps of any backbone."""

from wsolrefine.nn.attention import MultiplicativeChannelAttention
from wsolrefine.nn.backbone import FeatureList, stage_channels
from wsolrefine.nn.generator import Activation, ActivationGenerator
from wsolrefine.nn.heads import ConvolutionalHead, EdgeHead
from wsolrefine.nn.mff import MFFMaps, MFFNet

__all__ = [
    "Activation",
    "ActivationGenerator",
    "ConvolutionalHead",
    "EdgeHead",
    "FeatureList",
    "MFFMaps",
    "MFFNet",
    "MultiplicativeChannelAttention",
    "stage_channels",
]
