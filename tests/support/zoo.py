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
