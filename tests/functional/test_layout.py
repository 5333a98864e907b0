"""Features that are laid out wrong: what their shape tells is refused, and nothing that is right."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wsolrefine import scg, scg_released, sem, tokens_to_map
from wsolrefine._layout import layout_error, same_image

SIDES = st.integers(32, 1500)
STRIDES = st.sampled_from([1, 2, 4, 8, 14, 16, 32])
ROUND = {
    "down": lambda a, b: a // b,
    "up": lambda a, b: -(-a // b),
    "near": lambda a, b: round(a / b),
}


def grid(image, stride, rounding):
    """The grid of a layer, of more than the one cell that a layer after the pooling has."""
    rows, columns = (max(1, ROUND[rounding](side, stride)) for side in image)
    return rows, columns + (rows == columns == 1)


@given(
    st.data(), SIDES, SIDES, STRIDES, STRIDES, st.sampled_from([*ROUND]), st.sampled_from([*ROUND])
)
def test_grids_of_one_image_are_never_refused(data, height, width, fine, coarse, first, second):
    """Whatever the number of channels: also one that is a side or the number of cells."""
    features = grid((height, width), fine, first)
    cam = grid((height, width), coarse, second)
    sides = [*features, *cam, cam[0] * cam[1], cam[0] * cam[1] + 1]
    usual = [2, 3, 8, 16, 24, 40, 64, 96, 112, 192, 384, 768, 2048]
    channels = data.draw(st.sampled_from([*sides, *usual]))
    assert layout_error((2, channels, *features), cam) is None


@given(st.data(), SIDES, SIDES, STRIDES)
def test_a_cam_of_the_size_of_the_image_is_never_refused(data, height, width, stride):
    features = grid((height, width), stride, data.draw(st.sampled_from([*ROUND])))
    channels = data.draw(st.sampled_from([*features, 16, 24, 64, 384]))
    assert layout_error((2, channels, *features), (height, width)) is None


@pytest.mark.parametrize(
    ("channels", "features", "cam"),
    [
        # A CAM at the size of a photograph whose network saw it squashed to a square.
        (384, (14, 14), (375, 500)),
        (24, (32, 32), (375, 500)),
        (24, (32, 32), (480, 640)),
        (112, (28, 28), (2000, 500)),
        (16, (56, 56), (300, 2000)),
        (1, (32, 32), (375, 500)),
        # Strides that differ between the axes, as for lines of text.
        (512, (16, 50), (1, 26)),
        (64, (16, 50), (4, 25)),
        # Layers without padding.
        (192, (35, 72), (8, 17)),
        (32, (149, 299), (8, 17)),
        # Strips, pooled along one axis.
        (64, (56, 1), (7, 7)),
        (64, (1, 56), (7, 7)),
        (64, (32, 1), (8, 8)),
        # Another crop, another network.
        (32, (32, 64), (7, 7)),
        (384, (37, 28), (7, 7)),
        (3, (1, 12), (1, 6)),
    ],
)
def test_unusual_features_that_are_right(channels, features, cam):
    assert layout_error((2, channels, *features), cam) is None


@pytest.mark.parametrize("cam", [(7, 7), (1, 2), (224, 224)])
@pytest.mark.parametrize("function", [scg, scg_released, sem])
def test_pooled_features_are_refused(function, cam):
    """Their one cell would be the whole map, and after a min-max that is zero."""
    pooled, features = torch.rand(2, 16, 1, 1), torch.rand(2, 16, 7, 7)
    message = r"expected shape .* as cam .*, got \(2, 16, 1, 1\), which looks like pooled features"
    with pytest.raises(ValueError, match=rf"^features: {message}: use those before the pooling$"):
        function(torch.rand(2, *cam), pooled)
    with pytest.raises(ValueError, match=rf"^features\[1\]: {message}"):
        function(torch.rand(2, *cam), [features, pooled])
    assert function(torch.rand(2, 1, 1), pooled).shape == (2, 1, 1)


@pytest.mark.parametrize(
    ("height", "width", "channels", "cam"),
    [
        (14, 14, 112, (14, 14)),
        (56, 56, 96, (7, 7)),
        (28, 28, 192, (7, 7)),
        (14, 14, 384, (7, 7)),
        (7, 7, 768, (7, 7)),
        (112, 112, 64, (7, 7)),
        (7, 7, 768, (224, 224)),
        (14, 14, 384, (375, 500)),
        (14, 20, 384, (7, 10)),
        (29, 41, 96, (8, 11)),
        (57, 81, 48, (8, 11)),
    ],
)
@pytest.mark.parametrize("function", [scg, scg_released, sem])
def test_channels_last_are_refused(function, height, width, channels, cam):
    features = torch.rand(2, height, width, channels)
    with pytest.raises(ValueError, match=r"^features: expected .*channels last: use tokens_to_map"):
        function(torch.rand(2, *cam), features)
    assert layout_error(tuple(tokens_to_map(features).shape), cam) is None


@given(
    st.integers(3, 40),
    st.integers(3, 40),
    st.sampled_from([0, 1, 2, 4, 5]),
    st.sampled_from([64, 192, 384, 768]),
)
def test_tokens_with_one_more_axis_are_refused(height, width, prefix, channels):
    cam, count = (height, width), height * width + prefix
    shapes = [(1, count, channels), (count, channels, 1), (count, 1, channels)]
    shapes += [(channels, count, 1), (channels, 1, count)]
    for shape in shapes:
        if same_image(shape[1:], cam):
            continue  # by chance what it is read as is a grid of the same image
        found = layout_error((2, *shape), cam)
        # What looks like a strip along a side of the CAM passes.
        assert found is None or "tokens_to_map" in found
    if not same_image((count, channels), cam):
        assert f"{count} tokens" in layout_error((2, 1, count, channels), cam)


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("channels", [192, 384, 768, 1024])
def test_tokens_of_the_usual_transformers_are_refused(prefix, channels):
    tokens = torch.rand(2, 196 + prefix, channels)
    cam = torch.rand(2, 14, 14)
    name = "tokens_to_map"
    for wrong in (
        tokens,
        tokens.mT,
        tokens[:, None],
        tokens[..., None],
        tokens[:, :, None],
        tokens.mT[..., None],
        tokens.mT[:, :, None],
    ):
        with pytest.raises(ValueError, match=rf"^features: expected .*{name}"):
            scg(cam, wrong)
    assert scg(cam, tokens_to_map(tokens, num_prefix_tokens=prefix)).shape == (2, 14, 14)
