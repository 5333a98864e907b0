from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import sem as reference
from tests.references.batch import each_map
from tests.references.resize import resize
from tests.support.strategies import FLIPS, SEEDS, flip, generator, rotate, scenes
from wsolrefine import minmax, sem
from wsolrefine.functional._grid import highest_pixels

SOME = st.integers(1, 45)


def certain(scene, num_seeds):
    """Skip ties between the last seed and the next pixel after a resizing, which are by raster."""
    cam = scene.cam.reshape(-1, *scene.cam.shape[-2:])
    if tuple(cam.shape[-2:]) == scene.grid or not cam.any():
        return
    for one in cam:
        values = sorted(resize(one.numpy(), scene.grid).reshape(-1), reverse=True)
        assume(num_seeds >= len(values) or values[num_seeds - 1] - values[num_seeds] > 1e-5)


@given(scenes(), SOME)
def test_matches_reference(scene, num_seeds):
    expected = each_map(
        lambda cam, layers: reference.sem(cam, layers, num_seeds), scene.cam, scene.layers
    )
    assert_close(sem(scene.cam, scene.features, num_seeds=num_seeds), expected)


@given(scenes())
def test_default_is_sixty_seeds(scene):
    assert_close(sem(scene.cam, scene.features), sem(scene.cam, scene.features, num_seeds=60))


@given(scenes(), SOME, SEEDS, st.floats(1e-3, 1e3), FLIPS)
def test_invariances(scene, num_seeds, seed, scale, how):
    certain(scene, num_seeds)
    out = sem(scene.cam, scene.features, num_seeds=num_seeds)
    assert ((out >= 0) & (out <= 1)).all()
    assert out.shape == (*scene.cam.shape[:-2], *scene.grid)

    def again(change):
        return sem(scene.cam, scene.map(change).features, num_seeds=num_seeds)

    assert_close(again(lambda f: f * scale), out)
    assert_close(again(lambda f: rotate(f, seed)), out)
    assert_close(sem(scene.cam * 2, scene.features, num_seeds=num_seeds), out)
    last = scene.map(lambda f: f[-1:]).features
    assert_close(sem(scene.cam[-1:], last, num_seeds=num_seeds), out[-1:])
    if len(scene.cam.unique()) == 1 and num_seeds < scene.grid[0] * scene.grid[1]:
        return  # ties follow the raster, which the flip turns
    flipped = scene.map(lambda f: flip(f, how)).features
    assert_close(sem(flip(scene.cam, how), flipped, num_seeds=num_seeds), flip(out, how))


def test_equal_values_are_taken_in_raster_order():
    features = torch.eye(6).view(1, 6, 2, 3)  # every pixel is like itself alone
    cam = torch.tensor([[[1.0, 2.0, 1.0], [1.0, 2.0, 1.0]]])
    for num_seeds, seeds in [
        (1, [1]),
        (2, [1, 4]),
        (3, [0, 1, 4]),
        (4, [0, 1, 2, 4]),
        (5, [0, 1, 2, 3, 4]),
    ]:
        expected = torch.zeros(6)
        expected[seeds] = 1
        assert_close(sem(cam, features, num_seeds=num_seeds).flatten(), expected)
    features = torch.eye(400).view(1, 400, 20, 20)
    expected = torch.zeros(400)
    expected[:150] = 1
    constant = torch.ones(1, 20, 20)
    assert_close(sem(constant, features, num_seeds=150).flatten(), expected)


SIDES = st.lists(st.integers(1, 12), min_size=4, max_size=4).filter(
    # Refused: a single cell under a larger CAM, and a grid that lies across the CAM.
    lambda sides: sides[2:] != [1, 1] and (sides[0] - sides[1]) * (sides[2] - sides[3]) >= 0
)
LEVELS = st.sampled_from([2, 3, 4, 5, 8, 11])
SCALES = st.sampled_from([1 / 3, 1 / 10, 0.7, 3.0, 41.0, 1e-20, 1e20])


def stepped(seed, sides, levels):
    """A CAM of few levels, so that resizing makes many equal values, and features."""
    g = generator(seed)
    cam = torch.randint(levels, (2, 3, *sides[:2]), generator=g).float()
    return cam, torch.randn(2, 4, *sides[2:], generator=g)


@given(SEEDS, SIDES, SOME, LEVELS, SCALES, st.sampled_from([0.0, 0.7, -3.0]))
def test_scale_and_offset_of_the_cam_do_not_matter(seed, sides, num_seeds, levels, scale, offset):
    """Each scale rounds the equal values of a resized CAM in its own way."""
    cam, features = stepped(seed, sides, levels)
    expected = sem(cam, features, num_seeds=num_seeds)
    scaled = scale * (cam + offset)
    assert torch.equal(sem(scaled, features, num_seeds=num_seeds), expected)


@given(SEEDS, SIDES, SOME, LEVELS, SCALES)
def test_ties_of_a_resized_cam_are_the_same_in_every_precision(
    seed, sides, num_seeds, levels, scale
):
    cam, features = stepped(seed, sides, levels)
    single = sem(scale * cam, features, num_seeds=num_seeds)
    double = sem((scale * cam).double(), features.double(), num_seeds=num_seeds)
    assert_close(single.double(), double, rtol=0, atol=1e-4)
    # Half precision holds these levels exactly, and the features after one rounding.
    features = features.bfloat16()
    half = sem(cam.bfloat16(), features, num_seeds=num_seeds)
    expected = sem(cam, features.float(), num_seeds=num_seeds)
    assert_close(half.float(), expected, rtol=0, atol=2**-8)


