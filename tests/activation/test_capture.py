from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from tests.support.strategies import SEEDS, generator
from tests.support.zoo import ResNet, ViT, seeded
from wsolrefine.activation.cams import gap_cam, grad_cam
from wsolrefine.activation.hooks import capture
from wsolrefine.functional.normalize import minmax
from wsolrefine.functional.tokens import tokens_to_map

LABELS = torch.tensor([[2, 0], [1, 3]])


def hooks(model):
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, name)) for module in model.modules() for name in names)


def values(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64).to(dtype)


class Raises(nn.Module):
    def forward(self, x):
        raise RuntimeError("broken layer")


class Several(nn.Module):
    """A layer that returns more than a tensor."""

    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(2 * x)


class First(nn.Module):
    def forward(self, x):
        return x[0] if isinstance(x, (tuple, list)) else x["out"]


# capture ------------------------------------------------------------------------------------------


def test_capture_returns_the_tensors_that_the_model_computed():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid())
    with capture(model, "0", "1") as outputs:
        result = model(torch.rand(2, 3, 7, 5))
    assert list(outputs) == ["0", "1"]
    assert outputs["1"] is result
    assert outputs["0"].requires_grad
    assert_close(outputs["0"].sigmoid(), result)


def test_capture_removes_its_hooks_after_the_block():
    model = seeded(ResNet)
    with capture(model, "layer3", "layer4.1.bn2", "layer3"):
        assert hooks(model) == 3
        model(torch.rand(1, 3, 64, 64))
    assert hooks(model) == 0


def test_capture_removes_its_hooks_when_the_model_raises():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), Raises())
    with pytest.raises(RuntimeError, match="broken layer"), capture(model, "0", "1") as outputs:
        model(torch.rand(1, 3, 5, 5))
    assert hooks(model) == 0
    assert list(outputs) == ["0"]


def test_capture_leaves_other_hooks_alone():
    model, seen = nn.Sequential(nn.ReLU()), []
    model[0].register_forward_hook(lambda *_: seen.append("mine"))
    with capture(model, "0"):
        model(torch.rand(1))
    model(torch.rand(1))
    assert seen == ["mine", "mine"]


def test_capture_keeps_the_last_output_of_a_layer_that_runs_twice():
    model = nn.Module()
    model.twice = Several(lambda x: x)
    model.forward = lambda x: model.twice(model.twice(x))
    with capture(model, "twice") as outputs:
        model(torch.ones(1))
    assert_close(outputs["twice"], torch.full((1,), 4.0))


@pytest.mark.parametrize(
    "wrap",
    [lambda x: (x, x + 1), lambda x: [None, x], lambda x: {"out": x, "more": x + 1}],
    ids=["tuple", "list", "mapping"],
)
def test_capture_takes_the_first_tensor_of_an_output(wrap):
    model = nn.Sequential(Several(wrap))
    with capture(model, "0") as outputs:
        model(torch.ones(1))
    assert_close(outputs["0"], torch.full((1,), 2.0))


def test_capture_of_an_output_without_a_tensor():
    model = nn.Sequential(Several(lambda x: "text"))
    message = "layers: expected an output that holds a tensor, got str from '0'"
    with pytest.raises(TypeError, match=message), capture(model, "0"):
        model(torch.ones(1))
    assert hooks(model) == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "layr4",
            r"layers: expected names from model.named_modules\(\), got 'layr4' \(close: 'layer4'\)",
        ),
        (["layer3"], r"layers: expected names .*, got \['layer3'\]"),
        ("xyz", r"layers: expected names from model.named_modules\(\), got 'xyz'$"),
    ],
)
def test_capture_of_an_unknown_layer(name, message):
    model = seeded(ResNet)
    with pytest.raises(ValueError, match=message), capture(model, "layer3", name):
        pass
    assert hooks(model) == 0


def test_capture_finds_a_shared_layer_by_either_name():
    model = nn.Module()
    model.first = nn.ReLU()
    model.second = model.first
    model.forward = lambda x: model.second(x)
    with capture(model, "second", "first") as outputs:
        model(torch.ones(1))
    assert set(outputs) == {"first", "second"}


# gap_cam ------------------------------------------------------------------------------------------


@given(SEEDS, st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(1, 5))
def test_the_mean_of_the_raw_map_is_the_score_without_the_bias(seed, batch, h, w, channels):
    features, head = values(batch, channels, h, w, seed=seed), nn.Linear(channels, 4).double()
    logits = head(features.mean((2, 3)))
    labels = torch.randint(4, (batch, 2), generator=generator(seed))
    raw = torch.einsum("bkc,bchw->bkhw", head.weight[labels], features)
    assert_close(raw.mean((2, 3)), logits.gather(1, labels) - head.bias[labels])
    assert_close(gap_cam(features, head.weight, labels), minmax(raw.relu()))


