"""Photographs from heatmap to box: objects whose box is right, and cases that fail."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image

import wsolrefine as w
from benchmarks.scenes.packages import unpacked
from drawings import panels as p
from wsolrefine.data import read_image
from wsolrefine.localization.masks import Parts
from wsolrefine.viz import draw_boxes, overlay

BACKGROUNDS = "usr/share/backgrounds"
# A file, and the part of it that is shown, as fractions of the whole: x0 y0 x1 y1.
DOGS = "friends_by_Aitzol_Berasategi.jpg", (0.1, 0.2, 0.9, 0.64)
DANDELION = "seeding_by_Clements_Engelhardt.jpg", (0.0, 0.0, 0.85, 1.0)


def draw_objects() -> None:
    folder = unpacked() / BACKGROUNDS
    images = [Image.fromarray(p.photograph(p.MOTORCYCLE))]
    for name, (x0, y0, x1, y1) in (DOGS, DANDELION):
        whole = read_image(folder / name)
        box = (x0 * whole.width, y0 * whole.height, x1 * whole.width, y1 * whole.height)
        images.append(whole.crop(tuple(map(round, box))))
    _draw("objects", zip(images, ("largest", "instances", "largest"), strict=True))


def draw_failures() -> None:
    names = ("astronaut.png", "hubble_deep_field.jpg")
    _draw("failures", [(Image.fromarray(p.photograph(name)), "largest") for name in names])


def _draw(name: str, photographs: Iterable[tuple[Image.Image, Parts]]) -> None:
    classifier = p.classifier()[0]
    cam, refined = w.Localizer(classifier, refine="cam"), w.Localizer(classifier)
    panels: list[p.Panel] = []
    titles = ("photograph", "class activation map", "refined (balanced)", "boxes (dashed: CAM)")
    for row, (image, parts) in enumerate(photographs):
        image.thumbnail((740, 740))
        found = refined(image).at(refined.threshold, parts=parts)
        before = cam(image, found.labels)
        pixels = np.asarray(image)
        width = max(2, max(image.size) // 110)
        boxed = draw_boxes(pixels, before.boxes[0, 0], width=width, dashed=True)
        boxed = draw_boxes(boxed, found.instances[0][0].boxes, width=width, color=(80, 255, 80))
        maps = [overlay(pixels, each.maps[0, 0]) for each in (before, found)]
        for title, shown in zip(titles, (pixels, *maps, boxed), strict=True):
            panels.append(p.picture(title if row == 0 else "", shown))
    p.save(name, panels, columns=4, ratio=0.62, most=46_000)
