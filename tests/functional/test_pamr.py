import re
import sys
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import pamr as reference
from tests.references.batch import each_map
from tests.references.resize import resize
from tests.support.strategies import FLIPS, SEEDS, flip, generator
from wsolrefine import pamr

DILATIONS = st.sampled_from([(1,), (1, 2), (2,), (1, 3, 9)])


@st.composite
def pictures(draw, with_maps=True):
    """Maps and images, in which whole areas may have one color."""
    b, h, w = (draw(st.integers(1, n)) for n in (3, 5, 6))
    k = draw(st.sampled_from([(), (1,), (3,)])) if with_maps else ()
    g = generator(draw(SEEDS))
    size = draw(st.sampled_from([(h, w), (2, 3)]))
    maps = torch.randn(b, *k, *size, generator=g, dtype=torch.float64)
    image = torch.rand(b, draw(st.integers(1, 3)), h, w, generator=g, dtype=torch.float64)
    return maps, image.round() if draw(st.booleans()) else image


@given(pictures(), st.integers(0, 3), DILATIONS)
def test_matches_reference(picture, iterations, dilations):
    maps, image = picture

    def one(map, layers):
        (colors,) = layers
        return reference.pamr(resize(map, colors.shape[1:]), colors, iterations, dilations)

    out = pamr(maps, image, iterations=iterations, dilations=dilations)
    assert_close(out, each_map(one, maps, [image]))


@given(pictures(), FLIPS, st.integers(-20, 20), SEEDS)
def test_invariances(picture, how, exponent, seed):
    maps, image = picture
    out = pamr(maps, image, dilations=(1, 2), iterations=2)

    def same(maps, image):
        return pamr(maps, image, dilations=(1, 2), iterations=2)

    assert_close(same(flip(maps, how), flip(image, how)), flip(out, how))
    assert_close(same(maps, image * 2.0**exponent), out)
    assert_close(same(maps * 2.0**exponent, image), out * 2.0**exponent)
    assert_close(same(maps[:1], image[:1]), out[:1])
    colors = torch.randperm(image.shape[1], generator=generator(seed))
    assert_close(same(maps, image[:, colors]), out)
    assert (out.amax((-2, -1)) <= maps.amax((-2, -1))).all()
    assert (out.amin((-2, -1)) >= maps.amin((-2, -1))).all()


def test_a_map_moves_to_the_edge_of_the_image():
    image = torch.zeros(1, 3, 16, 16)
    image[..., :8] = 1
    image += 0.05 * torch.rand(image.shape, generator=generator(0))
    maps = torch.zeros(1, 16, 16)
    maps[..., :5] = 1
    out = pamr(maps, image)[0]
    assert out[:, :8].min() > 2 * out[:, 8:].max()


def test_one_color_makes_each_pixel_the_mean_of_its_neighbors():
    maps = torch.rand(1, 5, 5, generator=generator(0))
    out = pamr(maps, torch.full((1, 3, 5, 5), 0.3), dilations=(1,), iterations=1)
    around = maps[0, 1:4, 1:4].sum() - maps[0, 2, 2]
    assert_close(out[0, 2, 2], around / 8)


def test_without_iterations_the_map_is_resized():
    maps, image = torch.rand(2, 3, 4, 5, generator=generator(0)), torch.rand(2, 3, 9, 11)
    out = pamr(maps, image, iterations=0)
    assert torch.equal(out, torch.nn.functional.interpolate(maps, size=(9, 11), mode="bilinear"))


def test_one_pixel_and_constant_maps_stay():
    assert pamr(torch.tensor([[[0.3]]]), torch.rand(1, 3, 1, 1)).item() == torch.tensor(0.3).item()
    constant = torch.full((1, 2, 3), 0.3)
    assert (pamr(constant, torch.rand(1, 3, 7, 8)) == constant[0, 0, 0]).all()


def test_maps_of_one_image_do_not_influence_each_other():
    maps, image = torch.rand(2, 3, 6, 6, generator=generator(0)), torch.rand(2, 3, 6, 6)
    out = pamr(maps, image)
    for k in range(3):
        assert_close(out[:, k], pamr(maps[:, k], image))


@given(pictures(), st.integers(0, 3), DILATIONS)
def test_whole_windows_give_the_same(picture, iterations, dilations):
    """As in graphs, under torch.func and on a GPU."""
    maps, image = picture
    with mock.patch.object(sys.modules[pamr.__module__], "in_windows", return_value=True):
        out = pamr(maps, image, iterations=iterations, dilations=dilations)
    assert_close(out, pamr(maps, image, iterations=iterations, dilations=dilations))


def test_a_large_batch_is_computed_in_blocks_with_the_same_result():
    maps, image = torch.rand(5, 14, 14), torch.rand(5, 3, 112, 112)
    alone = [pamr(m[None], i[None]) for m, i in zip(maps, image, strict=True)]
    assert_close(pamr(maps, image), torch.cat(alone))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_zeroes_its_map_alone(bad):
    maps, image = torch.rand(2, 2, 4, 4), torch.rand(2, 3, 4, 4)
    expected = pamr(maps, image)
    maps[1, 0, 2, 2] = bad
    expected[1, 0] = 0
    assert_close(pamr(maps, image), expected)
    image[1, 0, 0, 0] = bad
    expected[1] = 0
    assert_close(pamr(maps, image), expected)


def test_gradients():
    g = generator(1)
    maps = torch.rand(1, 2, 3, 4, generator=g, dtype=torch.float64, requires_grad=True)
    image = torch.rand(1, 2, 3, 4, generator=g, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda m, i: pamr(m, i, iterations=2, dilations=(1, 2)), (maps, image))


def test_gradients_are_finite_where_colors_are_equal():
    image = torch.zeros(1, 3, 4, 4).index_fill(3, torch.tensor([0]), 1.0).requires_grad_()
    pamr(torch.rand(1, 4, 4), image).sum().backward()
    assert image.grad.isfinite().all()


def test_errors():
    maps, image = torch.rand(2, 4, 4), torch.rand(2, 3, 4, 4)
    for options, error, message in (
        ({"iterations": -1}, ValueError, "iterations: expected an integer from 0 to 1000, got -1"),
        ({"dilations": ()}, ValueError, "dilations: expected integers >= 1, got ()"),
        ({"dilations": (0,)}, ValueError, "dilations: expected integers >= 1, got (0,)"),
        (
            {"dilations": (1.5,)},
            TypeError,
            "dilations: expected integers >= 1, got one of type float",
        ),
    ):
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            pamr(maps, image, **options)
    with pytest.raises(ValueError, match=r"^image: expected shape .* with B=2 from maps, got"):
        pamr(maps, image[:1])
    assert pamr(maps[:0], image[:0]).shape == (0, 4, 4)