def test_gap_cam_of_one_label_is_the_first_of_several():
    features, weight = values(2, 5, 4, 3), values(4, 5, seed=1)
    several = gap_cam(features, weight, LABELS)
    assert several.shape == (2, 2, 4, 3)
    for k in range(2):
        assert_close(gap_cam(features, weight, LABELS[:, k]), several[:, k])
    assert_close(gap_cam(features, weight[..., None, None], LABELS), several)


def test_gap_cam_takes_features_of_inference_mode_and_weights_that_have_a_gradient():
    """Captured from a model in inference mode, beside the weights of its head."""
    features, head = values(2, 5, 4, 3), nn.Linear(5, 4).double()
    with torch.inference_mode():
        captured, labels = features.clone(), LABELS.clone()
    cam = gap_cam(captured, head.weight, labels)
    assert_close(cam, gap_cam(features, head.weight, LABELS))
    cam.sum().backward()
    assert head.weight.grad.isfinite().all()


def test_gap_cam_of_a_batch_is_that_of_its_images():
    features, weight = values(2, 5, 4, 3), values(4, 5, seed=1)
    apart = [gap_cam(features[i : i + 1], weight, LABELS[i : i + 1]) for i in range(2)]
    assert_close(gap_cam(features, weight, LABELS), torch.cat(apart))
    assert gap_cam(features[:0], weight, LABELS[:0]).shape == (0, 2, 4, 3)
    assert gap_cam(features[:0], weight, LABELS[:0, 0]).shape == (0, 4, 3)


@pytest.mark.parametrize("of_features", [-130, -100, 0, 100, 120])
@pytest.mark.parametrize("of_weights", [-120, -60, 0, 60, 120])
def test_the_scale_of_features_and_weights_may_be_extreme(of_features, of_weights):
    """Their products overflow or vanish in float32, but the map does not depend on the scale."""
    features, weight = values(2, 5, 4, 3).abs().float() + 0.1, values(4, 5, seed=1).float()
    large, heavy = 2.0**of_features * features, 2.0**of_weights * weight
    tolerance = {"rtol": 0, "atol": 1e-2 if of_features == -130 else 1e-5}  # denormal
    assert_close(gap_cam(large, heavy, LABELS), gap_cam(features, weight, LABELS), **tolerance)


def test_gap_cam_is_zero_where_nothing_speaks_for_the_class():
    assert not gap_cam(values(2, 5, 4, 3).abs(), -torch.ones(4, 5).double(), LABELS).any()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_gap_cam_of_a_broken_image_is_zero_and_spoils_no_other(bad):
    features, weight = values(2, 5, 4, 3), values(4, 5, seed=1)
    expected = gap_cam(features, weight, LABELS)
    features[0, 3, 2, 1] = bad
    cam = gap_cam(features, weight, LABELS)
    assert not cam[0].any()
    assert_close(cam[1], expected[1])


def test_gap_cam_is_differentiable_and_compiles():
    features, weight = values(2, 5, 4, 3).requires_grad_(), values(4, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda f, w: gap_cam(f, w, LABELS), (features, weight))
    compiled = torch.compile(gap_cam, fullgraph=True, backend="eager")
    assert_close(compiled(features, weight, LABELS), gap_cam(features, weight, LABELS))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_gap_cam_keeps_dtype_device_and_inputs(dtype, device):
    features, weight = values(2, 5, 4, 3, dtype=dtype).to(device), values(4, 5, dtype=dtype)
    before = features.clone()
    cam = gap_cam(features, weight.to(device), LABELS.to(device))
    assert (cam.dtype, cam.device) == (dtype, features.device)
    assert_close(features, before)
    exact = gap_cam(features.double().cpu(), weight.double(), LABELS)
    assert_close(cam.double().cpu(), exact, atol=torch.finfo(dtype).eps, rtol=0)


