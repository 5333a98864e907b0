import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.references import scg as reference
from tests.references.batch import each_map
from tests.support.strategies import (
    FLIPS,
    ORDERS,
    SEEDS,
    THRESHOLDS,
    flip,
    generator,
    rotate,
    scenes,
)
from wsolrefine import confseg_thresholds, minmax, scg, self_correlation


def expected(scene, orders, foreground, background):
    def one(cam, layers, high, low):
        return reference.scg(cam, layers, orders, high, low)

    return each_map(one, scene.cam, scene.layers, foreground, background)


@given(scenes(), ORDERS, THRESHOLDS, THRESHOLDS)
def test_matches_reference(scene, orders, foreground, background):
    out = scg(
        scene.cam, scene.features, orders=orders, foreground=foreground, background=background
    )
    assert_close(out, expected(scene, orders, foreground, background))


@given(scenes())
def test_defaults(scene):
    assert_close(scg(scene.cam, scene.features), expected(scene, (1, 2), 0.6, 0.3))


@given(scenes())
def test_takes_the_thresholds_of_confseg(scene):
    low, high = confseg_thresholds(minmax(scene.cam))
    if min(scene.cam.shape[-2:]) == 1:  # one or two pixels lie exactly on the thresholds
        low, high = low - 0.00137, high - 0.00137
    out = scg(scene.cam, scene.features, foreground=high, background=low)
    assert_close(out, expected(scene, (1, 2), high, low))


@given(scenes(), THRESHOLDS, THRESHOLDS)
def test_a_threshold_tensor_is_one_threshold_a_map(scene, foreground, background):
    lead = scene.cam.shape[:-2]
    high = foreground + torch.linspace(-0.2, 0.2, lead.numel(), dtype=torch.float64).view(lead)
    low = torch.tensor(background, dtype=torch.float64)
    out = scg(scene.cam, scene.features, foreground=high, background=low)
    assert_close(out, expected(scene, (1, 2), high, background))


@pytest.mark.parametrize("shape", [(2, 3), (3,), (2, 1), (1, 3), (1,), ()])
def test_threshold_tensors_broadcast_to_batch_and_maps(shape):
    cam, features = torch.rand(2, 3, 4, 5), torch.randn(2, 6, 4, 5)
    high, low = 0.4 + 0.3 * torch.rand(shape), 0.3 * torch.rand(shape)
    out = scg(cam, features, foreground=high, background=low)
    high, low = high.expand(2, 3), low.expand(2, 3)
    for b in range(2):
        for k in range(3):
            one = scg(
                cam[b : b + 1, k],
                features[b : b + 1],
                foreground=high[b, k].item(),
                background=low[b, k].item(),
            )
            assert_close(out[b, k], one[0])


@given(scenes(max_layers=1), THRESHOLDS, THRESHOLDS)
def test_first_order_alone_is_the_formula_written_out(scene, foreground, background):
    cam, (features,) = scene
    maps = minmax(cam).reshape(len(cam), -1, *cam.shape[-2:])
    cam = F.interpolate(maps, scene.grid, mode="bilinear")
    vectors = features.flatten(2)
    cosine = (vectors.mT @ vectors) / vectors.norm(dim=1)[:, None] / vectors.norm(dim=1)[..., None]
    cosine = cosine.nan_to_num(0.0).relu()[:, None]  # (B, 1, N, N)
    inside = (cam.flatten(2) > foreground).double()[..., None]
    outside = (cam.flatten(2) < background).double()[..., None]
    m_obj = (inside * cosine).sum(2) / inside.sum(2).clamp(min=1)
    m_bg = (outside * cosine).sum(2) / outside.sum(2).clamp(min=1)
    result = (m_obj - m_bg).relu() * inside.any(2)
    span = result.amax(-1, keepdim=True) - result.amin(-1, keepdim=True)
    result = torch.where(span > 1e-14, (result - result.amin(-1, keepdim=True)) / span, 0.0)
    out = scg(scene.cam, features, orders=(1,), foreground=foreground, background=background)
    assert_close(out, result.view_as(out))


@given(scenes(), ORDERS, st.data())
def test_any_block_size_gives_the_default_result(scene, orders, data):
    block_size = data.draw(st.integers(1, scene.grid[0] * scene.grid[1] + 3))
    blocked = scg(scene.cam, scene.features, orders=orders, block_size=block_size)
    assert_close(blocked, scg(scene.cam, scene.features, orders=orders))


@pytest.mark.parametrize("channels", [2, 30])
def test_every_block_size_gives_the_default_result(channels):
    g = generator(2)
    cam = torch.rand(2, 2, 3, 4, generator=g, dtype=torch.float64)
    features = torch.randn(2, channels, 3, 4, generator=g, dtype=torch.float64)
    out = scg(cam, features, orders=(1, 2, 3))
    for block_size in range(1, 12 + 4):
        assert_close(scg(cam, features, orders=(1, 2, 3), block_size=block_size), out)


