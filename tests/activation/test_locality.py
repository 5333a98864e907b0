"""What counts as a map of the image: layers that look like one and are none are passed over."""

import pytest
import torch
from torch import nn

from tests.support import zoo
from tests.support.zoo import CLASSES, seeded
from wsolrefine import Localizer, class_activation, find_layers, find_stages
from wsolrefine.activation.layers import Layers
from wsolrefine.functional.tokens import tokens_to_map

IMAGES = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


class Spoiled(nn.Module):
    """Two good stages, and behind them a layer that only looks like a map."""

    def __init__(self, last):
        super().__init__()
        self.first, self.second = zoo.conv(3, 8, stride=4), zoo.conv(8, 12, stride=2)
        self.last, self.head = last, nn.Linear(12, CLASSES)

    def forward(self, x):
        x = self.second(self.first(x).relu())
        self.last(x)
        return self.head(x.mean((2, 3)))


class Returns(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.weight = function, nn.Linear(2, 2)

    def forward(self, x):
        return self.function(x)


def shuffled(x):
    """Tokens in the order of 2 x 2 windows' corners, as Hiera's mask units are."""
    corners = [x[:, :, i::2, j::2].flatten(2) for i in (0, 1) for j in (0, 1)]
    return torch.cat(corners, 2).mT


TABLE = torch.rand(1, 16, 16, 12, generator=torch.Generator().manual_seed(1))
LOOKS_LIKE_A_MAP = {
    "a table of position offsets": lambda x: TABLE.expand(len(x), -1, -1, -1),
    "tokens in another order": shuffled,
    "maps in another order": lambda x: shuffled(x).mT.unflatten(2, x.shape[2:]),
    "a pooled vector (B, C, 1)": lambda x: x.mean((2, 3))[:, :, None],
    "a pooled vector (B, 1, C)": lambda x: x.mean((2, 3))[:, None],
    "attention": lambda x: (x.flatten(2).mT @ x.flatten(2)).softmax(-1)[:, None].repeat(1, 4, 1, 1),
    "zeros around": lambda x: nn.functional.pad(x, (1, 1, 1, 1)),
    "zeros behind": lambda x: nn.functional.pad(x, (0, 1, 0, 1)),
    "one channel": lambda x: x.mean(1, keepdim=True),
    "transposed": lambda x: x.mT,
    "mirrored": lambda x: x.flip(-1),
    "a row more": lambda x: x.roll(4, 2),
    "the same everywhere": lambda x: x.mean((2, 3), keepdim=True).expand_as(x),
    "NaN": lambda x: x * torch.nan,
    "constant": torch.zeros_like,
}


@pytest.mark.parametrize("kind", LOOKS_LIKE_A_MAP)
def test_what_is_no_map_of_the_image_is_passed_over(kind):
    model = seeded(lambda: Spoiled(Returns(LOOKS_LIKE_A_MAP[kind])))
    for images in (IMAGES, torch.rand(3, 3, 64, 64)):
        assert find_layers(model, images) == Layers(("first",), "second", "head")
        assert find_stages(model, images) == ("first", "second")


@pytest.mark.parametrize(("misplaced", "found"), [(2, "2"), (3, "1")])
def test_a_map_is_one_if_14_of_16_parts_are_where_they_belong(misplaced, found):
    def rotate_parts(x):
        parts = [(0, 1), (2, 0), (1, 3)][:misplaced]  # each far from the others
        blocks = [x[:, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4] for i, j in parts]
        out = x.repeat(1, 2, 1, 1)
        for (i, j), block in zip(parts, [*blocks[1:], blocks[0]], strict=True):
            out[:, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4] = block.repeat(1, 2, 1, 1)
        return out

    model = seeded(
        lambda: nn.Sequential(
            *(zoo.conv(3, 12, 1, stride=4), nn.ReLU(), Returns(rotate_parts)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, CLASSES)),
        )
    )
    assert find_layers(model, IMAGES).cam == found


@pytest.mark.parametrize("size", [(64, 64), (64, 96), (96, 56), (60, 60), (120, 40)])
@pytest.mark.parametrize("stride", [4, 8, 16, 32])
def test_a_grid_of_any_size_counts(size, stride):
    """Also one of fewer than 4 x 4 cells, which cannot show 16 parts."""
    model = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 12, stride + 1, stride, stride // 2),
            *(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, CLASSES)),
        )
    )
    assert find_layers(model, torch.rand(1, 3, *size)).cam == "1"


