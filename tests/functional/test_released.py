import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import scg as reference
from tests.references.batch import each_map
from tests.references.correlation import self_correlation_released as released_correlation
from tests.support.strategies import FLIPS, SEEDS, THRESHOLDS, flip, generator, rotate, scenes
from wsolrefine import scg_released, self_correlation_released, union_box

PARAMETERS = st.fixed_dictionaries(
    {
        "first_threshold": st.sampled_from([0.0, 0.1, 0.237, 0.61]),
        "second_threshold": st.sampled_from([0.0, 0.1, 0.513, 0.91]),
        "second_weight": st.sampled_from([0.0, 0.5, 1.0, 2.0]),
        "order": st.integers(1, 4),
    }
)
DEFAULTS = {"first_threshold": 0.1, "second_threshold": 0.5, "second_weight": 2.0, "order": 2}


def correlation(scene, parameters):
    dummy = torch.zeros(len(scene.cam), 1, 1)
    layers = [F.interpolate(f, scene.grid, mode="bilinear") for f in scene.layers]
    return each_map(lambda _, image: released_correlation(image, **parameters), dummy, layers)


def localization(scene, parameters, foreground=0.1, background=0.05):
    """The reference, for scenes in which no rounding is magnified a million times."""

    def one(cam, layers):
        result, span = reference.scg_released(cam, layers, parameters, foreground, background)
        assume(span > 1e-6)
        return result

    return each_map(one, scene.cam, scene.layers)


def scg_parameters(values):
    first, second, order, weight, foreground, background = values.tolist()
    return {
        "first_threshold": first,
        "second_threshold": second,
        "second_weight": weight,
        "order": int(order),
        "foreground": foreground,
        "background": background,
    }


@given(scenes(with_maps=False), PARAMETERS)
def test_self_correlation_matches_reference(scene, parameters):
    out = self_correlation_released(scene.features, **parameters)
    assert_close(out, correlation(scene, parameters))


@given(scenes(with_maps=False))
def test_self_correlation_defaults(scene):
    assert_close(self_correlation_released(scene.features), correlation(scene, DEFAULTS))


@given(scenes(with_maps=False, max_layers=1), PARAMETERS)
def test_columns_sum_to_one(scene, parameters):
    out = self_correlation_released(scene.features, **parameters)
    alive = scene.features.flatten(2).any(1)
    assert (out >= 0).all()
    assert_close(out.sum(1), alive.double())


@given(scenes(), PARAMETERS, THRESHOLDS, THRESHOLDS)
def test_scg_matches_reference(scene, parameters, foreground, background):
    thresholds = {"foreground": foreground, "background": background}
    out = scg_released(scene.cam, scene.features, **parameters, **thresholds)
    assert_close(out, localization(scene, parameters, **thresholds))


@given(scenes())
def test_scg_defaults(scene):
    assert_close(scg_released(scene.cam, scene.features), localization(scene, DEFAULTS))


@given(scenes(), PARAMETERS, SEEDS, st.floats(1e-3, 1e3), FLIPS)
def test_invariances(scene, parameters, seed, scale, how):
    localization(scene, parameters)
    out = scg_released(scene.cam, scene.features, **parameters)
    assert ((out >= 0) & (out <= 1)).all()
    assert out.shape == (*scene.cam.shape[:-2], *scene.grid)

    def again(change):
        return scg_released(scene.cam, scene.map(change).features, **parameters)

    assert_close(again(lambda f: f * scale), out)
    assert_close(again(lambda f: rotate(f, seed)), out)
    flipped = scene.map(lambda f: flip(f, how)).features
    assert_close(scg_released(flip(scene.cam, how), flipped, **parameters), flip(out, how))
    last = scene.map(lambda f: f[-1:]).features
    assert_close(scg_released(scene.cam[-1:], last, **parameters), out[-1:])


def test_a_cosine_equal_to_the_first_threshold_survives():
    features = torch.tensor([[[[1.0, 1.0]], [[0.0, 0.0]]]])  # cosine 1, exactly
    assert self_correlation_released(features, first_threshold=1.0, order=1)[0, 0, 1] > 0
    assert self_correlation_released(features, first_threshold=1.01, order=1).eq(0).all()


