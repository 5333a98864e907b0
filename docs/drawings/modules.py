"""Diagrams of the modules, and the feature maps of a backbone."""

from __future__ import annotations

import itertools

import torch

import wsolrefine as w
from drawings import panels as p
from drawings.diagrams import INNER, INPUT, OUTPUT, Box, diagram, outputs, shape_of
from drawings.network import principal_colors
from wsolrefine import nn

CHANNELS, SIDES, CLASSES = (40, 112, 320), (28, 14, 7), 200


def draw_mff_net() -> None:
    features = _features()
    names = [f"reduce.{i}" for i in range(3)]
    with torch.no_grad():
        kept, maps = outputs(nn.MFFNet(CHANNELS, CLASSES), names, features)
    grid = maps.fused.shape[2:]
    boxes, arrows = {}, []
    for i, feature in enumerate(features):
        reduced = kept[names[i]]
        boxes[f"f{i}"] = Box(0, i, f"f{i + 1}", shape_of(feature), INPUT)
        boxes[f"r{i}"] = Box(1.2, i, "reduced", shape_of(reduced))
        boxes[f"o{i}"] = Box(2.4, i, f"o{i + 1}: enlarged", (reduced.shape[1], *grid))
        arrows += [(f"f{i}", f"r{i}", ""), (f"r{i}", f"o{i}", ""), (f"o{i}", "product", "")]
    boxes["product"] = Box(3.6, 0.75, "o1 o2 o3", (kept[names[0]].shape[1], *grid))
    boxes["fused"] = Box(4.8, 0.75, "fused", shape_of(maps.fused), OUTPUT)
    boxes["deep"] = Box(4.8, 2, "deep", shape_of(maps.deep), OUTPUT)
    arrows += [("product", "fused", ""), ("o2", "deep", "")]
    p.save("mff_net", [diagram(boxes, arrows)], cell=5.6, ratio=0.42, most=25_000)


def draw_attention() -> None:
    features = _features()
    module = nn.MultiplicativeChannelAttention(CHANNELS)
    names = [f"{part}.{i}" for part in ("shared", "weights") for i in range(3)]
    with torch.no_grad():
        kept, weighted = outputs(module, names, features)
    boxes, arrows = {}, []
    for i, (feature, result) in enumerate(zip(features, weighted, strict=True)):
        share, weight = kept[f"shared.{i}"], kept[f"weights.{i}"]
        boxes[f"f{i}"] = Box(0, i, f"f{i + 1}", shape_of(feature), INPUT)
        boxes[f"g{i}"] = Box(1.2, i, f"g{i + 1}", shape_of(share))
        boxes[f"w{i}"] = Box(3.6, i, f"weights {i + 1}", shape_of(weight))
        boxes[f"r{i}"] = Box(4.8, i, f"f{i + 1} x weights", shape_of(result), OUTPUT)
        arrows += [(f"f{i}", f"g{i}", ""), (f"g{i}", "V", "")]
        arrows += [("V", f"w{i}", ""), (f"w{i}", f"r{i}", "")]
    boxes["V"] = Box(2.4, 1, "V = g1 g2 g3", shape_of(kept["shared.0"]))
    p.save("attention", [diagram(boxes, arrows)], cell=5.6, ratio=0.4, most=25_000)


def draw_activation_generator() -> None:
    features = torch.rand(1, CHANNELS[0], SIDES[0], SIDES[0])
    names = ["stem", "down.0", "down.1", "up.0", "up.1", "classes"]
    with torch.no_grad():
        kept, found = outputs(nn.ActivationGenerator(CHANNELS[0], CLASSES), names, features)
    places = ((1.2, 0), (1.2, 1), (1.2, 2), (2.4, 1), (2.4, 0), (3.6, 0))
    words = ("stem", "down", "down", "up", "up", "f")
    boxes = {"features": Box(0, 0, "features", shape_of(features), INPUT)}
    for name, place, word in zip(names, places, words, strict=True):
        boxes[name] = Box(*place, word, shape_of(kept[name]), INNER)
    boxes["p"] = Box(4.8, 0, "probability", shape_of(found.probability), OUTPUT)
    scores = shape_of(found.auxiliary_logits)
    boxes["scores"] = Box(4.8, 1, "scores", scores, OUTPUT)
    arrows = [("features", "stem", ""), ("stem", "down.0", ""), ("down.0", "down.1", "")]
    arrows += [("down.1", "up.0", ""), ("down.0", "up.0", "+"), ("up.0", "up.1", "")]
    arrows += [("stem", "up.1", "+"), ("up.1", "classes", ""), ("classes", "p", "")]
    arrows += [("classes", "scores", "")]
    p.save("activation_generator", [diagram(boxes, arrows)], cell=5.6, ratio=0.42, most=25_000)


