"""Classifiers by name, each with the preprocessing it was trained with."""

from wsolrefine.models.classifier import Classifier
from wsolrefine.models.loading import architecture, load_classifier
from wsolrefine.models.preprocess import Preprocess, preprocess_of
from wsolrefine.models.specs import (
    DEFAULT_CLASSIFIER,
    EFFICIENTNET_LITE,
    LIBRARIES,
    is_own_code,
    must_be_named,
)

__all__ = [
    "DEFAULT_CLASSIFIER",
    "EFFICIENTNET_LITE",
    "LIBRARIES",
    "Classifier",
    "Preprocess",
    "architecture",
    "is_own_code",
    "load_classifier",
    "must_be_named",
    "preprocess_of",
]