@given(scenes(), ORDERS, SEEDS, st.floats(1e-3, 1e3), FLIPS)
def test_invariances(scene, orders, seed, scale, how):
    out = scg(scene.cam, scene.features, orders=orders)
    assert ((out >= 0) & (out <= 1)).all()
    assert out.shape == (*scene.cam.shape[:-2], *scene.grid)

    def again(change):
        return scg(scene.cam, scene.map(change).features, orders=orders)

    assert_close(again(lambda f: f * scale), out)
    assert_close(again(lambda f: rotate(f, seed)), out)
    flipped = scg(flip(scene.cam, how), scene.map(lambda f: flip(f, how)).features, orders=orders)
    assert_close(flipped, flip(out, how))
    last = scg(scene.cam[-1:], scene.map(lambda f: f[-1:]).features, orders=orders)
    assert_close(last, out[-1:])


@given(scenes(max_layers=1), ORDERS)
def test_channels_of_zeros_change_nothing(scene, orders):
    """More channels than pixels may select another formulation; the result may not show it."""
    pixels = scene.grid[0] * scene.grid[1]
    zeros = scene.features.new_zeros(len(scene.cam), 2 * pixels, *scene.grid)
    padded = torch.cat([scene.features, zeros], 1)
    assert_close(
        scg(scene.cam, padded, orders=orders), scg(scene.cam, scene.features, orders=orders)
    )


@given(scenes(), ORDERS)
def test_is_what_self_correlation_gives(scene, orders):
    maps = minmax(scene.cam).reshape(len(scene.cam), -1, *scene.cam.shape[-2:])
    cam = F.interpolate(maps, scene.grid, mode="bilinear").flatten(2)
    rows = self_correlation(scene.features, orders=orders)[:, None]
    inside, outside = (cam > 0.6)[..., None], (cam < 0.3)[..., None]
    m = (rows * inside).sum(2) / inside.sum(2) - (rows * outside).sum(2) / outside.sum(2).clamp(
        min=1
    )
    m = m.relu().nan_to_num(0.0)
    span = m.amax(-1, keepdim=True) - m.amin(-1, keepdim=True)
    flat = span <= 8 * torch.finfo(m.dtype).eps * len(scene.layers)
    m = torch.where(flat, 0.0, (m - m.amin(-1, keepdim=True)) / span)
    out = scg(scene.cam, scene.features, orders=orders)
    assert_close(out, m.view_as(out))


def test_thresholds_are_strict():
    cam = torch.tensor([[[0.5, 0.0, 1.0]]])
    features = torch.tensor([[[[1.0, 1.0, 0.0]], [[0.0, 1.0, 1.0]]]])
    out = scg(cam, features, orders=(1,), foreground=0.5, background=0.0)
    r = 0.5**0.5  # one foreground pixel, the last; no background pixel
    assert_close(out, torch.tensor([[[0.0, r, 1.0]]]))


def test_a_pixel_may_be_in_both_sets():
    cam = torch.rand(1, 2, 3)
    out = scg(cam, torch.randn(1, 4, 2, 3), foreground=-0.1, background=1.1)
    assert torch.equal(out, torch.zeros_like(cam))


def test_degenerate_sets():
    cam, features = torch.rand(2, 3, 4), torch.randn(2, 5, 3, 4)
    nothing = torch.zeros(2, 3, 4)
    assert torch.equal(scg(cam, features, foreground=1.0), nothing)
    assert torch.equal(scg(cam, features, foreground=1.0, background=-1.0), nothing)
    everything = scg(cam, features, foreground=-1.0, background=-1.0)
    assert_close(everything, minmax(self_correlation(features).mean(1).view(2, 3, 4)))
    assert torch.equal(scg(cam, torch.zeros_like(features)), nothing)
    assert torch.equal(
        scg(cam[:, :1, :1], features[:, :, :1, :1], foreground=-1.0), nothing[:, :1, :1]
    )
    assert torch.equal(scg(torch.zeros_like(cam), features), nothing)


@pytest.mark.parametrize("exponent", [-100, -60, 60, 100])
def test_scale_may_be_extreme(exponent):
    cam, features = torch.rand(2, 4, 5), torch.randn(2, 6, 4, 5)
    assert_close(scg(cam, features * 2.0**exponent), scg(cam, features))


@pytest.mark.parametrize("channels", [32, 512])
@pytest.mark.parametrize("orders", [(1, 2), (2, 3, 4)])
def test_single_precision_stays_close_to_double(channels, orders):
    g = generator(0)
    cam, features = (
        torch.rand(2, 14, 14, generator=g),
        torch.randn(2, channels, 14, 14, generator=g),
    )
    features = F.avg_pool2d(features, 5, 1, 2).relu()
    double = scg(cam.double(), features.double(), orders=orders)
    assert_close(scg(cam, features, orders=orders).double(), double, rtol=0, atol=4e-4)


