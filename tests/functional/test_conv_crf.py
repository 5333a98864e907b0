import re
import sys
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import conv_crf as reference
from tests.support.strategies import FLIPS, SEEDS, flip, generator
from wsolrefine import minmax
from wsolrefine.functional.conv_crf import conv_crf

module = sys.modules[conv_crf.__module__]

WEIGHTS = st.sampled_from([0.0, 0.7, 3.0])
STDS = st.sampled_from([0.6, 2.0, 30.0])


@st.composite
def problems(draw, *, max_labels=4):
    """Unary and image of a few labels and pixels; some images are of one color."""
    b, k = draw(st.integers(1, 2)), draw(st.integers(1, max_labels))
    h, w = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    g = generator(draw(SEEDS))
    unary = torch.randn(b, k, h, w, generator=g, dtype=torch.float64)
    image = torch.rand(b, 3, h, w, generator=g, dtype=torch.float64)
    if draw(st.integers(0, 4)) == 0:
        image = torch.full_like(image, 0.3)
    return unary, image


OPTIONS = st.fixed_dictionaries(
    {
        "iterations": st.integers(0, 2),
        "kernel_size": st.sampled_from([1, 3, 5, 5, 11]),
        "appearance_weight": WEIGHTS,
        "appearance_std": STDS,
        "color_std": st.sampled_from([0.05, 0.3, 2.0]),
        "smoothness_weight": WEIGHTS,
        "smoothness_std": STDS,
    }
)


@given(problems(), OPTIONS)
def test_matches_reference(problem, options):
    pairs = zip(*(tensor.numpy() for tensor in problem), strict=True)
    expected = [torch.from_numpy(reference.conv_crf(*pair, **options)) for pair in pairs]
    assert_close(conv_crf(*problem, **options), torch.stack(expected))


@given(problems(), OPTIONS)
def test_whole_windows_give_the_same(problem, options):
    """As in graphs, under torch.func and on a GPU."""
    with mock.patch.object(module, "in_windows", return_value=True):
        out = conv_crf(*problem, **options)
    assert_close(out, conv_crf(*problem, **options))


def test_a_large_batch_is_computed_in_blocks_with_the_same_result():
    inputs = torch.rand(3, 2, 300, 300), torch.rand(3, 3, 300, 300)
    out = conv_crf(*inputs, kernel_size=3, iterations=1)
    with mock.patch.object(module, "images_at_once", return_value=3):
        assert_close(conv_crf(*inputs, kernel_size=3, iterations=1), out)


def test_defaults():
    g = generator(0)
    unary, image = torch.randn(1, 2, 7, 30, generator=g), torch.rand(1, 3, 7, 30, generator=g) / 4
    same = conv_crf(
        unary,
        image,
        iterations=5,
        kernel_size=21,
        appearance_weight=10.0,
        appearance_std=10.0,
        color_std=0.08,
        smoothness_weight=1.0,
        smoothness_std=1.5,
    )
    out = conv_crf(unary, image)
    assert torch.equal(out, same)
    assert not torch.equal(out, conv_crf(unary, image, kernel_size=23))


@given(problems(), OPTIONS)
def test_probabilities_sum_to_one(problem, options):
    out = conv_crf(*problem, **options)
    assert (out >= 0).all()
    assert_close(out.sum(1), torch.ones_like(out[:, 0]))


@given(problems(), OPTIONS, FLIPS)
def test_flips(problem, options, how):
    flipped = conv_crf(*(flip(tensor, how) for tensor in problem), **options)
    assert_close(flipped, flip(conv_crf(*problem, **options), how))


@given(problems(), OPTIONS, SEEDS)
def test_labels_have_no_order(problem, options, seed):
    unary, image = problem
    order = torch.randperm(unary.shape[1], generator=generator(seed))
    assert_close(
        conv_crf(unary[:, order], image, **options), conv_crf(*problem, **options)[:, order]
    )


@given(problems(), OPTIONS)
def test_images_of_a_batch_are_independent(problem, options):
    alone = [conv_crf(*(t[i : i + 1] for t in problem), **options) for i in range(len(problem[0]))]
    assert_close(conv_crf(*problem, **options), torch.cat(alone))


@given(problems(), OPTIONS)
def test_a_score_that_all_labels_share_is_of_no_account(problem, options):
    unary, image = problem
    shared = 5 * image[:, :1]
    assert_close(conv_crf(unary + shared, image, **options), conv_crf(unary, image, **options))


@given(problems(), OPTIONS)
def test_without_messages_it_is_the_softmax(problem, options):
    expected = problem[0].softmax(1)
    for silent in (
        {"appearance_weight": 0.0, "smoothness_weight": 0.0},
        {"iterations": 0},
        {"kernel_size": 1},
    ):
        assert_close(conv_crf(*problem, **options | silent), expected)


def test_equal_scores_stay_equal():
    image = torch.rand(1, 3, 6, 7, dtype=torch.float64)
    out = conv_crf(torch.full((1, 4, 6, 7), 2.0, dtype=torch.float64), image, kernel_size=5)
    assert_close(out, torch.full_like(out, 0.25))


