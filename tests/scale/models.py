"""A classifier with the same weights in every process."""

from tests.support.zoo import MobileNetV2, seeded
from wsolrefine import Classifier, Preprocess

NAMES = [f"kind {i}" for i in range(10)]


def small() -> Classifier:
    return Classifier(seeded(MobileNetV2), Preprocess((64, 64)), NAMES, "small")