def test_the_error_says_what_was_tried_and_why():
    class Turned(nn.Conv2d):
        def forward(self, x):
            return super().forward(x).mT

    model = nn.Sequential(Turned(3, 8, 4, 4), nn.Flatten(), nn.Linear(8 * 256, CLASSES))
    with pytest.raises(ValueError, match=r"got none of 3 layers: ") as caught:
        find_layers(model, IMAGES)
    assert "1 changed where the image did not, such as '0' (B, 8, 16, 16)" in str(caught.value)
    assert "2 without a grid of the image's aspect, such as '1' (B, 2048)" in str(caught.value)


@pytest.mark.parametrize("takes", [1, 3])
def test_a_model_that_takes_a_fixed_number_of_images(takes):
    class Fixed(zoo.ResNet):
        def forward(self, x):
            if len(x) != takes:
                raise ValueError(f"expected {takes} images")
            return super().forward(x)

    images = torch.rand(takes, 3, 64, 64)
    expected = find_layers(seeded(zoo.ResNet), images)
    assert find_layers(seeded(Fixed), images) == expected
    assert class_activation(seeded(Fixed), images).cam.shape == (takes, 1, 2, 2)


def test_it_runs_on_20_images_at_once_and_on_large_ones_in_parts(monkeypatch):
    model, runs = seeded(zoo.ResNet), []
    model.register_forward_hook(lambda module, args, output: runs.append(len(args[0])))
    expected = find_layers(model, IMAGES)
    assert runs == [20, 20]  # the second time to see what the logits are computed from
    monkeypatch.setattr("wsolrefine.activation.noise._PIXELS", 5 * 64 * 64)
    runs.clear()
    assert find_layers(model, IMAGES) == expected
    assert runs == [5, 5, 5, 5, 5]


def test_layers_of_a_size_are_right_for_the_to_map_of_the_user():
    """``to_map`` lays out every layer's output, so a layer that it cannot lay out is no candidate."""
    model = seeded(zoo.Swin)

    def to_map(tensor):
        return tensor.permute(0, 3, 1, 2)  # right for all but the first, which has channels first

    layers = find_layers(model, IMAGES, to_map=to_map)
    assert layers == find_layers(model, IMAGES)
    assert "patch_embed" not in find_stages(model, IMAGES, to_map=to_map)
    out = class_activation(model, IMAGES, to_map=to_map)
    torch.testing.assert_close(out, class_activation(model, IMAGES))


@pytest.mark.parametrize("size", [(224, 224), (160, 224), (384, 256), (64, 64)])
@pytest.mark.parametrize("registers", [0, 4])
def test_tokens_with_the_class_token_last_are_passed_over(size, registers):
    """Laid out with the class token first, each of them would move by a cell."""
    model = seeded(zoo.ClassTokenLast, image_size=size, registers=registers)
    images = torch.rand(1, 3, *size)
    # Only the convolution of the patches, before the class token, is a map.
    assert find_stages(model, images) == ("patch_embed",)
    assert find_layers(model, images) == Layers(("patch_embed",), "patch_embed", None)
    with pytest.raises(
        ValueError, match=r"^layers: expected a map of the image from 'norm' .* not"
    ):
        find_layers(model, images, layers=["norm"])
    if not registers:
        grid = (size[0] // 16, size[1] // 16)
        layers = find_layers(
            model, images, to_map=lambda tokens: tokens_to_map(tokens[:, :-1], grid=grid)
        )
        assert layers == Layers(("norm",), "blocks.2.norm1", None)


FEATURES = [
    lambda model, names: find_layers(model, IMAGES, layers=names),
    lambda model, names: Localizer(model, layers=names)(IMAGES),
]


@pytest.mark.parametrize("call", FEATURES, ids=["find_layers", "Localizer"])
@pytest.mark.parametrize("kind", LOOKS_LIKE_A_MAP)
def test_features_that_the_user_names_are_checked(call, kind):
    model = seeded(lambda: Spoiled(Returns(LOOKS_LIKE_A_MAP[kind])))
    with pytest.raises(
        ValueError, match=r"^layers: expected a map of the image from 'last' .*, got"
    ):
        call(model, ["first", "last"])
    call(model, ["second", "first"])


@pytest.mark.parametrize("call", FEATURES, ids=["find_layers", "Localizer"])
@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ("first", TypeError, "layers: expected a list of strings, got str"),
        ([], ValueError, r"layers: expected at least one name, got \[\]"),
        (["frist"], ValueError, r"layers: expected names .*, got 'frist' \(close: 'first'\)"),
        (["last.weight"], ValueError, "layers: expected a layer that the model runs, and that"),
        (["head"], ValueError, r"layers: .* from 'head' .*, got \(B, 10\), without a grid"),
    ],
)
def test_names_that_are_no_features(call, names, error, message):
    with pytest.raises(error, match=message):
        call(seeded(lambda: Spoiled(Returns(shuffled))), names)


