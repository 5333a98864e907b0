"""Small classifiers with the layouts and the layer names of the well-known families."""

import torch
import torch.nn.functional as F
from torch import nn

CLASSES = 10


def seeded(make, *args, seed=0, **kwargs):
    """Build a model with weights that a test can rely on, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make(*args, **kwargs).eval()


def conv(inside, outside, kernel=3, **kwargs):
    return nn.Conv2d(inside, outside, kernel, padding=kernel // 2, bias=False, **kwargs)


class BasicBlock(nn.Module):
    def __init__(self, inside, outside, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(inside, outside, stride=stride), nn.BatchNorm2d(outside)
        self.relu = nn.ReLU(inplace=True)  # run twice, in place
        self.conv2, self.bn2 = conv(outside, outside), nn.BatchNorm2d(outside)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(conv(inside, outside, 1, stride=stride))

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class ResNet(nn.Module):
    """Names and order of torchvision's."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(BasicBlock(8, 8, 1), BasicBlock(8, 8, 1))
        self.layer2 = nn.Sequential(BasicBlock(8, 12, 2), BasicBlock(12, 12, 1))
        self.layer3 = nn.Sequential(BasicBlock(12, 16, 2), BasicBlock(16, 16, 1))
        self.layer4 = nn.Sequential(BasicBlock(16, 24, 2), BasicBlock(24, 24, 1))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(24, CLASSES)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class VGG(nn.Module):
    """A large linear layer on the flattened grid: no head to read a CAM from."""

    def __init__(self):
        super().__init__()
        layers, inside = [], 3
        for outside in (6, 8, 12, 16, 16):
            layers += [conv(inside, outside), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
            inside = outside
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(16 * 49, 20), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(20, CLASSES)
        )

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class InvertedResidual(nn.Module):
    def __init__(self, inside, outside, stride):
        super().__init__()
        hidden = inside * 3
        self.conv = nn.Sequential(
            nn.Sequential(conv(inside, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU6(inplace=True)),
            nn.Sequential(
                conv(hidden, hidden, stride=stride, groups=hidden), nn.ReLU6(inplace=True)
            ),
            conv(hidden, outside, 1),
        )
        self.shortcut = stride == 1 and inside == outside

    def forward(self, x):
        return x + self.conv(x) if self.shortcut else self.conv(x)


class MobileNetV2(nn.Module):
    """The first layers of a block run on the grid of the stage before; the pooling is functional."""

    def __init__(self):
        super().__init__()
        plan = [(8, 8, 2), (8, 12, 2), (12, 16, 2), (16, 16, 1), (16, 24, 2), (24, 24, 1)]
        stem = nn.Sequential(conv(3, 8, stride=2), nn.BatchNorm2d(8), nn.ReLU6(inplace=True))
        last = nn.Sequential(conv(24, 40, 1), nn.BatchNorm2d(40), nn.ReLU6(inplace=True))
        self.features = nn.Sequential(stem, *(InvertedResidual(*row) for row in plan), last)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(40, CLASSES))

    def forward(self, x):
        x = F.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))


class DenseNet(nn.Module):
    """No layer returns the map that is averaged: the ReLU before the pooling is functional."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("conv0", conv(3, 8, stride=8))
        self.features.add_module("transition1", conv(8, 12, stride=2))
        self.features.add_module("transition2", conv(12, 16, stride=2))
        self.features.add_module("norm5", nn.BatchNorm2d(16))
        self.classifier = nn.Linear(16, CLASSES)

    def forward(self, x):
        x = F.relu(self.features(x), inplace=True)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


class FunctionalTanh(nn.Module):
    """The averaged map is only ever the input of the pooling layer."""

    def __init__(self):
        super().__init__()
        self.stem, self.stage = conv(3, 8, stride=16), conv(8, 12, stride=2)
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Conv2d(12, CLASSES, 1)

    def forward(self, x):
        return self.fc(self.pool(torch.tanh(self.stage(self.stem(x))))).flatten(1)


class SqueezeNet(nn.Module):
    """A 1x1 convolution classifies every pixel, the average comes after it."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(conv(3, 8, stride=8), nn.ReLU(), conv(8, 12, stride=2))
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Conv2d(12, CLASSES, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1)
        )

    def forward(self, x):
        return torch.flatten(self.classifier(self.features(x)), 1)


