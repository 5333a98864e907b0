"""A classifier with the same weights in every process."""

from tests.support.zoo import MobileNetV2, seeded
from wsolrefine import Classifier, Preprocess


class Failing(MobileNetV2):
    """A model that takes images of little contrast only, as those with which it is tried."""

    def forward(self, images):
        if images.std((-2, -1)).max() > 0.5:
            raise ValueError("no image is good enough")
        return super().forward(images)


NAMES = [f"kind {i}" for i in range(10)]


def small() -> Classifier:
    return Classifier(seeded(MobileNetV2), Preprocess((64, 64)), NAMES, "small")


def failing() -> Classifier:
    return Classifier(seeded(Failing), Preprocess((64, 64)), NAMES, "failing")