def test_a_feature_layer_may_be_called_by_any_of_its_names():
    model = seeded(zoo.ResNet)
    model.alias = model.layer3
    layers = find_layers(model, IMAGES, layers=("layer2", "alias"))
    assert layers == Layers(("layer2", "alias"), "layer4", "fc")


class Averages(nn.Module):
    """Attention between grids without a residual: what it returns is the same everywhere."""

    def __init__(self, inside, outside):
        super().__init__()
        self.keys = nn.Conv2d(inside, outside, 1)
        self.queries = nn.Conv2d(inside, outside, 1, stride=2)

    def forward(self, x):
        keys, queries = self.keys(x), self.queries(x)
        return (keys.mean((2, 3), keepdim=True) + 0 * queries).tanh()


def test_no_projection_stands_for_a_block_that_is_not_local():
    """As in an untrained LeViT: keys and queries of a block whose output is no map are no stage."""
    model = seeded(
        lambda: nn.Sequential(
            zoo.BasicBlock(3, 8, 2),
            nn.Sequential(zoo.BasicBlock(8, 12, 2), Averages(12, 16)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES)),
        )
    )
    assert find_stages(model, IMAGES) == ("0", "1.0")
    assert find_layers(model, IMAGES) == Layers(("0",), "1.0", None)


class Turns(nn.Module):
    """A block that is not local: inside, a convolution that is."""

    def __init__(self, channels):
        super().__init__()
        self.conv, self.norm = zoo.conv(channels, channels), nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.norm(self.conv(x)).flip(-1) + x.mean((2, 3), keepdim=True)


class Loop(nn.Module):
    """Blocks in a list, which the forward pass runs one after the other."""

    def __init__(self, *blocks):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


@pytest.mark.parametrize("stage", [nn.Sequential, Loop, lambda *x: nn.Sequential(Loop(*x))])
def test_an_earlier_block_ends_a_stage_whose_last_block_is_not_local(stage):
    model = seeded(
        lambda: nn.Sequential(
            zoo.BasicBlock(3, 8, 4),
            zoo.BasicBlock(8, 12, 2),
            stage(zoo.BasicBlock(12, 16, 2), zoo.BasicBlock(16, 16, 1), Turns(16)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES)),
        )
    )
    last = find_stages(model, IMAGES)[-1]
    assert isinstance(model.get_submodule(last), zoo.BasicBlock)
    assert last.endswith("1")
    assert find_stages(model, IMAGES) == ("0", "1", last)
    assert find_layers(model, IMAGES).features == ("0", "1")


def test_a_stem_is_left_out_only_beside_many_more_layers():
    def make(blocks):
        return seeded(
            lambda: nn.Sequential(
                *(zoo.conv(3, 8, stride=2), zoo.conv(8, 8, stride=2), zoo.conv(8, 12, stride=2)),
                nn.Sequential(*(zoo.BasicBlock(12, 12, 1) for _ in range(blocks))),
                *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, CLASSES)),
            )
        )

    assert find_layers(make(2), IMAGES).features == ("0", "1")
    assert find_layers(make(8), IMAGES).features == ("3",)
    assert find_stages(make(8), IMAGES) == ("0", "1", "3")


def test_a_table_of_positions_is_no_layer_of_a_stem():
    """As in Hiera of transformers: the patch embedding and its table are no stage with features."""

    class Embeddings(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches, self.positions = (
                zoo.PatchEmbed(4, 12),
                nn.Parameter(torch.rand(1, 256, 12)),
            )

        def forward(self, x):
            return (self.patches(x) + self.positions).mT.unflatten(2, (16, 16))

    model = seeded(
        lambda: nn.Sequential(
            *(Embeddings(), zoo.BasicBlock(12, 16, 2)),
            nn.Sequential(*(zoo.BasicBlock(16, 16, 1) for _ in range(9))),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES)),
        )
    )
    assert find_layers(model, IMAGES).features == ("2",)


def check_four_stages(make_blocks, side):
    """Check that each of four blocks, the last of 24 channels, is a stage of the network of them."""
    model = seeded(
        lambda: nn.Sequential(
            *(*make_blocks(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, CLASSES))
        )
    )
    images = torch.rand(1, 3, side, side)
    assert find_stages(model, images) == ("0", "1", "2", "3")
    assert find_layers(model, images) == Layers(("1", "2"), "3", "6")


