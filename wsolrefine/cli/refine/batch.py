"""One batch of ``refine``: read, localize, write."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from wsolrefine import Localizer
from wsolrefine.cli.files import replacing
from wsolrefine.cli.refine.coco import Record, annotation
from wsolrefine.cli.refine.inputs import Found
from wsolrefine.data import UnreadableImage, read_image
from wsolrefine.localization.masks import binarize, enlarge, mask_size
from wsolrefine.viz import draw_boxes, overlay

PREVIEW_SIZE = 1600
"""Longest side of an overlay in pixels: it is for looking at, whatever the size of the image."""


class Plan(NamedTuple):
    """What is done to every image, and where the results go.

    ``classes`` is the K of the best K classes, or a list of class indices.
    """

    localizer: Localizer
    classes: int | list[int]
    out: Path


class Loaded(NamedTuple):
    """What is kept of an image while its batch is worked on: never the full photograph."""

    found: Found
    pixels: Tensor
    size: tuple[int, int]
    preview: npt.NDArray[np.uint8]


class Finished(NamedTuple):
    """Entries of the results file for one image."""

    found: Found
    size: tuple[int, int]
    files: list[str]
    annotations: list[Record]


class Failed(NamedTuple):
    """An image that could not be read or written, and why."""

    found: Found
    reason: str


def load(plan: Plan, found: Found) -> Loaded | Failed:
    """Read one image and bring it to the classifier's size."""
    try:
        image = read_image(found.path)
        pixels = plan.localizer.prepare_image(image)
    except UnreadableImage as error:
        return Failed(found, error.reason)
    except OSError as error:
        return Failed(found, (error.strerror or str(error)).lower())
    except Exception as error:  # preprocessing may be anybody's code
        return Failed(found, f"preprocessing failed ({error or type(error).__name__})")
    size = image.size
    image.thumbnail((PREVIEW_SIZE, PREVIEW_SIZE))
    return Loaded(found, pixels, size, np.asarray(image).copy())


def finish(plan: Plan, batch: list[Loaded], pool: Executor) -> Iterator[Finished | Failed]:
    """Localize in a batch, and yield each image when its results are written."""
    localizer, classes = plan.localizer, plan.classes
    images = torch.stack([loaded.pixels for loaded in batch]).to(localizer.device)
    if isinstance(classes, int):
        found = localizer.class_maps(images, top=classes)
    else:
        asked = torch.tensor([classes] * len(images), device=images.device)
        found = localizer.class_maps(images, asked)
    logits, maps = found.logits.float().cpu(), found.maps.float().cpu()
    labels = found.labels.cpu()
    scores = logits.softmax(-1).gather(1, labels)
    yield from pool.map(partial(_write, plan), batch, maps, labels.tolist(), scores.tolist())


def _write(
    plan: Plan, loaded: Loaded, maps: Tensor, labels: list[int], scores: list[float]
) -> Finished | Failed:
    if not np.isfinite(scores).all():
        return Failed(loaded.found, "the class scores are not finite numbers")
    width, height = loaded.size
    localizer = plan.localizer
    files: list[str] = []
    annotations: list[Record] = []
    try:
        for label, score, map in zip(labels, scores, maps, strict=True):
            large = enlarge(map[None, None], mask_size((height, width)))
            level = Image.fromarray((large[0, 0] * 255).round().to(torch.uint8).numpy())
            level = level.resize(loaded.size, Image.Resampling.BILINEAR)
            made, entry = {"maps": level}, None
            if localizer.regions:
                binary = binarize(large, localizer.threshold, localizer.parts)[0, 0]
                mask = Image.fromarray(binary.to(torch.uint8).mul(255).numpy())
                made["masks"] = mask = mask.resize(loaded.size, Image.Resampling.NEAREST)
                entry = annotation(np.asarray(mask) > 0, label, score)
            picture = _picture(plan, loaded, level, entry, label, score)
            made["overlays"] = Image.fromarray(picture)
            end = f".{label}.png" if len(labels) > 1 else ".png"
            names = {folder: f"{folder}/{loaded.found.name}{end}" for folder in made}
            files += names.values()
            for folder, image in made.items():
                with replacing(plan.out / names[folder]) as temporary:
                    image.save(temporary, compress_level=1 if image.mode == "RGB" else 6)
            if entry:
                written = {folder.removesuffix("s"): name for folder, name in names.items()}
                annotations.append({**entry, **written})
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EROFS, errno.EDQUOT):
            raise  # no image can be written: stop instead of failing on each
        for file in files:
            with contextlib.suppress(OSError):
                (plan.out / file).unlink()
        return Failed(loaded.found, f"cannot write its results ({error.strerror or error})")
    except MemoryError:
        return Failed(loaded.found, "not enough memory for its mask")
    return Finished(loaded.found, loaded.size, files, annotations)


def _picture(
    plan: Plan, loaded: Loaded, level: Image.Image, entry: Record | None, label: int, score: float
) -> npt.NDArray[np.uint8]:
    """Draw map, box and class over the preview of an image."""
    height, width = loaded.preview.shape[:2]
    shown = level.resize((width, height), Image.Resampling.BILINEAR)
    picture = overlay(loaded.preview, np.asarray(shown) / np.float32(255))
    if entry is None:
        return picture
    x, y, w, h = entry["bbox"]
    box = np.array([x, y, x + w, y + h]) * np.tile(np.divide((width, height), loaded.size), 2)
    names = plan.localizer.class_names
    name = names[label].split(",")[0] if names else label
    return draw_boxes(picture, box, labels=[f"{name} {score:.2f}"])
