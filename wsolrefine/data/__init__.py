"""Readers of real data sets and of score maps. Images need Pillow, which is imported when used."""

from wsolrefine.data._opened import UnreadableImage
from wsolrefine.data.annotation import Annotation
from wsolrefine.data.augment import RandomCrop
from wsolrefine.data.cub import CUB
from wsolrefine.data.folder import ImageFolder, UnlabeledFolder
from wsolrefine.data.ilsvrc import ILSVRC
from wsolrefine.data.images import ImagePolicy, read_image
from wsolrefine.data.openimages import OpenImages
from wsolrefine.data.score_maps import ScoreMaps
from wsolrefine.data.wsolevaluation import WsolEvaluation

__all__ = [
    "CUB",
    "ILSVRC",
    "Annotation",
    "ImageFolder",
    "ImagePolicy",
    "OpenImages",
    "RandomCrop",
    "ScoreMaps",
    "UnlabeledFolder",
    "UnreadableImage",
    "WsolEvaluation",
    "read_image",
]