class Attention(nn.Module):
    def __init__(self, dim, heads=2):
        super().__init__()
        self.heads, self.qkv = heads, nn.Linear(dim, 3 * dim)
        self.attn_drop, self.proj = nn.Dropout(), nn.Linear(dim, dim)

    def forward(self, x):
        batch, count, dim = x.shape
        qkv = self.qkv(x).reshape(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        # (B, heads, N, N): a square of numbers that is no map of the image
        weights = self.attn_drop((q @ k.mT * q.shape[-1] ** -0.5).softmax(-1))
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, count, dim))


class TransformerBlock(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim), Attention(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, patch, dim):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, patch)

    def forward(self, x):
        return self.proj(x).flatten(2).mT


class ViT(nn.Module):
    """Names of timm's, with a class token, register tokens, or the mean of the patch tokens."""

    def __init__(self, image_size=(224, 224), patch=16, registers=0, class_token=True):
        super().__init__()
        dim, self.prefix = 24, registers + class_token
        count = (image_size[0] // patch) * (image_size[1] // patch)
        self.patch_embed = PatchEmbed(patch, dim)
        self.prefix_tokens = nn.Parameter(torch.randn(1, self.prefix, dim))
        self.pos_embed = nn.Parameter(torch.randn(1, count + self.prefix, dim))
        self.pos_drop, self.norm_pre = nn.Dropout(), nn.Identity()
        self.blocks = nn.Sequential(*(TransformerBlock(dim) for _ in range(3)))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, CLASSES)
        self.class_token = class_token

    def forward(self, x):
        x = self.patch_embed(x)
        x = torch.cat([self.prefix_tokens.expand(len(x), -1, -1), x], 1) + self.pos_embed
        x = self.norm(self.blocks(self.norm_pre(self.pos_drop(x))))
        return self.head(x[:, 0] if self.class_token else x[:, self.prefix :].mean(1))


class ClassTokenLast(ViT):
    """The class token, and any registers, after the patches: not where the shape makes them seem."""

    def forward(self, x):
        x = self.patch_embed(x)
        x = torch.cat([x, self.prefix_tokens.expand(len(x), -1, -1)], 1) + self.pos_embed
        x = self.norm(self.blocks(self.norm_pre(self.pos_drop(x))))
        return self.head(x[:, -1])


class SwinStage(nn.Module):
    def __init__(self, inside, outside):
        super().__init__()
        self.downsample = nn.Linear(4 * inside, outside) if outside > inside else nn.Identity()
        self.norm, self.mlp = nn.LayerNorm(outside), nn.Linear(outside, outside)

    def forward(self, x):
        if isinstance(self.downsample, nn.Linear):
            corners = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
            x = self.downsample(torch.cat(corners, -1))
        return x + self.mlp(self.norm(x))


class NHWCPool(nn.Module):
    def forward(self, x):
        return x.mean((1, 2))


class Swin(nn.Module):
    """Channels last from the patches on; names of timm's."""

    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.layers = nn.Sequential(
            SwinStage(8, 8), SwinStage(8, 16), SwinStage(16, 32), SwinStage(32, 40)
        )
        self.norm = nn.LayerNorm(40)
        self.head = nn.Sequential()
        self.head.add_module("global_pool", NHWCPool())
        self.head.add_module("fc", nn.Linear(40, CLASSES))

    def forward(self, x):
        return self.head(self.norm(self.layers(self.patch_embed(x).permute(0, 2, 3, 1))))