def dense(cam, features):
    """The default ``scg`` with every matrix held, for the gradients."""
    rows = self_correlation(features)
    inside, outside = (minmax(cam) > 0.6).flatten(1), (minmax(cam) < 0.3).flatten(1)
    m_obj = (rows * inside[..., None]).sum(1) / inside.sum(1, keepdim=True)
    m_bg = (rows * outside[..., None]).sum(1) / outside.sum(1, keepdim=True)
    return minmax((m_obj - m_bg).relu().view_as(cam))


@pytest.mark.parametrize("channels", [3, 40])
@pytest.mark.parametrize("block_size", [None, 1, 7, 100])
def test_gradient_is_that_of_the_dense_formula(channels, block_size):
    g = generator(1)
    cam = torch.rand(2, 4, 5, generator=g, dtype=torch.float64)
    features = torch.randn(2, channels, 4, 5, generator=g, dtype=torch.float64)
    weight = torch.randn(2, 4, 5, generator=g, dtype=torch.float64)
    gradients = []
    for function in (dense, lambda c, f: scg(c, f, block_size=block_size)):
        leaf = features.clone().requires_grad_()
        (function(cam, leaf) * weight).sum().backward()
        gradients.append(leaf.grad)
    assert_close(gradients[1], gradients[0])


class LargestStorage(TorchDispatchMode):
    """Remember the most bytes that any tensor made meanwhile owns."""

    nbytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.nbytes = max(self.nbytes, leaf.untyped_storage().nbytes())
        return out


@pytest.mark.parametrize(("orders", "maps"), [((1, 2), ()), ((3,), (2,))])
def test_never_allocates_a_matrix_of_all_pixel_pairs(orders, maps):
    side, pixels = 56, 56 * 56
    cam = torch.rand(1, *maps, side, side)
    features = torch.randn(1, 8, side, side, requires_grad=True)
    with LargestStorage() as largest:
        out = scg(cam, features, orders=orders, foreground=0.5, background=0.5)
    assert 0 < largest.nbytes < pixels * pixels * 4 / 2
    with LargestStorage() as largest:
        out.sum().backward()
    assert 0 < largest.nbytes < pixels * pixels * 4 / 2
    assert features.grad.isfinite().all()


def saved_bytes(side):
    """Bytes that the graph of one call keeps for its backward pass."""
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        kept.setdefault("alive", []).append(tensor)  # keeps addresses from being used twice
        return tensor

    cam = torch.rand(1, side, side)
    features = torch.randn(1, 8, side, side, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        scg(cam, features, foreground=0.5, background=0.5)
    kept.pop("alive")
    return sum(kept.values())


def test_the_backward_pass_keeps_no_block():
    small, large = saved_bytes(28), saved_bytes(56)
    assert large < 6 * small  # 4 times the pixels; blocks of pixel pairs would be 16 times
    assert large < 56 * 56 * 4 * (20 * 8 + 50)


CAM, FEATURES = torch.rand(2, 7, 5), torch.rand(2, 8, 7, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"orders": (0,)}, r"^orders: expected integers from 1 to 64, got \(0,\)$"),
        ({"orders": ()}, r"^orders: expected integers from 1 to 64, got \(\)$"),
        ({"block_size": 0}, r"block_size: expected .*, got 0"),
        ({"foreground": torch.ones(3)}, r"foreground: expected .*, got \(3,\)"),
        ({"background": torch.ones(2, 7, 5)}, r"background: expected .*, got \(2, 7, 5\)"),
    ],
)
def test_errors_of_options(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        scg(CAM, FEATURES, **options)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["highest", "high"])
def test_vectors_that_only_products_of_fewer_digits_tell_apart_are_equal(precision):
    g = generator(0)
    cam = torch.rand(2, 14, 14, generator=g).cuda()
    vector = torch.rand(1, 256, 1, 1, generator=g)
    features = (vector * (1 + 1e-7 * torch.rand(2, 256, 14, 14, generator=g))).cuda()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        assert (scg(cam, features) == 0).all()
        assert (scg(cam, torch.rand(2, 256, 14, 14, generator=g).cuda()).amax((1, 2)) == 1).all()
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("bad", [0.0, float("nan"), 1e30])
def test_an_image_that_takes_another_way_changes_no_other(bad):
    """More channels than pixels: a dead pixel, NaN or a large one sends its image another way."""
    g = generator(0)
    cam, features = torch.rand(3, 4, 5, generator=g), torch.randn(3, 40, 4, 5, generator=g)
    before = scg(cam, features)
    features[1, :, 2, 2] = bad
    after = scg(cam, features.requires_grad_())
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert (after[1] == 0).all() == (bad != bad)
    (gradient,) = torch.autograd.grad(after[[0, 2]].square().sum(), features)
    assert gradient[[0, 2]].isfinite().all()
