"""Features that are laid out wrong: what their shape tells is refused, and nothing that is right."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from wsolrefine import ncut, pc1, scg, scg_released, sem, tokens_to_map
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
    """Whatever the number of channels: also one that is a side or the number of cells.

    But for the shape of attention, which would be a layer of less than 16 channels and a grid of as
    many rows and columns as the CAM has cells.
    """
    features = grid((height, width), fine, first)
    cam = grid((height, width), coarse, second)
    sides = [*features, *cam, cam[0] * cam[1], cam[0] * cam[1] + 1]
    usual = [2, 3, 8, 16, 24, 40, 64, 96, 112, 192, 384, 768, 2048]
    channels = data.draw(st.sampled_from([*sides, *usual]))
    found = features[0] - cam[0] * cam[1]
    assume(not (5 <= channels <= 15 and features[0] == features[1] and 0 <= found <= 16))
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
@pytest.mark.parametrize("function", [scg, scg_released, sem, pc1, ncut])
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
@pytest.mark.parametrize("function", [scg, scg_released, sem, pc1, ncut])
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


@given(SIDES, SIDES, STRIDES, STRIDES, st.sampled_from([*ROUND]), st.integers(1, 2048))
def test_height_and_width_swapped_are_refused(height, width, fine, coarse, rounding, channels):
    """Where the grids are not square, have 7 cells a side, and one is a multiple of the other."""
    features = grid((height, width), fine, rounding)
    cam = grid((height, width), coarse, rounding)
    assume(features[0] != features[1] and cam[0] != cam[1])
    assume(min(*features, *cam) >= 7 and same_image(features, cam))
    turned = (features[1], features[0])
    found = layout_error((2, max(channels, 25), *turned), cam)
    assert found is not None
    assert layout_error((2, max(channels, 25), *features), cam) is None


@pytest.mark.parametrize(
    ("cam", "features"),
    [
        ((14, 28), (28, 14)),
        ((14, 20), (20, 14)),
        ((7, 12), (24, 14)),
        ((28, 40), (20, 14)),
        ((40, 28), (14, 20)),
        ((375, 500), (16, 12)),
    ],
)
@pytest.mark.parametrize("function", [scg, scg_released, sem, pc1, ncut])
def test_the_message_names_the_transposed_features(function, cam, features):
    wrong = torch.rand(2, 64, *features)
    with pytest.raises(ValueError, match=r"height and width swapped: use features.mT$"):
        function(torch.rand(2, *cam), wrong)
    assert layout_error(tuple(wrong.mT.shape), cam) is None


@pytest.mark.parametrize(
    ("cam", "features", "got"),
    [
        *(((14, 14), (6, 196 + n, 64), f"{196 + n} tokens for each of 6") for n in range(17)),
        *(((14, 14), (12, 64, 196 + n), f"{196 + n} tokens for each of 12") for n in (0, 1, 5)),
        *(((14, 14), (196 + n, 3, 64), f"{196 + n} tokens for each of 3") for n in (0, 1, 5)),
        *(((14, 14), (6, 196 + n, 196 + n), "attention between") for n in (0, 1, 5)),
        ((16, 16), (12, 256, 64), "256 tokens for each of 12 heads"),
        ((16, 16), (16, 261, 64), "261 tokens for each of 16 heads"),
        ((16, 16), (12, 257, 257), "attention between 257 tokens"),
        ((14, 20), (6, 281, 64), "281 tokens for each of 6 heads"),
        ((14, 20), (6, 281, 281), "281 tokens for each of 6 heads"),
        ((24, 24), (12, 577, 577), "attention between 577 tokens"),
        ((14, 14), (4, 49, 384), "49 tokens for each of 4 windows"),
        ((14, 14), (16, 49, 96), "49 tokens for each of 16 windows"),
        ((16, 16), (16, 64, 192), "64 tokens for each of 16 windows"),
    ],
)
@pytest.mark.parametrize("function", [scg, sem])
def test_tokens_per_head_and_window_are_refused(function, cam, features, got):
    with pytest.raises(ValueError, match=rf"looks like {got}.*tokens_to_map"):
        function(torch.rand(2, *cam), torch.rand(2, *features))


@pytest.mark.parametrize(
    ("channels", "features", "cam"),
    [
        (8, (64, 64), (8, 8)),
        (8, (50, 50), (7, 7)),
        (12, (256, 256), (16, 16)),
        (3, (196, 196), (14, 14)),
        (16, (197, 197), (14, 14)),
        (8, (64, 64), (4, 4)),
        (32, (64, 128), (7, 7)),
    ],
)
def test_few_channels_on_a_fine_grid_are_no_heads(channels, features, cam):
    assert layout_error((2, channels, *features), cam) is None