@pytest.mark.parametrize(
    ("features", "weight", "labels", "error", "message"),
    [
        (
            [1.0],
            torch.rand(4, 5),
            LABELS,
            TypeError,
            "features: expected a torch.Tensor, got list",
        ),
        (
            torch.rand(2, 5, 3),
            torch.rand(4, 5),
            LABELS,
            ValueError,
            r"features: expected shape \(B, C, h, w\), got \(2, 5, 3\)",
        ),
        (
            torch.rand(2, 5, 3, 3),
            torch.rand(4, 6),
            LABELS,
            ValueError,
            r"weight: expected shape \(num_classes, C\) with C=5 from features, got \(4, 6\)",
        ),
        (
            torch.rand(2, 5, 3, 3),
            torch.rand(4, 5, 3, 3),
            LABELS,
            ValueError,
            r"weight: expected shape \(num_classes, C\), got \(4, 5, 3, 3\)",
        ),
        (
            torch.rand(2, 5, 3, 3),
            torch.rand(4, 5).half(),
            LABELS,
            TypeError,
            "weight: expected torch.float32 as features, got torch.float16",
        ),
        (
            torch.rand(2, 5, 3, 3),
            torch.rand(4, 5),
            [1, 2],
            TypeError,
            "labels: expected a torch.Tensor, got list",
        ),
        (
            torch.rand(2, 5, 3, 3),
            torch.rand(4, 5),
            LABELS.int(),
            TypeError,
            "labels: expected dtype torch.int64, got torch.int32",
        ),
        (
            torch.rand(2, 5, 3, 3),
            torch.rand(4, 5),
            LABELS[:1],
            ValueError,
            r"labels: expected shape \(B,\) or \(B, K\) with B=2 from features, got \(1, 2\)",
        ),
        (
            torch.rand(2, 5, 3, 3),
            torch.rand(4, 5),
            LABELS[:, :0],
            ValueError,
            r"labels: expected shape \(B,\) or \(B, K\) with B=2 from features, got \(2, 0\)",
        ),
    ],
)
def test_gap_cam_errors(features, weight, labels, error, message):
    with pytest.raises(error, match=message):
        gap_cam(features, weight, labels)


# grad_cam -----------------------------------------------------------------------------------------


@given(SEEDS, st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(1, 5))
def test_grad_cam_is_the_cam_of_a_head_that_averages(seed, batch, h, w, channels):
    activation = values(batch, channels, h, w, seed=seed).requires_grad_()
    head = nn.Linear(channels, 4).double()
    labels = torch.randint(4, (batch, 3), generator=generator(seed))
    logits = head(activation.mean((2, 3)))
    cam = grad_cam(activation, logits.gather(1, labels))
    assert_close(cam, gap_cam(activation, head.weight, labels).detach())
    assert_close(grad_cam(activation, logits.gather(1, labels)[:, 1]), cam[:, 1])


@given(SEEDS, st.integers(1, 5), st.integers(1, 5))
def test_grad_cam_follows_its_formula(seed, h, w):
    activation = values(2, 3, h, w, seed=seed).requires_grad_()
    score = (activation**3 * values(3, h, w, seed=seed + 1)).sum((1, 2, 3))
    (gradient,) = torch.autograd.grad(score.sum(), activation, retain_graph=True)
    alpha = gradient.mean((2, 3), keepdim=True)
    expected = minmax((alpha * activation.detach()).sum(1).relu())
    assert_close(grad_cam(activation, score), expected)


def test_grad_cam_leaves_graph_and_gradients_alone_and_has_none_itself():
    model = seeded(ResNet)
    with capture(model, "layer3") as outputs:
        logits = model(torch.rand(2, 3, 64, 64))
    cam = grad_cam(outputs["layer3"], logits[:, :2])
    assert not cam.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    logits.sum().backward()  # the graph is still there
    assert model.fc.weight.grad is not None


def test_grad_cam_works_without_gradients_being_on():
    activation = values(2, 3, 4, 4).requires_grad_()
    score = activation.square().mean((1, 2, 3))
    expected, columns = grad_cam(activation, score), score[:, None]
    with torch.no_grad():
        assert_close(grad_cam(activation, score), expected)
        assert_close(grad_cam(activation, columns)[:, 0], expected)


@pytest.mark.parametrize(
    ("size", "registers"), [((64, 64), 0), ((64, 64), 4), ((48, 80), 0), ((80, 48), 4)]
)
def test_grad_cam_of_transformer_tokens(size, registers):
    model = seeded(ViT, size, registers=registers)
    grid = size[0] // 16, size[1] // 16
    with capture(model, "blocks.2.norm1") as outputs:
        scores = model(torch.rand(2, 3, *size)).topk(2).values
    tokens = outputs["blocks.2.norm1"]
    to_map = partial(tokens_to_map, grid=grid, num_prefix_tokens=1 + registers)
    cam = grad_cam(tokens, scores, to_map=to_map)
    assert cam.shape == (2, 2, *grid)
    for k in range(2):
        (gradient,) = torch.autograd.grad(scores[:, k].sum(), tokens, retain_graph=True)
        patches, slopes = tokens[:, 1 + registers :], gradient[:, 1 + registers :]
        raw = (patches * slopes.mean(1, keepdim=True)).sum(2).relu().reshape(2, *grid)
        assert_close(cam[:, k], minmax(raw).detach())


def test_grad_cam_of_channels_last():
    activation = values(2, 4, 5, 3).requires_grad_()
    score = activation.mean((1, 2)) @ values(3)
    expected = gap_cam(activation.permute(0, 3, 1, 2), values(3)[None], torch.tensor([0, 0]))
    assert_close(grad_cam(activation, score, to_map=tokens_to_map), expected.detach())
