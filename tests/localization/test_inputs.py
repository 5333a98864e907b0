"""How many pixels of an image are read: enough for the model, and all where that is not known."""

import pytest

from wsolrefine import Preprocess
from wsolrefine.localization.inputs import pixels_needed


class Cropped(Preprocess):
    """Preprocessing of the user's, which keeps the middle."""

    def __call__(self, image):
        return super().__call__(image.crop((10, 10, 20, 20)))


@pytest.mark.parametrize(
    "preprocess",
    [None, lambda image: image, Cropped(), Preprocess((64, 64), interpolation="nearest")],
)
def test_preprocessing_of_the_users_gets_the_whole_image(preprocess):
    assert pixels_needed(preprocess) is None


def test_twice_the_longer_side_of_the_input_is_read():
    assert pixels_needed(Preprocess((300, 200))) == (600, 1024)
