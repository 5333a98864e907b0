import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import gaussian as reference
from tests.references.normalize import every_map
from tests.support.strategies import SEEDS, generator, maps
from wsolrefine import fit_gaussian, gaussian_map
from wsolrefine.functional.gaussian import Gaussian


@st.composite
def gaussians(draw, dtype=torch.float64):
    """Invertible Gaussians around a grid of about ten pixels."""
    lead = [draw(st.integers(1, 3)) for _ in range(draw(st.integers(0, 2)))]
    g = generator(draw(SEEDS))
    mean = 10 * torch.rand(*lead, 2, generator=g, dtype=dtype)
    factor = torch.randn(*lead, 2, 2, generator=g, dtype=dtype)
    return Gaussian(mean, factor @ factor.mT + 0.3 * torch.eye(2, dtype=dtype))


def expected_map(gaussian, size):
    lead = gaussian.mean.shape[:-1]
    ones = [
        reference.density(m, c, size)
        for m, c in zip(
            gaussian.mean.reshape(-1, 2).numpy(),
            gaussian.covariance.reshape(-1, 2, 2).numpy(),
            strict=True,
        )
    ]
    return torch.from_numpy(np.stack(ones)).reshape(*lead, *size)


@given(maps())
def test_fit_matches_reference(weights):
    def flat(one):
        mean, covariance = reference.moments(one)
        return np.concatenate([mean, covariance.reshape(-1)])

    expected = torch.from_numpy(every_map(flat, weights.numpy()))
    mean, covariance = fit_gaussian(weights)
    assert_close(mean, expected[..., :2])
    assert_close(covariance, expected[..., 2:].unflatten(-1, (2, 2)))


@given(maps(), st.floats(1e-3, 1e3))
def test_fit_invariances(weights, scale):
    mean, covariance = fit_gaussian(weights)
    h, w = weights.shape[-2:]
    assert_close(fit_gaussian(weights * scale), Gaussian(mean, covariance))
    swapped = fit_gaussian(weights.mT)
    assert_close(swapped, Gaussian(mean.flip(-1), covariance.flip(-1, -2)))
    mirrored = fit_gaussian(weights.flip(-1))
    sign = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    assert_close(mirrored.mean[..., 0], w - 1 - mean[..., 0])
    assert_close(mirrored.covariance, covariance * sign)
    last = torch.tensor([w - 1.0, h - 1.0], dtype=torch.float64)
    assert ((mean > -1e-9) & (mean < last + 1e-9)).all()


@pytest.mark.parametrize("value", [0.0, -2.0])
def test_no_weight_is_a_point_at_the_centre_of_the_grid(value):
    mean, covariance = fit_gaussian(torch.full((3, 4, 7), value))
    assert torch.equal(mean, torch.tensor([3.0, 1.5]).expand(3, 2))
    assert torch.equal(covariance, torch.zeros(3, 2, 2))


def test_fit_counts_negative_weights_as_zero():
    weights = torch.tensor([[1.0, -5.0, 1.0, 0.0], [0.0, -3.0, 0.0, 0.0]])
    mean, covariance = fit_gaussian(weights)
    assert_close(mean, torch.tensor([1.0, 0.0]))
    assert_close(covariance, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


def test_fit_is_exact_far_from_the_origin():
    """A covariance as mean of squares minus square of the mean would lose these digits."""
    weights = torch.zeros(1, 1000, 1000)
    weights[0, 990:993, 995:998] = 1
    mean, covariance = fit_gaussian(weights)
    assert_close(mean, torch.tensor([[996.0, 991.0]]), rtol=0, atol=1e-3)
    assert_close(covariance, torch.eye(2)[None] * 2 / 3, rtol=0, atol=1e-4)


@pytest.mark.parametrize("exponent", [-100, -40, 40, 100])
def test_fit_does_not_depend_on_the_scale_of_the_weights(exponent):
    weights = torch.rand(2, 5, 6)
    assert_close(fit_gaussian(weights * 2.0**exponent), fit_gaussian(weights))


@given(gaussians(), st.integers(1, 10), st.integers(1, 10))
def test_map_matches_reference(gaussian, h, w):
    out = gaussian_map(gaussian, (h, w))
    assert_close(out, expected_map(gaussian, (h, w)))
    assert ((out >= 0) & (out <= 1)).all()


def test_map_is_one_at_the_mean():
    gaussian = Gaussian(torch.tensor([[2.0, 1.0]]), torch.tensor([[[2.0, 0.5], [0.5, 1.0]]]))
    out = gaussian_map(gaussian, (3, 5))
    assert out[0, 1, 2] == 1
    assert out.flatten().argmax() == 7


@given(
    st.tuples(st.floats(24, 40), st.floats(24, 40)),
    st.tuples(st.floats(1.5, 3), st.floats(1.5, 3)),
    st.floats(0, math.pi),
)
def test_fitting_the_map_of_a_gaussian_gives_it_back(mean, sigma, angle):
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]],
        dtype=torch.float64,
    )
    covariance = turn @ torch.diag(torch.tensor(sigma, dtype=torch.float64) ** 2) @ turn.mT
    gaussian = Gaussian(torch.tensor(mean, dtype=torch.float64), covariance)
    assert_close(fit_gaussian(gaussian_map(gaussian, (64, 64))), gaussian)


