import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import losses as reference
from tests.support.strategies import SEEDS, generator
from wsolrefine.losses import restricted_activation_loss

CASES = [
    "cub_b3_c16_14x14",
    "ilsvrc_b3_c64_14x14",
    "argparse_b1_c16_7x9",
    "signature_b1_c16_7x9",
    "flat_b1_c16_4x4",
]


@st.composite
def logit_maps(draw):
    """Class maps from almost equal to saturated, and a label for each image."""
    b, k = draw(st.integers(1, 3)), draw(st.integers(2, 6))
    size = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    g = generator(draw(SEEDS))
    scale = draw(st.sampled_from([0.1, 1.0, 5.0, 50.0]))
    logit_map = scale * torch.randn(b, k, *size, generator=g, dtype=torch.float64)
    return logit_map, torch.randint(k, (b,), generator=g)


def spread_of(logit_map, released):
    one = reference.spreads_released if released else reference.spreads
    return torch.stack([torch.from_numpy(one(image.numpy())) for image in logit_map])


FRACTIONS = st.floats(0, 1).map(lambda fraction: fraction + 1e-4)  # no tie with a min-maxed 0


@given(logit_maps(), FRACTIONS, st.floats(0, 0.5), st.booleans())
def test_matches_reference(case, fraction, gap, released):
    logit_map, label = case
    spread = spread_of(logit_map, released)
    # The paper's spread is at most sqrt(K - 1) / K.
    k = logit_map.shape[1]
    threshold, gap = (v if released else v * (k - 1) ** 0.5 / k for v in (fraction, gap))
    near = (spread - threshold).abs().amin() < 1e-9
    if near or (spread - threshold - gap).abs().amin() < 1e-9:
        return  # a comparison that hangs on one rounding
    out = restricted_activation_loss(
        logit_map, label, threshold=threshold, gap=gap, released=released, reduction="none"
    )
    expected = [
        reference.restricted_activation(image.numpy(), int(y), v.numpy(), threshold, gap)
        for image, y, v in zip(logit_map, label, spread, strict=True)
    ]
    assert_close(out, torch.tensor(expected, dtype=torch.float64))
    assert ((out >= 0) & (out <= 1)).all()