@given(SEEDS, SIDES, SOME, st.integers(1, 9), st.sampled_from([1.0, 1 / 3, 2.0**-140]))
def test_seeds_of_a_resized_cam_are_those_of_exact_fractions(seed, sides, count, levels, scale):
    cam = torch.randint(levels, (1, 1, *sides[:2]), generator=generator(seed)).float()
    exact = exactly_resized(cam[0, 0].int().tolist(), sides[2:])
    expected = sorted(range(len(exact)), key=lambda i: (-exact[i], i))[:count]
    found = highest_pixels(scale * cam, tuple(sides[2:]), len(expected))
    assert sorted(found.flatten().tolist()) == sorted(expected)


def test_values_of_the_cam_that_differ_in_one_bit_are_no_tie_on_its_own_grid():
    cam = torch.tensor([[[1.0, 1.0 + 2**-23, 0.0]]])
    features = torch.eye(3).view(1, 3, 1, 3)
    assert sem(cam, features, num_seeds=1).flatten().tolist() == [0, 1, 0]


def exactly_resized(rows, size):
    """Bilinear with half-pixel centers, in fractions."""

    def weights(given, length):
        for index in range(length):
            center = Fraction(2 * index + 1, 2) * given / length - Fraction(1, 2)
            center = min(max(center, Fraction(0)), Fraction(given - 1))
            low = int(center)
            yield low, min(low + 1, given - 1), center - low

    columns = [
        [
            row[low] * (1 - share) + row[high] * share
            for low, high, share in weights(len(row), size[1])
        ]
        for row in rows
    ]
    return [
        top * (1 - share) + bottom * share
        for low, high, share in weights(len(rows), size[0])
        for top, bottom in zip(columns[low], columns[high], strict=True)
    ]


def test_a_compiled_sem_takes_the_same_seeds():
    cam = torch.randint(4, (2, 7, 5), generator=generator(0)).float()
    features = torch.randn(2, 3, 12, 9, generator=generator(1))
    torch.compiler.reset()
    compiled = torch.compile(sem, fullgraph=True)
    expected = sem(cam, features, num_seeds=9)
    try:
        found = compiled(cam, features, num_seeds=9)
    except torch._dynamo.exc.BackendCompilerFailed:  # no C++ compiler
        pytest.skip("torch.compile has no compiler here")
    assert_close(found, expected, rtol=0, atol=1e-5)


def test_layers_add_their_cosines():
    cam, first, second = torch.rand(2, 4, 5), torch.randn(2, 3, 4, 5), torch.randn(2, 9, 4, 5)
    unit = torch.cat([F.normalize(first, dim=1), F.normalize(second, dim=1)], 1)
    assert_close(sem(cam, [first, second], num_seeds=3), sem(cam, unit, num_seeds=3))


@pytest.mark.parametrize("channels", [1, 16, 512, 2048])
def test_as_many_seeds_as_pixels_is_a_flat_map(channels):
    """Every pixel is then a seed, like itself up to rounding, and rounding is not a map."""
    cam = torch.rand(2, 9, 9)
    features = torch.randn(2, channels, 9, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(sem(cam, features, num_seeds=81), torch.zeros(2, 9, 9))
    assert torch.equal(sem(cam, features, num_seeds=1000), torch.zeros(2, 9, 9))


def test_zero_features_give_a_zero_map():
    assert torch.equal(sem(torch.rand(1, 3, 3), torch.zeros(1, 2, 3, 3)), torch.zeros(1, 3, 3))


def test_negative_cosines_are_kept():
    cam = torch.tensor([[[1.0, 0.0, 0.0]]])
    features = torch.tensor([[[[1.0, 0.0, -1.0]], [[0.0, 1.0, 0.0]]]])
    assert_close(sem(cam, features, num_seeds=1), torch.tensor([[[1.0, 0.5, 0.0]]]))


@pytest.mark.parametrize("exponent", [-100, -60, 60, 100])
def test_scale_may_be_extreme(exponent):
    cam, features = torch.rand(2, 4, 5), torch.randn(2, 6, 4, 5)
    assert_close(sem(cam, features * 2.0**exponent, num_seeds=3), sem(cam, features, num_seeds=3))


@pytest.mark.parametrize(
    "name",
    [
        "c16_14x14_k20",
        "c64_28x28_k60",
        "c16_10x14_k5_signed",
        "c16_10x14_k1",
        "c16_9x9_k6_zero_vector",
    ],
)
def test_golden(golden, name):
    case = {k: torch.from_numpy(v) for k, v in golden("sem", name).items()}
    num_seeds, label = case["K_y"].tolist()
    out = sem(case["M"][label][None], case["F"][None], num_seeds=num_seeds)
    assert_close(out[0], case["sem"], rtol=0, atol=2e-6)
    assert_close(out[0], minmax(case["raw_maxsim"]), rtol=0, atol=2e-6)
    living = case["F"].flatten(1).any(0)[case["seed_idx"]]  # one seed is a zero vector
    assert out[0].flatten()[case["seed_idx"]][living].min() > 1 - 2e-6


def test_golden_of_all_seeds(golden):
    """The released code spreads rounding over [0, 1] here; a flat map is 0."""
    case = {k: torch.from_numpy(v) for k, v in golden("sem", "c16_7x7_kall").items()}
    assert_close(case["raw_maxsim"], torch.ones(7, 7))
    out = sem(case["M"][:1], case["F"][None], num_seeds=49)
    assert torch.equal(out, torch.zeros(1, 7, 7))


CAM, FEATURES = torch.rand(2, 7, 5), torch.rand(2, 8, 7, 5)


def test_errors():
    with pytest.raises(ValueError, match=r"^num_seeds: expected an integer >= 1, got 0$"):
        sem(CAM, FEATURES, num_seeds=0)