def test_map_of_a_point():
    gaussian = Gaussian(torch.tensor([[2.0, 1.0], [0.5, 0.5]]), torch.zeros(2, 2, 2))
    out = gaussian_map(gaussian, (3, 4))
    expected = torch.zeros(2, 3, 4)
    expected[0, 1, 2] = 1  # the second point lies between the pixels
    assert_close(out, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "covariance",
    [
        [[4.0, 0.0], [0.0, 0.0]],
        [[0.0, 0.0], [0.0, 2.0]],
        [[3.0, 3.0], [3.0, 3.0]],
        [[1.0, -2.0], [-2.0, 4.0]],
    ],
    ids=["horizontal", "vertical", "diagonal", "steep"],
)
def test_map_of_a_line(covariance, dtype):
    """The limit of a narrowing Gaussian: unchanged along the line, zero beside it."""
    gaussian = Gaussian(torch.tensor([[3.0, 4.0]]), torch.tensor([covariance]))
    out = gaussian_map(Gaussian(*(t.to(dtype) for t in gaussian)), (9, 8))
    assert_close(
        out.double(),
        expected_map(Gaussian(*(t.double() for t in gaussian)), (9, 8)),
        rtol=0,
        atol=1e-5,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("how", ["row", "column", "diagonal", "point"])
def test_weights_on_a_line_or_a_point_give_its_map(how, dtype):
    g = generator(3)
    line = 0.1 + torch.rand(7, generator=g, dtype=dtype)
    weights = torch.zeros(7, 7, dtype=dtype)
    if how == "row":
        weights[2] = line
    elif how == "column":
        weights[:, 5] = line
    elif how == "point":
        weights[4, 3] = 0.3
    else:
        weights = torch.diag(line)
    out = gaussian_map(fit_gaussian(weights), (7, 7))
    expected = reference.density(*reference.moments(weights.double().numpy()), (7, 7))
    assert_close(out.double(), torch.from_numpy(expected), rtol=0, atol=1e-5)


def test_golden_map(golden):
    """The released code's Gaussian for (mean, variances, covariance) on a 30 x 40 grid."""
    case = {k: torch.from_numpy(v) for k, v in golden("spol_pseudo_label").items()}
    ux, uy, sx, sy, sxy = case["gauss_params_ux_uy_sx_sy_sxy"].mT
    covariance = torch.stack([sx, sxy, sxy, sy], -1).unflatten(-1, (2, 2))
    gaussian = Gaussian(torch.stack([ux, uy], -1), covariance)
    assert_close(gaussian_map(gaussian, (30, 40)), case["gauss_out"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ([[1.0]], TypeError, "weights: expected a torch.Tensor, got list"),
        (
            torch.ones(2, 2, dtype=torch.int64),
            TypeError,
            "weights: expected a floating-point dtype, got torch.int64",
        ),
        (torch.ones(4), ValueError, "weights: expected shape (..., H, W), got (4,)"),
    ],
)
def test_fit_errors(weights, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        fit_gaussian(weights)


@pytest.mark.parametrize(
    ("mean", "covariance", "size", "error", "message"),
    [
        (
            torch.ones(3),
            torch.eye(2),
            (4, 4),
            ValueError,
            r"mean: expected shape \(\.\.\., 2\), got \(3,\)",
        ),
        (
            torch.ones(2),
            torch.eye(3),
            (4, 4),
            ValueError,
            r"covariance: expected shape .*, got \(3, 3\)",
        ),
        (
            torch.ones(5, 2),
            torch.ones(4, 2, 2),
            (4, 4),
            ValueError,
            r".*expected .*, got .*\(4, 2, 2\)",
        ),
        (
            torch.ones(2),
            torch.eye(2).double(),
            (4, 4),
            TypeError,
            r"covariance: expected torch\.float32 as .*mean, got torch\.float64",
        ),
        (torch.ones(2), torch.eye(2), (0, 4), ValueError, r"size: expected .*, got \(0, 4\)"),
    ],
)
def test_map_errors(mean, covariance, size, error, message):
    with pytest.raises(error, match=rf"^(gaussian\.)?{message}$"):
        gaussian_map(Gaussian(mean, covariance), size)


@pytest.mark.parametrize("mean", [1e3, -1e20, 3e38])
@pytest.mark.parametrize("covariance", [torch.eye(2), torch.tensor([[1.0, 0.9], [0.9, 1.0]])])
def test_a_mean_far_outside_gives_a_zero_map_without_a_gradient(mean, covariance):
    mean, covariance = torch.tensor([mean, 1.0]).requires_grad_(), covariance.requires_grad_()
    map = gaussian_map(Gaussian(mean, covariance), (4, 5))
    assert not map.any()
    for gradient in torch.autograd.grad(map.sum(), [mean, covariance]):
        assert not gradient.any()  # NaN is not zero