def test_one_color_and_one_opinion_keep_their_label_and_grow_surer():
    unary = torch.tensor([0.0, 1.0])[None, :, None, None].expand(1, 2, 6, 7)
    out = conv_crf(unary, torch.full((1, 3, 6, 7), 0.5), kernel_size=5)
    assert (out[:, 1] > unary.softmax(1)[:, 1]).all()
    # Alike from every side of the image: a place counts only by its distance to the border.
    assert_close(out, out.flip(-1).flip(-2))


def test_one_pixel():
    unary = torch.tensor([0.0, 1.0, 3.0])[None, :, None, None]
    assert_close(conv_crf(unary, torch.rand(1, 3, 1, 1)), unary.softmax(1))


def test_the_border_of_the_map_moves_to_that_of_the_photograph():
    image = torch.full((1, 3, 20, 24), 0.2)
    image[..., 12:] = 0.7
    image += 0.02 * torch.randn(image.shape, generator=generator(0))
    unary = torch.zeros(1, 2, 20, 24)
    unary[:, 1] = torch.linspace(-3, 3, 24).clamp(-1, 1) + 0.6  # changes its sign at column 9
    assert (unary[0, 1].argmin(1) < 9).all()
    assert not torch.equal(unary[0, 1] > 0, image[0, 0] > 0.45)
    assert torch.equal(conv_crf(unary, image)[0, 1] > 0.5, image[0, 0] > 0.45)


def test_specks_go():
    unary = torch.zeros(1, 2, 15, 15)
    unary[:, 1] = 2.0
    unary[0, 1, 7, 7] = -2.0
    options = {"appearance_weight": 0.0, "smoothness_weight": 5.0}
    assert (conv_crf(unary, torch.rand(1, 3, 15, 15), **options)[:, 1] > 0.5).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("which", [0, 1])
def test_what_is_not_finite_stays_with_its_image(bad, which):
    if which == 0 and bad == bad:
        pytest.skip("the score of an impossible or a certain label")
    inputs = [torch.rand(3, 3, 4, 5, generator=generator(n)) for n in range(2)]
    clean = conv_crf(*inputs)
    inputs[which][1, 2, 1, 3] = bad
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    out = conv_crf(*leaves)
    assert_close(out[0::2], clean[0::2])
    assert torch.equal(out[1], torch.zeros(3, 4, 5))
    (out * torch.rand_like(out)).sum().backward()
    for leaf in leaves:
        assert leaf.grad.isfinite().all()
        assert leaf.grad[0::2].any()
        assert not leaf.grad[1].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_single_precision(dtype):
    g = generator(1)
    unary = (torch.randn(2, 3, 6, 7, generator=g) * 4).to(dtype)
    image = torch.rand(2, 3, 6, 7, generator=g).to(dtype)
    out = conv_crf(unary, image)
    assert out.dtype == dtype
    assert torch.equal(out, conv_crf(unary.float(), image.float()).to(dtype))


def test_extreme_scores_and_scales():
    unary = torch.tensor([-1e30, 1e30, 0.0, 500.0]).reshape(1, 2, 1, 2)
    out = conv_crf(unary, torch.rand(1, 3, 1, 2))
    assert torch.equal(out, unary.softmax(1))  # no message moves these
    unary, image = torch.rand(1, 2, 3, 4), torch.rand(1, 3, 3, 4)
    nothing_alike = conv_crf(unary, image, color_std=1e-20, smoothness_weight=0.0)
    assert_close(nothing_alike, unary.softmax(1))
    all_alike = conv_crf(unary, image, color_std=float("inf"))
    assert_close(all_alike, conv_crf(unary, torch.zeros_like(image)))


def test_gradcheck():
    g = generator(0)
    unary = torch.randn(2, 3, 3, 4, generator=g, dtype=torch.float64, requires_grad=True)
    image = torch.rand(2, 3, 3, 4, generator=g, dtype=torch.float64, requires_grad=True)

    def few(unary, image):
        return conv_crf(unary, image, iterations=2, kernel_size=5, color_std=0.4)

    assert torch.autograd.gradcheck(few, (unary, image), fast_mode=True)