@pytest.mark.parametrize("name", CASES)
def test_golden(golden, name):
    """The authors' loss and its gradient."""
    case = golden("spa_ram_loss", name)
    logit_map = torch.from_numpy(case["logits"]).requires_grad_()
    label = torch.from_numpy(case["label"])
    threshold, gap = case["params"].tolist()
    loss = restricted_activation_loss(logit_map, label, threshold=threshold, gap=gap, released=True)
    loss.backward()
    assert_close(loss.item(), case["loss"].item(), rtol=0, atol=1e-6)
    assert_close(logit_map.grad, torch.from_numpy(case["grad"]), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_golden_masks(golden, name):
    """Their spread cut at other thresholds; the sign of the gradient tells the masks apart."""
    case = golden("spa_ram_loss", name)
    spread, label = torch.from_numpy(case["norm_var"]), torch.from_numpy(case["label"])
    reference_spread = spread_of(torch.from_numpy(case["logits"]).double(), released=True)
    assert_close(reference_spread, spread.double(), rtol=0, atol=2e-6)
    for threshold in (0.0501, 0.2503, 0.6007):
        at = {"threshold": threshold, "gap": 0.0, "released": True, "reduction": "none"}
        logit_map = torch.from_numpy(case["logits"]).requires_grad_()
        loss = restricted_activation_loss(logit_map, label, **at)
        (gradient,) = torch.autograd.grad(loss.sum(), logit_map)
        image = torch.arange(len(label))
        sign = gradient[image, label].sign()
        decided = (spread - threshold).abs() > 1e-5
        expected = torch.where(spread < threshold, 1.0, -1.0)
        assert torch.equal(sign[decided], expected[decided])
        assert decided.float().mean() > 0.98


def test_pixels_between_the_thresholds_cost_nothing_but_count():
    # Two classes: the spread is |p0 - 1/2|.
    p = torch.tensor([0.5, 0.6, 0.7, 0.8, 0.9], dtype=torch.float64)
    logit_map = torch.stack([p.logit(), torch.zeros_like(p)])[None, :, None, :].requires_grad_()
    loss = restricted_activation_loss(logit_map, torch.tensor([0]), threshold=0.15, gap=0.1)
    assert_close(loss, (p[0] + p[1] + (1 - p[3]) + (1 - p[4])) / 5)
    loss.backward()
    assert logit_map.grad[0, 0, 0].sign().tolist() == [1, 1, 0, -1, -1]


@given(logit_maps(), st.booleans())
def test_gradients_reach_the_map_of_the_label_alone(case, released):
    logit_map, label = case
    logit_map.requires_grad_()
    restricted_activation_loss(
        logit_map, label, threshold=0.2, gap=0.0, released=released
    ).backward()
    others = torch.ones(logit_map.shape[:2]).scatter(1, label[:, None], 0).bool()
    assert not logit_map.grad[others].any()


def test_the_paper_and_the_released_code_differ():
    logit_map = torch.randn(2, 5, 4, 4, generator=generator(0))
    label = torch.tensor([1, 4])
    paper, released = (
        restricted_activation_loss(logit_map, label, threshold=0.2, gap=0.1, released=r)
        for r in (False, True)
    )
    assert (paper - released).abs() > 0.01


def test_thresholds_are_strict():
    """A spread that equals both thresholds exactly is neither object nor background."""
    logit_map = torch.tensor([1000.0, -1000.0]).reshape(1, 2, 1, 1)  # probabilities 1 and 0
    label = torch.tensor([0])
    at = {"gap": 0.0, "reduction": "none"}
    assert restricted_activation_loss(logit_map, label, threshold=0.5, **at).item() == 0
    assert restricted_activation_loss(-logit_map, label, threshold=0.5, **at).item() == 0
    below = torch.nextafter(torch.tensor(0.5), torch.tensor(0.0)).item()
    assert restricted_activation_loss(-logit_map, label, threshold=below, **at).item() == 1


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 16, 200])
def test_equal_classes_are_background(released, classes):
    """Whatever the logits are, as long as no class stands out at any pixel."""
    one = torch.randn(2, 1, 5, 7, generator=generator(classes)) * 3
    for logit_map in (one.expand(2, classes, 5, 7), torch.zeros(2, classes, 5, 7)):
        label = torch.tensor([classes - 1, 0])
        loss = restricted_activation_loss(
            logit_map, label, threshold=0.05, gap=0.1, released=released, reduction="none"
        )
        assert_close(loss, logit_map[:, 0].sigmoid().mean((1, 2)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("classes", range(2, 12))
def test_released_constant_image_is_background(classes, layout):
    """Its variance is the same everywhere up to rounding, which the min-max would blow up."""
    pixel = torch.randn(1, classes, 1, 1, generator=generator(classes))
    logit_map = pixel.expand(1, classes, 7, 9).contiguous(memory_format=layout)
    loss = restricted_activation_loss(
        logit_map, torch.tensor([1]), threshold=0.1, gap=0.2, released=True
    )
    assert_close(loss, pixel[0, 1, 0, 0].sigmoid())


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_shows_in_its_image_alone(released, bad):
    logit_map = torch.randn(3, 4, 3, 3, generator=generator(1))
    label = torch.tensor([0, 1, 2])
    at = {"threshold": 0.1, "gap": 0.1, "released": released, "reduction": "none"}
    clean = restricted_activation_loss(logit_map, label, **at)
    for k in (1, 3):  # of the label, of another class
        broken = logit_map.clone()
        broken[1, k, 0, 0] = bad
        loss = restricted_activation_loss(broken, label, **at)
        assert loss[1].isnan()
        assert torch.equal(loss[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize("released", [False, True])
def test_an_impossible_class_is_no_accident(released):
    """A logit of minus infinity is a probability of zero."""
    logit_map = torch.randn(2, 4, 3, 3, generator=generator(1))
    label = torch.tensor([0, 1])
    at = {"threshold": 0.1, "gap": 0.1, "released": released}
    broken, low = logit_map.clone(), logit_map.clone()
    broken[0, 0, 1, 1], low[0, 0, 1, 1] = -torch.inf, -200.0
    expected = restricted_activation_loss(low, label, **at)
    assert_close(restricted_activation_loss(broken, label, **at), expected)


@pytest.mark.parametrize(
    ("logit_map", "label", "error", "message"),
    [
        (
            torch.zeros(2, 1, 3, 3),
            torch.zeros(2).long(),
            ValueError,
            "logit_map: expected at least 2 classes, got shape (2, 1, 3, 3)",
        ),
        (
            torch.zeros(2, 3, 3),
            torch.zeros(2).long(),
            ValueError,
            "logit_map: expected shape (B, K, h, w), got (2, 3, 3)",
        ),
    ],
)
def test_errors(logit_map, label, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        restricted_activation_loss(logit_map, label, threshold=0.1, gap=0.1)


def test_thresholds_have_no_default():
    """The paper's differ between data sets, and between its definition and its code."""
    with pytest.raises(TypeError, match="threshold"):
        restricted_activation_loss(torch.zeros(1, 2, 1, 1), torch.zeros(1).long())