def test_thresholds_are_inclusive():
    features = torch.randn(1, 8, 2, 4, generator=generator(0))
    cam = torch.tensor([[[0.5, 0.25, 0.4, 0.3], [0.5, 0.25, 0.35, 0.3]]])
    exact = scg_released(cam, features, foreground=0.5, background=0.25)
    assert torch.equal(exact, scg_released(cam, features, foreground=0.45, background=0.27))
    assert not torch.equal(exact, scg_released(cam, features, foreground=0.6, background=0.25))
    assert not torch.equal(exact, scg_released(cam, features, foreground=0.5, background=0.2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("directions", [1, 2, 3])
def test_rounding_does_not_become_a_map(directions, dtype):
    """Vectors of few directions: the foreground's and the background's map are equal or constant."""
    g = generator(0)
    lengths = 0.1 + torch.rand(40, 1, 9, 9, generator=g, dtype=torch.float64)
    which = torch.randint(directions, (40, 9, 9), generator=g)
    vectors = torch.randn(directions, 16, generator=g, dtype=torch.float64)
    features = (vectors[which].permute(0, 3, 1, 2) * lengths).to(dtype)
    cam = torch.full((40, 9, 9), 0.5, dtype=dtype)
    out = scg_released(cam, features, second_weight=0.0, foreground=0.4, background=0.6)
    assert torch.equal(out, torch.zeros_like(cam))  # foreground and background are all pixels
    if directions == 1:
        out = scg_released(torch.rand(40, 9, 9, generator=g).to(dtype), features, second_weight=0.0)
        assert torch.equal(out, torch.zeros_like(cam))


def test_equal_maps_of_object_and_background_leave_nothing():
    """Two opposite directions, in both sets in the same proportion: both maps show the commoner one.

    Their difference is rounding only. (In float64 the authors' 1e-10 shows, it is no rounding.)
    """
    g = generator(0)
    sign = torch.ones(1, 1, 9, 9)
    sign[..., 4] = -1
    features = sign * (0.1 + torch.rand(40, 1, 9, 9, generator=g))
    cam = torch.rand(40, 9, 9, generator=g)
    out = scg_released(cam, features, second_weight=0.0, foreground=0.6, background=0.4)
    assert torch.equal(out, torch.zeros_like(cam))


def test_degenerate_sets():
    cam, features = 0.2 + 0.7 * torch.rand(2, 3, 4), torch.randn(2, 5, 3, 4)
    nothing = torch.zeros(2, 3, 4)
    assert torch.equal(scg_released(cam, features, foreground=0.95, background=0.05), nothing)
    assert torch.equal(scg_released(cam, features, foreground=0.95, background=0.5), nothing)
    assert scg_released(cam, features, foreground=0.1, background=0.05).amax((1, 2)).eq(1).all()
    assert torch.equal(scg_released(cam, torch.zeros_like(features)), nothing)
    one = scg_released(cam[:, :1, :1], features[:, :, :1, :1])
    assert torch.equal(one, nothing[:, :1, :1])


# --- numbers of the released code, atol as their index suggests -----------------------------------

WHOLE = [
    "rand_c16_7x7_b1_default",
    "relu_c16_8x8_b3_ilsvrc",
    "blob_c64_14x14_b1_cub",
    "rand_c16_6x10_b1_order3",
    "rand_c16_5x6_b3_order1",
    "zero_vectors_c16_5x5_b1",
]
SUBSAMPLED = ["blob_c64_28x28_b1_cub_subsampled", "blob_c16_14x14_b3_subsampled"]
HSC = {"rtol": 0, "atol": 1e-6}
SCG = {"rtol": 0, "atol": 1e-5}
MUCH = 1e6  # a second_weight that leaves nothing of the first order where the second is not zero


def hsc_case(case):
    first, second, order, weight = case["params"].tolist()
    parameters = {"first_threshold": first, "second_threshold": second, "order": int(order)}
    return torch.from_numpy(case["feat"]), parameters, weight


def columns_to_one(matrix):
    """The released first- or second-order map as COM would hold it alone."""
    return matrix / (matrix.sum(1, keepdims=True) + 1e-10)


@pytest.mark.parametrize("name", WHOLE)
def test_golden_self_correlation(golden, name):
    case = golden("spa_hsc", name)
    features, parameters, weight = hsc_case(case)
    com = self_correlation_released(features, second_weight=weight, **parameters)
    assert_close(com, torch.from_numpy(case["com"]), **HSC)
    first = self_correlation_released(features, second_weight=0.0, **parameters)
    assert_close(first, torch.from_numpy(columns_to_one(case["fo"])), **HSC)
    second = self_correlation_released(features, second_weight=MUCH, **parameters)
    expected = torch.from_numpy(columns_to_one(case["so"]))
    some = (expected.sum(1, keepdim=True) > 0).expand_as(expected)
    # The remainder of the first order, at most N / MUCH of it, is part of what is compared.
    assert_close(second[some], expected[some], rtol=0, atol=1e-6 + expected.shape[1] / MUCH)


@pytest.mark.parametrize("name", SUBSAMPLED)
def test_golden_self_correlation_subsampled(golden, name):
    case = {k: torch.from_numpy(v) for k, v in golden("spa_hsc", name).items()}
    features, parameters, weight = hsc_case(golden("spa_hsc", name))
    com = self_correlation_released(features, second_weight=weight, **parameters)
    assert_close(com[..., case["cols"]], case["com_cols"], **HSC)
    assert_close(com.sum(1), case["com_colsum"], rtol=0, atol=1e-5)
    assert_close(com.sum(2), case["com_rowsum"], rtol=1e-5, atol=1e-5)  # sums of N float32 numbers
    first = self_correlation_released(features, second_weight=0.0, **parameters)
    columns = case["cols"]
    expected = case["fo_cols"] / (case["fo_colsum"][:, None, columns] + 1e-10)
    assert_close(first[..., columns], expected, **HSC)
    assert_close(first.sum(2), case["fo_rowsum"], rtol=3e-5, atol=1e-5)  # fo sums to 1 - 1e-5 / sum
    second = self_correlation_released(features, second_weight=MUCH, **parameters)
    expected = case["so_cols"] / (case["so_colsum"][:, None, columns] + 1e-10)
    assert_close(second[..., columns], expected, rtol=0, atol=1e-6 + features.shape[2] ** 2 / MUCH)


@pytest.mark.parametrize(
    ("name", "layers", "change"),
    [
        ("single_com_14", 1, {}),
        ("two_layers_sum_14", 2, {}),
        ("fo_only_14", 1, {"second_weight": 0.0}),
        ("so_only_14", 1, {"second_weight": MUCH}),
        ("rand_c16_8", 1, {}),
        ("argparse_defaults_8", 1, {}),
        ("no_background_8", 1, {}),
        ("no_foreground_8", 1, {}),
        ("single_com_28", 1, {}),
    ],
)
def test_golden_scg(golden, name, layers, change):
    case = {k: torch.from_numpy(v) for k, v in golden("spa_scg", name).items()}
    parameters = scg_parameters(case["params"]) | change
    features = [case[f"feat{n}"] for n in range(layers)]
    out = scg_released(case["cam"][None], features, **parameters)
    atol = 5e-5 if name == "single_com_28" else 1e-5
    assert_close(out[0], case["scg"], rtol=0, atol=atol)
    if "scmap0" in case and not change:  # every fourth column is kept
        hsc = {k: parameters[k] for k in DEFAULTS}
        com = self_correlation_released(features, **hsc)
        assert_close(com[..., ::4], case["scmap0"], rtol=0, atol=layers * 1e-6)


def test_golden_scg_of_a_list_is_the_maximum_of_the_layers(golden):
    case = {k: torch.from_numpy(v) for k, v in golden("spa_scg", "two_layers_listmax_14").items()}
    parameters = scg_parameters(case["params"])
    both = [scg_released(case["cam"][None], case[f"feat{n}"], **parameters) for n in range(2)]
    assert_close(torch.maximum(*both)[0], case["scg"], **SCG)


def test_golden_image_path(golden):
    """A CAM at image size is shrunk to the grid of the features, the result enlarged again."""
    case = {k: torch.from_numpy(v) for k, v in golden("spa_scg", "image_path").items()}
    layers = golden("spa_scg", "two_layers_sum_14")
    features = [torch.from_numpy(layers[f"feat{n}"]) for n in range(2)]
    out = scg_released(case["cam_img"][None], features)
    image = F.interpolate(out[:, None], case["scg_img"].shape, mode="bilinear")[:, 0]
    assert_close(image[0], case["scg_img"], **SCG)
    for threshold in ("0.2", "0.35"):  # one component here, so both of their modes give one box
        box = union_box(image >= float(threshold))[0] - torch.tensor([0, 0, 1, 1])
        assert_close(box.long(), case[f"box_union_{threshold}"])
        assert_close(box.long(), case[f"box_max_{threshold}"])


CAM, FEATURES = torch.rand(2, 7, 5), torch.rand(2, 8, 7, 5)


def test_scg_errors():
    with pytest.raises(ValueError, match=r"^order: expected an integer >= 1, got 0$"):
        scg_released(CAM, FEATURES, order=0)


@pytest.mark.parametrize(
    ("features", "options", "error", "message"),
    [
        ([], {}, ValueError, "features: expected at least one tensor, got []"),
        (
            CAM,
            {},
            ValueError,
            "features: expected shape (B, C, h, w), got (2, 7, 5); tokens (B, N, C) become maps by"
            " tokens_to_map, maps (C, h, w) of one image a batch by features[None]",
        ),
        (
            FEATURES.long(),
            {},
            TypeError,
            "features: expected a floating-point dtype, got torch.int64",
        ),
        (FEATURES, {"order": 0}, ValueError, "order: expected an integer >= 1, got 0"),
    ],
)
def test_self_correlation_errors(features, options, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        self_correlation_released(features, **options)
