"""Small classifiers of every kind, images for them, and what a localizer must find, step by step."""

import functools
import math
from dataclasses import fields

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import nn

from tests.references.components import box
from tests.references.instances import instance_labels
from tests.support import zoo
from tests.support.strategies import generator
from tests.support.zoo import CLASSES, seeded
from wsolrefine import (
    Localizer,
    bagcams,
    capture,
    class_activation,
    coarse_to_fine,
    confseg,
    find_layers,
    gppl,
    label_spreading,
    layer_cam,
    minmax,
    multiply_maps,
    pamr,
    scg,
    sem,
)
from wsolrefine.activation.layout import lay_out

SIDE = 64
FAMILIES = {
    "resnet": (zoo.ResNet, {}),
    "vgg": (zoo.VGG, {}),
    "mobilenet": (zoo.MobileNetV2, {}),
    "densenet": (zoo.DenseNet, {}),
    "tanh": (zoo.FunctionalTanh, {}),
    "squeezenet": (zoo.SqueezeNet, {}),
    "vit": (zoo.ViT, {"image_size": (SIDE, SIDE)}),
    "vit registers": (zoo.ViT, {"image_size": (SIDE, SIDE), "registers": 4}),
    "vit mean": (zoo.ViT, {"image_size": (SIDE, SIDE), "class_token": False}),
    "swin": (zoo.Swin, {}),
    "swin v1": (zoo.SwinV1, {}),
}
THRESHOLDS = {
    "fast": 0.4,
    "balanced": 0.42,
    "accurate": 0.48,
    "scg": 0.34,
    "sem": 0.32,
    "gppl": 0.35,
    "confseg": 0.5,
    "conv_crf": 0.5,
    "cam": 0.28,
}


def build(name="plain"):
    if name == "plain":
        return seeded(plain)
    make, arguments = FAMILIES[name]
    return seeded(make, **arguments)


def plain():
    """The least that has features, a CAM and a head; 16 x 16 cells for images of 64."""
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 4, 4), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES)),
    )


@functools.cache
def layers_of(name, dtype=torch.float32):
    """Find the layers of a classifier once for all tests: that takes most of the time of many."""
    return find_layers(build(name).to(dtype), images(1, dtype=dtype))


def localizer_of(name="plain", dtype=torch.float32, **options):
    """Make a localizer that need not look for its layers."""
    return Localizer(build(name).to(dtype), layers=layers_of(name, dtype), **options)


def images(batch=2, size=(SIDE, SIDE), seed=1, dtype=torch.float32):
    """Noise that is smooth enough for maps with more than one component."""
    coarse = torch.randn(batch, 3, 9, 9, generator=generator(seed), dtype=torch.float64)
    large = nn.functional.interpolate(coarse, size=size, mode="bicubic")
    return (2 * large).to(dtype)


def photograph(width, height, seed=0, mode="RGB"):
    """Make a PIL image of that size with smooth spots."""
    pixels = images(1, (9, 9), seed)[0].permute(1, 2, 0)
    small = (minmax(pixels[None, None, ..., 0])[0, 0][..., None].expand(9, 9, 3) * 255).byte()
    return Image.fromarray(small.numpy().copy()).resize((width, height)).convert(mode)


def tensors(found):
    """Return what was found as a dict of tensors, the images left out."""
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    return {k: v for k, v in values.items() if isinstance(v, torch.Tensor) and k != "images"}


def refined(method, cam, features, image):
    """Return maps as the page of each method says, from public functions."""
    if method == "scg":
        return scg(cam, features)
    if method == "sem":
        rows, columns = features[-1].shape[2:]
        return sem(cam, features[-1], num_seeds=max(1, round(60 * rows * columns / 784)))
    if method == "gppl":
        return gppl(cam)
    if method == "confseg":
        split = confseg(cam)
        levels = torch.full_like(cam, 0.5)
        levels[split.foreground], levels[split.background] = 1, 0
        return levels
    if method in ("fast", "balanced"):
        side, cells = (56, 400) if method == "fast" else (96, 784)
        grid = features[0].shape[2:]
        share = min(1, (cells / (grid[0] * grid[1])) ** 0.5)
        size = tuple(max(1, int(share * length + 1e-9)) for length in grid)
        spread = label_spreading(cam, features, image, size=size)
        drawn = pamr(
            scg(cam, features), shrunk(image, side), iterations=5, dilations=(1, 2, 4, 8, 12)
        )
        return multiply_maps([spread, drawn], powers=[1, 0.5])
    if method == "conv_crf":
        maps = enlarged(scg(cam, features), tuple(image.shape[2:]))
        colors = (image - image.min()) / (image.max() - image.min())
        return coarse_to_fine(maps, colors, threshold=0.2)
    return cam


def shrunk(image, side):
    share = side / max(image.shape[2:])
    if share >= 1:
        return image
    size = [max(1, round(share * length)) for length in image.shape[2:]]
    return nn.functional.interpolate(image, size=size, mode="bilinear", antialias=True)