def test_arguments_are_not_changed_and_autocast_changes_nothing():
    inputs = torch.rand(2, 2, 5, 4), torch.rand(2, 3, 5, 4)
    before = [tensor.clone() for tensor in inputs]
    out = conv_crf(*inputs, kernel_size=5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(conv_crf(*inputs, kernel_size=5), out)
    assert all(torch.equal(*pair) for pair in zip(inputs, before, strict=True))
    assert conv_crf(*(tensor[:0] for tensor in inputs)).shape == (0, 2, 5, 4)
    mixed = [tensor.mT.contiguous().mT for tensor in inputs]
    assert_close(conv_crf(*mixed, kernel_size=5), out)


def test_compiles_and_reads_no_values():
    torch.compiler.reset()
    inputs = torch.rand(2, 2, 5, 4), torch.rand(2, 3, 5, 4)

    def crf(unary, image):
        return conv_crf(unary, image, kernel_size=3, iterations=2)

    expected = crf(*inputs)
    assert_close(torch.compile(crf, fullgraph=True, backend="eager")(*inputs), expected)
    assert crf(*(tensor.to("meta") for tensor in inputs)).shape == expected.shape


UNARY, IMAGE = torch.zeros(2, 2, 4, 5), torch.zeros(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (([1.0], IMAGE), {}, TypeError, "unary: expected a torch.Tensor, got list"),
        (
            (UNARY, IMAGE.byte()),
            {},
            TypeError,
            "image: expected a floating-point dtype, got torch.uint8",
        ),
        (
            (UNARY, IMAGE.half()),
            {},
            TypeError,
            "image: expected torch.float32 as unary, got torch.float16",
        ),
        (
            (UNARY[:, 0], IMAGE),
            {},
            ValueError,
            "unary: expected shape (B, K, H, W), got (2, 4, 5)",
        ),
        (
            (UNARY, IMAGE[:, :1]),
            {},
            ValueError,
            "image: expected shape (B, 3, H, W), got (2, 1, 4, 5)",
        ),
        (
            (UNARY, IMAGE[..., :3]),
            {},
            ValueError,
            "image: expected shape (B, 3, H, W) with W=5 from unary, got (2, 3, 4, 3)",
        ),
        (
            (UNARY, IMAGE),
            {"kernel_size": 4},
            ValueError,
            "kernel_size: expected an odd integer >= 1, got 4",
        ),
        (
            (UNARY, IMAGE),
            {"kernel_size": -1},
            ValueError,
            "kernel_size: expected an odd integer >= 1, got -1",
        ),
        (
            (UNARY, IMAGE),
            {"iterations": -1},
            ValueError,
            "iterations: expected an integer from 0 to 1000, got -1",
        ),
        (
            (UNARY, IMAGE),
            {"appearance_weight": -1.0},
            ValueError,
            "appearance_weight: expected a finite number >= 0, got -1.0",
        ),
        (
            (UNARY, IMAGE),
            {"smoothness_weight": float("inf")},
            ValueError,
            "smoothness_weight: expected a finite number >= 0, got inf",
        ),
        (
            (UNARY, IMAGE),
            {"color_std": 0.0},
            ValueError,
            "color_std: expected a number > 0, got 0.0",
        ),
        (
            (UNARY, IMAGE),
            {"appearance_std": float("nan")},
            ValueError,
            "appearance_std: expected a number > 0, got nan",
        ),
        (
            (UNARY, IMAGE),
            {"smoothness_std": -1.0},
            ValueError,
            "smoothness_std: expected a number > 0, got -1.0",
        ),
    ],
)
def test_errors(arguments, options, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        conv_crf(*arguments, **options)


def test_logarithms_of_exact_probabilities():
    """A min-maxed map holds exact 0 and 1, and the logarithm of 0 is -inf: an impossible label."""
    g = generator(3)
    probability = minmax(torch.rand(2, 7, 6, generator=g))
    probability[:, 2:4, 2:4] = 1
    probability[:, 5] = 0
    unary = torch.stack([1 - probability, probability], 1).log().requires_grad_()
    image = torch.rand(2, 3, 7, 6, generator=g)
    out = conv_crf(unary, image, kernel_size=5)
    # The messages are far smaller than 200.
    expected = conv_crf(unary.detach().clamp_min(-200), image, kernel_size=5)
    assert_close(out.detach(), expected)
    assert_close(out.sum(1), torch.ones(2, 7, 6))
    assert (out[:, 1, 2:4, 2:4] == 1).all()
    out[:, 1].sum().backward()
    assert unary.grad.isfinite().all()


def test_logits_of_exact_probabilities():
    """The logit of 1 is inf: a certain label, as if the other one were impossible."""
    g = generator(3)
    probability = minmax(torch.rand(2, 7, 6, generator=g))
    probability[:, 2:4, 2:4] = 1
    image = torch.rand(2, 3, 7, 6, generator=g)
    logits = torch.stack([torch.zeros_like(probability), probability.logit()], 1)
    expected = conv_crf(torch.stack([1 - probability, probability], 1).log(), image)
    assert_close(conv_crf(logits, image), expected)
    both = torch.full_like(logits, torch.inf)
    assert_close(conv_crf(both, image), conv_crf(torch.zeros_like(both), image))


def test_a_pixel_without_a_possible_label_spoils_its_image_alone():
    unary = torch.randn(3, 2, 4, 5, generator=generator(0))
    unary[0, :, 1, 1] = -torch.inf
    unary[1, :, 1, 1] = torch.tensor([torch.inf, torch.nan])
    out = conv_crf(unary, torch.rand(3, 3, 4, 5, generator=generator(1)), kernel_size=3)
    assert not out[:2].any()
    assert_close(out[2].sum(0), torch.ones(4, 5))
