"""Images of the outputs of a network, and of ways to show them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import wsolrefine as w
from drawings import panels as p
from wsolrefine import bagcams, capture, class_activation, gap_cam, grad_cam, layer_cam
from wsolrefine.viz import contact_sheet, draw_boxes, overlay


def draw_class_activation() -> None:
    panels: list[p.Panel] = []
    loaded, layers = p.classifier()
    for name in (p.MOTORCYCLE, p.CAT):
        found = class_activation(loaded.model, p.pixels(name), top=3, layers=layers)
        scores = found.logits.softmax(1)[0]
        image = p.photograph(name)
        panels.append(p.picture("photograph", image))
        for label, cam in zip(found.labels[0].tolist(), found.cam[0], strict=True):
            title = f"{_first_name(label)}, {scores[label]:.0%}"
            panels.append(p.over(title, image, cam))
    p.save("class_activation", panels, columns=4, ratio=0.68)


def draw_capture() -> None:
    image, (found, _) = p.photograph(p.CAT), p.classifier()
    layers = ("_blocks.2", "_blocks.4", "_blocks.10", "_blocks.15")
    with torch.no_grad(), capture(found.model, *layers) as outputs:
        found.model(p.pixels(p.CAT))
    panels = [p.picture("photograph", image)]
    for layer in layers:
        _, _, height, width = outputs[layer].shape
        colors = principal_colors(outputs[layer][0], image)
        panels.append(p.picture(f"{layer}, {height} x {width}", colors))
    p.save("capture", panels, ratio=0.7)


def draw_gap_cam() -> None:
    image, (found, layers) = p.photograph(p.CUP), p.classifier()
    with torch.no_grad(), capture(found.model, layers.cam) as outputs:
        labels = found.model(p.pixels(p.CUP)).topk(3).indices
    weight = found.model.get_submodule(layers.head).weight.detach()
    maps = gap_cam(outputs[layers.cam], weight, labels)[0]
    panels = [p.picture("photograph", image)]
    for label, map in zip(labels[0].tolist(), maps, strict=True):
        panels.append(p.over(_first_name(label), image, map))
    p.save("gap_cam", panels, ratio=0.68)


def draw_grad_cam() -> None:
    _by_layer(grad_cam)


def draw_bagcams() -> None:
    _by_layer(bagcams)


def _by_layer(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Show the maps of a function of an activation and scores at three layers."""
    seen, (found, _) = p.look(p.MOTORCYCLE), p.classifier()
    layers = ("_blocks.4", "_blocks.10", "_blocks.15")
    with torch.enable_grad(), capture(found.model, *layers) as outputs:
        scores = found.model(p.pixels(p.MOTORCYCLE).requires_grad_())[:, seen.label]
        maps = [function(outputs[layer], scores) for layer in layers]
    panels = [p.over(layer, seen.image, map[0]) for layer, map in zip(layers, maps, strict=True)]
    p.save(function.__name__, [p.picture("photograph", seen.image), *panels], ratio=0.72)


def draw_layer_cam() -> None:
    seen, (found, _) = p.look(p.MOTORCYCLE), p.classifier()
    layers = ("_blocks.2", "_blocks.4", "_blocks.10", "_blocks.15")
    with torch.enable_grad(), capture(found.model, *layers) as outputs:
        scores = found.model(p.pixels(p.MOTORCYCLE).requires_grad_())[:, seen.label]
        panels = [
            p.over(f"{function.__name__}, {layer}", seen.image, function(outputs[layer], scores)[0])
            for function in (grad_cam, layer_cam)
            for layer in layers
        ]
    p.save("layer_cam", panels, columns=4, ratio=0.72, most=45_000)


def draw_tokens_to_map() -> None:
    tokens = torch.arange(13.0).view(1, 13, 1)
    grid = w.tokens_to_map(tokens, num_prefix_tokens=1, grid=(3, 4))[0, 0].long()

    def text(value: int) -> str:
        return str(value) if value else "cls"

    def color(value: int) -> int:  # one color a row of the grid
        return (value + 3) // 4

    panels = [
        p.numbered("13 tokens: 1 prefix, 3 x 4 patches", tokens[..., 0].long(), text, color),
        p.numbered("map", grid, text, color),
    ]
    p.save("tokens_to_map", panels, cell=4.2, ratio=0.3)


def draw_overlay() -> None:
    seen = p.look(p.CAT)
    map = p.enlarge(w.scg(seen.cam, seen.both)[0], seen.image)
    alphas = (0.25, 0.5, 0.75, 1.0)
    panels = [p.picture(f"alpha={alpha}", overlay(seen.image, map, alpha)) for alpha in alphas]
    p.save("overlay", panels, ratio=0.7)


def draw_draw_boxes() -> None:
    image = p.photograph(p.MOTORCYCLE)
    height, width = image.shape[:2]
    box = [0.03 * width, 0.22 * height, 0.95 * width, 0.95 * height]
    green = {"color": (80, 255, 80), "labels": ["motorcycle"]}
    panels = [
        p.picture(title, draw_boxes(image, box, width=6, **options))
        for title, options in (
            ("default", {}),
            ("dashed=True", {"dashed": True}),
            ("color, labels", green),
        )
    ]
    p.save("draw_boxes", panels, cell=2.4, ratio=0.72)


def draw_contact_sheet() -> None:
    rows, captions = [], []
    for name in (p.CUP, p.CAT):
        seen = p.look(name)
        refined = p.enlarge(w.scg(seen.cam, seen.both)[0], seen.image)
        rows.append([seen.image, p.enlarge(seen.cam[0], seen.image), overlay(seen.image, refined)])
        captions.append(f"{_first_name(seen.label)} ({name})")
    path = p.FOLDER / "contact_sheet.webp"
    contact_sheet(rows, ["photograph", "CAM", "scg"], path, captions=captions, cell=2.0)


def _first_name(label: int) -> str:
    """Return a class name without its synonyms."""
    names = p.classifier()[0].class_names or []
    return names[label].split(",")[0]


def principal_colors(features: Tensor, image: np.ndarray) -> np.ndarray:
    """Show a feature map by its three strongest directions, as red, green and blue."""
    centered = features.flatten(1).T - features.mean((1, 2))
    _, _, directions = torch.linalg.svd(centered, full_matrices=False)
    strongest = (centered @ directions[:3].T).T.reshape(3, *features.shape[1:])
    colors = (w.minmax(strongest) * 255).byte().permute(1, 2, 0).numpy()
    large = Image.fromarray(colors).resize(image.shape[1::-1], Image.Resampling.NEAREST)
    return np.asarray(large)