class GlobalContextStage(nn.Module):
    """Blocks behind a downsampling that starts with a block of its own, as in GCViT.

    Queries for all of its windows are made on coarser grids in between.
    """

    def __init__(self, inside, outside, pools):
        super().__init__()
        self.downsample = nn.Sequential(
            zoo.BasicBlock(inside, inside, 1), zoo.conv(inside, outside, stride=2)
        )
        steps = [nn.Sequential(zoo.conv(outside, outside), nn.MaxPool2d(2)) for _ in range(pools)]
        self.queries = nn.Sequential(zoo.conv(outside, outside), *steps)
        self.blocks = nn.Sequential(*(zoo.BasicBlock(outside, outside, 1) for _ in range(3)))

    def forward(self, x):
        x = self.downsample(x)
        return self.blocks(x + self.queries(x).mean((2, 3), keepdim=True))


def test_a_block_that_starts_a_downsampling_is_not_the_end_of_the_stage_before():
    stages = [(8, 12, 2), (12, 16, 1), (16, 24, 0)]
    check_four_stages(
        lambda: [zoo.BasicBlock(3, 8, 4), *(GlobalContextStage(*stage) for stage in stages)], 128
    )


class Xception(nn.Module):
    """A block whose last convolution is the strided one."""

    def __init__(self, inside, outside):
        super().__init__()
        self.stack = nn.Sequential(
            *(self.separable(inside, outside, 1), nn.ReLU(), self.separable(outside, outside, 1)),
            *(nn.ReLU(), self.separable(outside, outside, 2)),
        )
        self.skip = nn.Conv2d(inside, outside, 1, 2)

    @staticmethod
    def separable(inside, outside, stride):
        return nn.Sequential(
            zoo.conv(inside, inside, stride=stride, groups=inside), zoo.conv(inside, outside, 1)
        )

    def forward(self, x):
        return self.stack(x) + self.skip(x)


def test_layers_before_the_stride_of_a_block_are_not_the_end_of_the_stage_before():
    blocks = [(8, 12), (12, 16), (16, 24)]
    check_four_stages(
        lambda: [zoo.conv(3, 8, stride=4), *(Xception(*block) for block in blocks)], 96
    )


# Grad-CAM -----------------------------------------------------------------------------------------


class Pools(nn.Module):
    """Return the last map and a vector beside it, of which the logits use the vector."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(zoo.conv(3, 8, stride=4), nn.ReLU(), zoo.conv(8, 12, stride=2))
        self.norm = nn.LayerNorm(12)

    def forward(self, x):
        x = self.encoder(x)
        return x, self.norm(x.mean((2, 3)))


class Wrapper(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = Pools(), nn.Linear(12, CLASSES)

    def forward(self, x):
        return self.head(self.backbone(x)[1])


def test_the_layer_for_grad_cam_returns_the_tensor_that_the_logits_use():
    model = seeded(Wrapper)
    assert find_layers(model, IMAGES) == Layers(("backbone.encoder.1",), "backbone.encoder", None)
    assert class_activation(model, IMAGES, top=3).cam.any()
    assert Localizer(model)(IMAGES).maps.isfinite().all()


def test_the_layer_for_grad_cam_is_no_projection_inside_attention():
    def make():
        model = zoo.ViT(image_size=(64, 64))
        for block in model.blocks:
            block.attn = zoo.ApartAttention(24)
        return model

    assert find_layers(seeded(make), IMAGES) == Layers(("norm",), "blocks.2.norm1", None)


def test_weights_made_under_inference_mode_are_named_where_grad_cam_needs_them():
    with torch.inference_mode():
        gap, vgg = seeded(zoo.ResNet), seeded(zoo.VGG)
    assert class_activation(gap, IMAGES).cam.shape == (1, 1, 2, 2)
    layers = find_layers(seeded(zoo.VGG), IMAGES)
    for call in (
        lambda: find_layers(vgg, IMAGES),
        lambda: class_activation(vgg, IMAGES, layers=layers),
        lambda: Localizer(vgg)(IMAGES),
    ):
        with pytest.raises(
            ValueError, match=r"^model: .* outside of torch.inference_mode\(\)\), got"
        ):
            call()


@pytest.mark.parametrize(("make", "head"), [(zoo.ViT, "head"), (zoo.ResNet, "fc")])
def test_a_head_of_zeros_is_named(make, head):
    model = seeded(make, **({"image_size": (64, 64)} if make is zoo.ViT else {}))
    nn.init.zeros_(model.get_submodule(head).weight)
    with pytest.raises(ValueError, match=f"^model: .*'{head}',? whose weights are all zero"):
        class_activation(model, IMAGES)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [torch.jit.script, lambda model: torch.jit.trace(model, IMAGES)])
def test_scripted_and_traced_models_are_refused(make):
    with pytest.raises(TypeError, match=r"^model: expected an nn\.Module that is neither scripted"):
        find_layers(make(seeded(zoo.ResNet)), IMAGES)
