"""Layers of a network in NumPy, one pixel at a time, and the papers' modules made of them.

``weights`` is a module's ``state_dict`` as arrays, ``at`` the name under which a layer's own begin.
"""

import numpy as np

from tests.references.resize import resize


def arrays(module):
    return {name: tensor.double().numpy() for name, tensor in module.state_dict().items()}


def convolve(values, weights, at, *, stride=1, padding=0):
    """(B, C, h, w) with a square kernel of odd size."""
    kernel, bias = weights[f"{at}.weight"], weights.get(f"{at}.bias", 0.0)
    size = kernel.shape[-1]
    padded = np.pad(values, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    height = (padded.shape[2] - size) // stride + 1
    width = (padded.shape[3] - size) // stride + 1
    out = np.empty((len(values), len(kernel), height, width))
    for y in range(height):
        for x in range(width):
            window = padded[:, :, y * stride : y * stride + size, x * stride : x * stride + size]
            out[:, :, y, x] = np.einsum("bcij,kcij->bk", window, kernel) + bias
    return out


def normalize(values, weights, at, eps=1e-5):
    """Batch norm with the running statistics."""
    mean, variance, scale, shift = (
        weights[f"{at}.{name}"][:, None, None]
        for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (values - mean) / np.sqrt(variance + eps) * scale + shift


def relu(values):
    return np.maximum(values, 0.0)


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def enlarge(values, size):
    """Bilinear with the corners of both grids on one another (align_corners=True)."""
    height, width = values.shape[2:]
    out = np.empty((*values.shape[:2], *size))
    for y in range(size[0]):
        for x in range(size[1]):
            down = y * (height - 1) / (size[0] - 1) if size[0] > 1 else 0.0
            along = x * (width - 1) / (size[1] - 1) if size[1] > 1 else 0.0
            top, left = min(int(down), height - 1), min(int(along), width - 1)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            down, along = down - top, along - left
            upper = (1 - along) * values[:, :, top, left] + along * values[:, :, top, right]
            lower = (1 - along) * values[:, :, bottom, left] + along * values[:, :, bottom, right]
            out[:, :, y, x] = (1 - down) * upper + down * lower
    return out


def channel_attention(features, weights, at=""):
    """SPOL: g_l = ReLU(BN(conv(GAP(f_l)))), V = g_1 g_2 ..., f_l sigmoid(conv(V))."""
    common = 1.0
    for number, stage in enumerate(features):
        mean = stage.mean((2, 3), keepdims=True)
        own = convolve(mean, weights, f"{at}shared.{number}.0")
        common = common * relu(normalize(own, weights, f"{at}shared.{number}.1"))
    return [
        stage * sigmoid(convolve(common, weights, f"{at}weights.{number}.0"))
        for number, stage in enumerate(features)
    ]


def fused_features(features, weights, fusion, attention):
    """SPOL Eq. 1 without the mean: deep and fused output maps."""
    size = max(f.shape[2] for f in features), max(f.shape[3] for f in features)
    if attention:
        features = channel_attention(features, weights, "attention.")
    stages = [
        enlarge(
            relu(normalize(convolve(f, weights, f"reduce.{i}.0"), weights, f"reduce.{i}.1")), size
        )
        for i, f in enumerate(features)
    ]
    if fusion == "multiplication":
        fused = np.prod(stages, axis=0)
    elif fusion == "addition":
        fused = np.sum(stages, axis=0)
    else:
        fused = convolve(np.concatenate(stages, 1), weights, "join")
    return convolve(stages[-1], weights, "head.1"), convolve(fused, weights, "head.1")


def class_maps(features, weights):
    """ACoL's classifier: two 3x3 convolutions with ReLU, then 1x1."""
    values = relu(convolve(features, weights, "1", padding=1))
    values = relu(convolve(values, weights, "4", padding=1))
    return convolve(values, weights, "6")


def edge_logits(features, maps, weights, size):
    """SEM: conv3x3, BN and ReLU of each stage, one grid, then three convolutions with the map."""
    joined = []
    for i, stage in enumerate(features):
        adapted = convolve(stage, weights, f"adapt.{i}.0", padding=1)
        adapted = relu(normalize(adapted, weights, f"adapt.{i}.1"))
        joined.append(np.array([[resize(one, size) for one in image] for image in adapted]))
    joined.append(np.array([[resize(one, size)] for one in maps]))
    values = relu(convolve(np.concatenate(joined, 1), weights, "read.0", padding=1))
    values = relu(convolve(values, weights, "read.2", padding=1))
    return convolve(values, weights, "read.4")[:, 0]