def draw_convolutional_head() -> None:
    features = torch.rand(1, 512, 14, 14)
    with torch.no_grad():
        kept, maps = outputs(nn.ConvolutionalHead(512, CLASSES), ["1", "4"], features)
    boxes = {
        "f": Box(0, 0, "features", shape_of(features), INPUT),
        "a": Box(1.2, 0, "3 x 3, ReLU", shape_of(kept["1"])),
        "b": Box(2.4, 0, "3 x 3, ReLU", shape_of(kept["4"])),
        "maps": Box(3.6, 0, "class maps", shape_of(maps), OUTPUT),
        "scores": Box(4.8, 0, "scores", shape_of(maps.mean((2, 3))), OUTPUT),
    }
    arrows = [(one, other, "") for one, other in itertools.pairwise(boxes)]
    p.save("convolutional_head", [diagram(boxes, arrows)], cell=5.6, ratio=0.12, most=25_000)


def draw_edge_head() -> None:
    features = [torch.rand(1, 24, 56, 56), torch.rand(1, 40, 28, 28)]
    maps = torch.rand(1, 28, 28)
    head = nn.EdgeHead([24, 40])
    joined: list[torch.Tensor] = []
    handle = head.read.register_forward_pre_hook(lambda part, args: joined.extend(args))
    with torch.no_grad():
        kept, edges = outputs(head, ["adapt.0", "adapt.1", "read.2"], features, maps)
    handle.remove()
    boxes, arrows = {}, []
    for i, feature in enumerate(features):
        boxes[f"f{i}"] = Box(0, i, f"stage {i + 1}", shape_of(feature), INPUT)
        boxes[f"a{i}"] = Box(1.2, i, "3 x 3", shape_of(kept[f"adapt.{i}"]))
        arrows += [(f"f{i}", f"a{i}", ""), (f"a{i}", "joined", "")]
    boxes["map"] = Box(1.2, 2, "map", shape_of(maps), INPUT)
    boxes["joined"] = Box(2.4, 1, "joined", shape_of(joined[0]))
    boxes["read"] = Box(3.6, 1, "3 x 3, 3 x 3", shape_of(kept["read.2"]))
    boxes["edges"] = Box(4.8, 1, "edge logits", shape_of(edges), OUTPUT)
    arrows += [("map", "joined", ""), ("joined", "read", ""), ("read", "edges", "")]
    p.save("edge_head", [diagram(boxes, arrows)], cell=5.6, ratio=0.4, most=25_000)


def draw_feature_list() -> None:
    image, (found, _) = p.photograph(p.CAT), p.classifier()
    pixels = p.pixels(p.CAT)
    layers = w.find_stages(found.model, pixels)
    with torch.no_grad():
        features = nn.FeatureList(found.model, layers)(pixels)
    panels = [p.picture("photograph", image)]
    for layer, feature in zip(layers, features, strict=True):
        shape = " x ".join(map(str, shape_of(feature)))
        panels.append(p.picture(f"{layer}: {shape}", principal_colors(feature[0], image)))
    p.save("feature_list", panels, columns=2, cell=2.6, ratio=0.68, most=40_000)


def draw_find_layers() -> None:
    image, (found, layers) = p.photograph(p.CAT), p.classifier()
    names = [*layers.features, layers.cam]
    with torch.no_grad(), w.capture(found.model, *names) as kept:
        found.model(p.pixels(p.CAT))
    panels = []
    for role, name in zip(("features", "features", "cam"), names, strict=True):
        grid = " x ".join(map(str, kept[name].shape[2:]))
        title = f"{role}: {name}, {grid}"
        panels.append(p.picture(title, principal_colors(kept[name][0], image)))
    seen = p.look(p.CAT)
    panels.append(p.over(f"CAM, by head: {layers.head}", image, seen.cam[0]))
    p.save("find_layers", panels, columns=2, cell=2.6, ratio=0.72, most=35_000)


def _features() -> list[torch.Tensor]:
    return [
        torch.rand(1, channels, side, side) for channels, side in zip(CHANNELS, SIDES, strict=True)
    ]