class SwinV1(Swin):
    """As torchvision's: permuted by a function before the pooling layer."""

    def __init__(self):
        super().__init__()
        self.avgpool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(40, CLASSES)

    def forward(self, x):
        x = self.norm(self.layers(self.patch_embed(x).permute(0, 2, 3, 1)))
        return self.head(torch.flatten(self.avgpool(x.permute(0, 3, 1, 2)), 1))


class PositionBias(nn.Module):
    """A small network that makes a table of biases out of offsets, as in Swin V2."""

    def __init__(self, dim, window):
        super().__init__()
        steps = torch.linspace(-1, 1, 2 * window - 1)
        self.register_buffer(
            "offsets", torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1)
        )
        self.cpb_mlp = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, dim))

    def forward(self, x):
        table = self.cpb_mlp(self.offsets[None])  # (1, 2 w - 1, 2 w - 1, dim)
        return x + 0.1 * table.mean((1, 2))[:, None, None]


class SwinV2Stage(SwinStage):
    def __init__(self, inside, outside):
        super().__init__(inside, outside)
        self.attn = PositionBias(outside, 4)

    def forward(self, x):
        return self.attn(super().forward(x))


class SwinV2(Swin):
    """A layer of each block returns a square table that does not depend on the image."""

    def __init__(self):
        super().__init__()
        stages = [(8, 8), (8, 16), (16, 32), (32, 40)]
        self.layers = nn.Sequential(*(SwinV2Stage(*stage) for stage in stages))