def seen(model, layers, image, label, method):
    """Run the model once for one class of one image; return its CAM, or start map, and features."""
    found = class_activation(model, image, labels=label, layers=layers)
    if method not in ("balanced", "accurate"):
        return found.cam, found.features
    image = image.clone().requires_grad_()
    with torch.enable_grad(), capture(model, *layers.features) as outputs:
        scores = model(image)[:, label]
    size = max((layer.shape[2:] for layer in found.features), key=math.prod)
    total = enlarged(found.cam, size)
    to_map = functools.partial(lay_out, image_size=tuple(image.shape[2:]))
    functions = [layer_cam, bagcams] if method == "accurate" else [layer_cam]
    for function in functions:
        finer = function(outputs[layers.features[-1]], scores, to_map=to_map)[:, None]
        total = total + enlarged(finer, size) / len(functions)
    return minmax(total), found.features


def localized(model, layers, image, label, method):
    """Return the map ``(1, 1, h, w)`` of one class of one image."""
    see = lambda image: refined(  # noqa: E731
        "balanced" if method == "accurate" else method,
        *seen(model, layers, image, label, method),
        image,
    )
    maps = see(image)
    if method != "accurate":
        return maps
    height, width = image.shape[2:]
    whole = smooth(maps, (height, width))
    large = (round(1.5 * height), round(1.5 * width))
    big = nn.functional.interpolate(image, size=large, mode="bilinear", antialias=True)
    try:
        layers = find_layers(model, big)
    except ValueError:  # the model takes images of one size
        x0, y0, x1, y1 = box(largest(whole[0, 0] > 0.15).numpy())
        if x1 == x0:
            x0, y0, x1, y1 = 0, 0, width, height
        x0, x1 = widened(x0, x1, width)
        y0, y1 = widened(y0, y1, height)
        crop = nn.functional.interpolate(
            image[..., y0:y1, x0:x1], size=(height, width), mode="bilinear", antialias=True
        )
        again = torch.zeros_like(whole)
        again[..., y0:y1, x0:x1] = enlarged(see(crop), (y1 - y0, x1 - x0))
    else:
        maps = refined("balanced", *seen(model, layers, big, label, method), big)
        again = 1.5 * smooth(maps, (height, width))
    mean = (whole + again) / 2.5
    small = shrunk(image, 224)
    return minmax(pamr(mean, small, iterations=5, dilations=(1, 2, 4, 8, 12)))


def smooth(maps, size):
    return nn.functional.interpolate(maps, size=size, mode="bicubic").clamp(0, 1)


def widened(low, high, side):
    length = max((high - low) * 1.3, side * 2 / 7)
    middle = (low + high) / 2
    return max(0, math.floor(middle - length / 2)), min(side, math.ceil(middle + length / 2))


def enlarged(maps, size):
    return nn.functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def largest(mask):
    """Keep the largest 8-connected component of one mask; the first in reading order on ties."""
    labels, _ = ndimage.label(mask.numpy(), np.ones((3, 3)))
    _, first, counts = np.unique(labels[labels > 0], return_index=True, return_counts=True)
    if not len(counts):
        return torch.zeros_like(mask)
    order = sorted(range(len(counts)), key=lambda n: (-counts[n], first[n]))
    return torch.from_numpy(labels == order[0] + 1)


def objects(map, threshold):
    """Number the objects of one map in [0, 1]."""
    return torch.from_numpy(instance_labels(map.numpy(), threshold, 0.3, 0.01))


def kept(map, threshold, parts):
    """Return the mask of one map."""
    if parts == "instances":
        return objects(map, threshold) > 0
    mask = map > threshold
    return largest(mask) if parts == "largest" else mask


def expected(
    model, batch, method, *, labels=None, top=1, size=None, parts="largest", threshold=None
):
    """What a localizer must find: image after image, class after class."""
    threshold = THRESHOLDS[method] if threshold is None else threshold
    layers, rows = find_layers(model, batch[:1]), []
    for i in range(len(batch)):
        image = batch[i : i + 1]
        asked = None if labels is None else labels[i : i + 1]
        found = class_activation(model, image, labels=asked, top=top, layers=layers)
        classes = []
        for k in range(found.labels.shape[1]):
            coarse = localized(model, layers, image, int(found.labels[0, k]), method)
            maps = enlarged(coarse, size or tuple(image.shape[2:]))[0, 0]
            mask = kept(maps, threshold, parts)
            score = found.logits[0].softmax(0)[found.labels[0, k]]
            corners = torch.tensor(box(mask.numpy()), dtype=torch.float32)
            of_class = [found.labels[0, k], score, maps, mask, corners, coarse[0, 0]]
            if parts == "instances":
                of_class.append(objects(maps, threshold).byte())
            classes.append(of_class)
        columns = [torch.stack(column) for column in zip(*classes, strict=True)]
        rows.append([found.logits[0], *columns])
    names = ("logits", "labels", "scores", "maps", "masks", "boxes", "coarse", "objects")
    names = names[: len(rows[0])]
    stacked = [torch.stack(column) for column in zip(*rows, strict=True)]
    return dict(zip(names, stacked, strict=True))