class Hiera(nn.Module):
    """Tokens in the order of mask units: those of each 2 x 2 window lie a quarter of all apart."""

    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 24, 17, 16, 8)
        self.blocks = nn.Sequential(*(TransformerBlock(24) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(24), nn.Linear(24, CLASSES)

    def forward(self, x):
        x = self.patch_embed(x)
        corners = [x[:, :, i::2, j::2].flatten(2) for i in (0, 1) for j in (0, 1)]
        return self.head(self.norm(self.blocks(torch.cat(corners, 2).mT).mean(1)))


class EfficientFormer(nn.Module):
    """Maps, and tokens in the last stage."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(conv(3, 8, stride=2), nn.ReLU(), conv(8, 8, stride=2), nn.ReLU())
        self.stages = nn.Sequential(
            BasicBlock(8, 8, 1),
            BasicBlock(8, 16, 2),
            BasicBlock(16, 24, 2),
            nn.Sequential(PatchMerging(24, 24), TransformerBlock(24)),
        )
        self.norm, self.head = nn.LayerNorm(24), nn.Linear(24, CLASSES)

    def forward(self, x):
        return self.head(self.norm(self.stages(self.stem(x))).mean(1))


class PatchMerging(nn.Module):
    """A map to tokens on half the grid."""

    def __init__(self, inside, outside):
        super().__init__()
        self.conv = conv(inside, outside, stride=2)

    def forward(self, x):
        return self.conv(x).flatten(2).mT


class ChannelAttention(nn.Module):
    """Attention of channels over tokens, as in every other block of DaViT."""

    def __init__(self, dim):
        super().__init__()
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        q, k, v = self.qkv(x.flatten(2).mT).chunk(3, -1)
        weights = (q.mT @ k / q.shape[1]).softmax(-1)  # (B, C, C)
        return x + self.proj(v @ weights.mT).mT.unflatten(2, x.shape[2:])


class DaViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 7, 4, 3)
        self.stages = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(a, b, 2, 2), ChannelAttention(b)) for a, b in
              [(16, 24), (24, 32), (32, 40)])
        )  # fmt: skip
        self.norm_pre, self.head = nn.BatchNorm2d(40), nn.Linear(40, CLASSES)

    def forward(self, x):
        return self.head(self.norm_pre(self.stages(self.stem(x))).mean((2, 3)))


class SpatialReduction(nn.Module):
    """Attention to keys on a grid that a strided convolution made coarser, as in PVT."""

    def __init__(self, dim, ratio):
        super().__init__()
        self.norm1, self.q, self.kv = (
            nn.LayerNorm(dim),
            nn.Linear(dim, dim),
            nn.Linear(dim, 2 * dim),
        )
        self.sr, self.norm = nn.Conv2d(dim, dim, ratio, ratio), nn.LayerNorm(dim)

    def forward(self, x):  # (B, h, w, C), as tokens
        tokens = self.norm1(x.flatten(1, 2))
        coarse = self.norm(self.sr(tokens.mT.unflatten(2, x.shape[1:3])).flatten(2).mT)
        k, v = self.kv(coarse).chunk(2, -1)
        attended = (self.q(tokens) @ k.mT / 4).softmax(-1) @ v
        return x + attended.unflatten(1, x.shape[1:3])


class PVTStage(nn.Module):
    def __init__(self, inside, outside, stride, ratio):
        super().__init__()
        self.downsample = nn.Conv2d(inside, outside, stride, stride)
        self.block = SpatialReduction(outside, ratio)

    def forward(self, x):
        x = self.downsample(x).permute(0, 2, 3, 1)
        return self.block(x).permute(0, 3, 1, 2)


class PVT(nn.Module):
    """At 128 x 128 the grid is 32 wide, and there are as many channels."""

    def __init__(self):
        super().__init__()
        self.stages = nn.Sequential(
            PVTStage(3, 32, 4, 4), PVTStage(32, 48, 2, 2), PVTStage(48, 64, 2, 2)
        )
        self.head = nn.Linear(64, CLASSES)

    def forward(self, x):
        return self.head(self.stages(x).mean((2, 3)))


class ConvNeXt(nn.Module):
    """The first stage is a stem of patches; a map is pooled before it is normalized."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8))
        self.stages = nn.Sequential(
            BasicBlock(8, 8, 1),
            *(nn.Sequential(nn.Sequential(nn.BatchNorm2d(a), nn.Conv2d(a, b, 2, 2)),
                            BasicBlock(b, b, 1)) for a, b in [(8, 16), (16, 24), (24, 32)]),
        )  # fmt: skip
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, CLASSES)

    def forward(self, x):
        return self.head(self.norm(self.stages(self.stem(x)).mean((2, 3))))


class EfficientNet(nn.Module):
    """Names of timm's: before the first stage, a convolution and a norm on its grid."""

    def __init__(self):
        super().__init__()
        self.conv_stem = conv(3, 8, stride=2)
        self.bn1 = nn.Sequential(nn.BatchNorm2d(8), nn.SiLU(inplace=True))
        plan = [(8, 8, 1), (8, 12, 2), (12, 16, 2), (16, 24, 2)]
        self.blocks = nn.Sequential(
            *(nn.Sequential(InvertedResidual(*row), InvertedResidual(row[1], row[1], 1))
              for row in plan)
        )  # fmt: skip
        self.conv_head = conv(24, 40, 1)
        self.bn2 = nn.Sequential(nn.BatchNorm2d(40), nn.SiLU(inplace=True))
        self.global_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(40, CLASSES)

    def forward(self, x):
        x = self.blocks(self.bn1(self.conv_stem(x)))
        return self.classifier(self.global_pool(self.bn2(self.conv_head(x))))


class Distilled(ViT):
    """A class and a distillation token, and a head for each, as in DeiT."""

    def __init__(self, image_size=(224, 224)):
        super().__init__(image_size, registers=1)
        self.head_dist = nn.Linear(24, CLASSES)

    def forward(self, x):
        x = self.patch_embed(x)
        x = torch.cat([self.prefix_tokens.expand(len(x), -1, -1), x], 1) + self.pos_embed
        x = self.norm(self.blocks(self.norm_pre(self.pos_drop(x))))
        return (self.head(x[:, 0]) + self.head_dist(x[:, 1])) / 2


class Encoder(nn.Module):
    """As of transformers: the last hidden state, and beside it what is pooled and normalized."""

    def __init__(self):
        super().__init__()
        self.embeddings, self.encoder = nn.Conv2d(3, 8, 4, 4), nn.ModuleDict()
        self.encoder["stages"] = nn.ModuleList([BasicBlock(8, 8, 1), BasicBlock(8, 16, 2),
                                                BasicBlock(16, 24, 2), BasicBlock(24, 32, 2)])  # fmt: skip
        self.layernorm = nn.LayerNorm(32)

    def forward(self, pixel_values):
        x = self.embeddings(pixel_values)
        for stage in self.encoder["stages"]:
            x = stage(x)
        return {"last_hidden_state": x, "pooler_output": self.layernorm(x.mean((2, 3)))}


class ForImageClassification(nn.Module):
    """As of transformers: called by keyword, and returns a mapping."""

    def __init__(self):
        super().__init__()
        self.convnext, self.classifier = Encoder(), nn.Linear(32, CLASSES)

    def forward(self, pixel_values=None, labels=None):
        return {
            "loss": None,
            "logits": self.classifier(self.convnext(pixel_values)["pooler_output"]),
        }


class ConvStem(ViT):
    """Four strided convolutions lead to the tokens, as in XCiT and LeViT."""

    def __init__(self, image_size=(224, 224)):
        super().__init__(image_size, class_token=False)
        steps = [(3, 8), (8, 12), (12, 16), (16, 24)]
        self.patch_embed = nn.Sequential(
            *(nn.Sequential(conv(a, b, stride=2), nn.BatchNorm2d(b), nn.ReLU()) for a, b in steps)
        )
        self.patches = nn.Flatten(2)
        self.blocks = nn.Sequential(*(TransformerBlock(24) for _ in range(5)))

    def forward(self, x):
        x = self.patches(self.patch_embed(x)).mT + self.pos_embed
        return self.head(self.norm(self.blocks(x)).mean(1))


class ApartAttention(Attention):
    """Queries, keys and values by layers of their own, as wide as the tokens."""

    def __init__(self, dim):
        super().__init__(dim)
        self.q, self.k, self.v = (nn.Linear(dim, dim) for _ in range(3))

    def forward(self, x):
        return self.proj((self.q(x) @ self.k(x).mT).softmax(-1) @ self.v(x))


class BeitEncoder(ViT):
    """As of transformers: tokens, and beside them the normalized mean of the patch tokens."""

    def __init__(self, image_size):
        super().__init__(image_size)
        for block in self.blocks:
            block.attn = ApartAttention(24)

    def forward(self, x):
        x = self.patch_embed(x)
        x = torch.cat([self.prefix_tokens.expand(len(x), -1, -1), x], 1) + self.pos_embed
        x = self.blocks(x)
        return {"last_hidden_state": x, "pooler_output": self.norm(x[:, 1:].mean(1))}


class Beit(nn.Module):
    def __init__(self, image_size=(224, 224)):
        super().__init__()
        self.beit, self.classifier = BeitEncoder(image_size), nn.Linear(24, CLASSES)

    def forward(self, pixel_values):
        return {"logits": self.classifier(self.beit(pixel_values)["pooler_output"])}


class PVTv2Stage(nn.Module):
    """Tokens inside, a map outside: a function reshapes what the last layer returns."""

    def __init__(self, inside, outside, stride):
        super().__init__()
        self.proj = conv(inside, outside, 2 * stride - 1, stride=stride)
        self.block, self.layer_norm = TransformerBlock(outside), nn.LayerNorm(outside)

    def forward(self, x):
        x = self.proj(x)
        tokens = self.layer_norm(self.block(x.flatten(2).mT))
        return (tokens.mT.unflatten(2, x.shape[2:]),)


class PVTv2(nn.Module):
    """As of transformers: tokens and maps take turns."""

    def __init__(self):
        super().__init__()
        plan = [(3, 20, 8), (20, 24, 2), (24, 28, 2), (28, 36, 2)]
        self.layers = nn.ModuleList(PVTv2Stage(*row) for row in plan)
        self.classifier = nn.Linear(36, CLASSES)

    def forward(self, x):
        for layer in self.layers:
            (x,) = layer(x)
        return self.classifier(x.flatten(2).mT.mean(1))
