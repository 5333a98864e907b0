"""One batch of ``refine``: read the images, localize, write the results."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from wsolrefine import Localizer
from wsolrefine.cli.files import replacing, system_error
from wsolrefine.cli.refine.coco import annotation, file_identity
from wsolrefine.cli.refine.inputs import Found
from wsolrefine.cli.refine.stored import Record
from wsolrefine.data import UnreadableImage
from wsolrefine.data._opened import one_at_a_time
from wsolrefine.data.images import reading
from wsolrefine.localization.class_maps import probabilities
from wsolrefine.localization.finite import not_finite
from wsolrefine.localization.instances import relative_peaks
from wsolrefine.localization.masks import enlarge, enlarge_labels, label_objects, mask_size
from wsolrefine.viz import draw_boxes, overlay

FULL = (errno.ENOSPC, errno.EROFS, errno.EDQUOT)
"""Errors after which no image can be written."""

PREVIEW_SIZE = 1600
"""Longest side of an overlay in pixels; overlays are for inspection only."""

LONGEST_LABEL = 60
"""Characters of a class name that an overlay shows."""


class Plan(NamedTuple):
    """What to do with each image, and where to write the results.

    ``classes`` is the number K of the top classes, or a list of class indices.
    """

    localizer: Localizer
    classes: int | list[int]
    out: Path


class Loaded(NamedTuple):
    """What is kept of an image while its batch is processed, which excludes the full image.

    ``identity`` is that of the file before it was opened. If the file is replaced meanwhile, the
    next run sees another one and processes it.
    """

    found: Found
    identity: Record
    pixels: Tensor
    size: tuple[int, int]
    preview: npt.NDArray[np.uint8]


class Finished(NamedTuple):
    """Entries of the results file for one image."""

    found: Found
    identity: Record
    size: tuple[int, int]
    files: list[str]
    annotations: list[Record]


class Failed(NamedTuple):
    """An image that could not be read or written, and why."""

    found: Found
    reason: str


def load(plan: Plan, found: Found) -> Loaded | Failed:
    """Read and preprocess one image."""
    try:
        identity = file_identity(found.path, plan.out)
        with reading(found.path) as image:
            pixels, size = plan.localizer.prepare_image(image), image.size
            image.thumbnail((PREVIEW_SIZE, PREVIEW_SIZE))
            preview = np.asarray(image).copy()
    except UnreadableImage as error:
        return Failed(found, error.reason)
    except OSError as error:
        return Failed(found, (error.strerror or str(error)).lower())
    except Exception as error:  # preprocessing may be the user's code
        return Failed(found, f"preprocessing failed ({error or type(error).__name__})")
    return Loaded(found, identity, pixels, size, preview)


def finish(plan: Plan, batch: list[Loaded], pool: Executor) -> Iterator[Finished | Failed]:
    """Localize in a batch, and yield each image once its results are written."""
    localizer, classes = plan.localizer, plan.classes
    try:
        images = localizer.prepare_batch([loaded.pixels for loaded in batch])
        if isinstance(classes, int):
            found = localizer.class_maps(images, top=classes)
        else:
            found = localizer.class_maps(
                images, torch.tensor([classes] * len(images), device=images.device)
            )
    except OSError as error:  # of the model, which may be the user's code; not of writing to --out
        raise RuntimeError(system_error(error)) from error
    wrong = not_finite(localizer, images, found)
    logits, maps = found.logits.float().cpu(), found.maps.float().cpu()
    labels = found.labels.cpu()
    scores = probabilities(logits).gather(1, labels)
    yield from pool.map(
        partial(_write_in_turn, plan), batch, maps, labels.tolist(), scores.tolist(), wrong
    )


def _write_in_turn(plan: Plan, loaded: Loaded, *found: Any) -> Finished | Failed:
    with one_at_a_time(loaded.size[0] * loaded.size[1]):  # as for reading
        return _write(plan, loaded, *found)


def _write(
    plan: Plan,
    loaded: Loaded,
    maps: Tensor,
    labels: list[int],
    scores: list[float],
    wrong: str | None,
) -> Finished | Failed:
    if wrong is not None:
        return Failed(loaded.found, wrong)
    width, height = loaded.size
    localizer = plan.localizer
    files: list[str] = []
    annotations: list[Record] = []
    try:
        for label, score, map in zip(labels, scores, maps, strict=True):
            large = enlarge(map[None, None], mask_size((height, width)))
            gray = Image.fromarray((large[0, 0] * 255).round().to(torch.uint8).numpy())
            gray = gray.resize(loaded.size, Image.Resampling.BILINEAR)
            outputs, entries = {"maps": gray}, []
            if localizer.regions:
                small = label_objects(large, localizer.threshold, localizer.parts)
                objects = enlarge_labels(small, (height, width))[0, 0].numpy()
                outputs["masks"] = Image.fromarray((objects > 0).astype(np.uint8) * 255)
                for number, peak in enumerate(relative_peaks(small[0, 0], large[0, 0]), 1):
                    entries.append(annotation(objects == number, label, score * peak.item()))
            drawn = _overlay(plan, loaded, gray, entries, label)
            outputs["overlays"] = Image.fromarray(drawn)
            end = f".{label}.png" if len(labels) > 1 else ".png"
            names = {folder: f"{folder}/{loaded.found.name}{end}" for folder in outputs}
            files += names.values()
            if (link := _leads_out(plan.out, names.values())) is not None:
                return Failed(loaded.found, f"{link} leads out of {plan.out} by a link")
            for folder, image in outputs.items():
                with replacing(plan.out / names[folder]) as temporary:
                    image.save(temporary, compress_level=1 if image.mode == "RGB" else 6)
            paths = {folder.removesuffix("s"): name for folder, name in names.items()}
            annotations += [{**entry, **paths} for entry in entries]
    except OSError as error:
        for file in files:
            with contextlib.suppress(OSError):
                (plan.out / file).unlink()
        if error.errno in FULL:
            raise  # no image can be written: stop instead of failing on each one
        return Failed(loaded.found, f"cannot write the results ({error.strerror or error})")
    except MemoryError:
        return Failed(loaded.found, "not enough memory for the mask")
    return Finished(loaded.found, loaded.identity, loaded.size, files, annotations)


def _leads_out(out: Path, files: Iterable[str]) -> str | None:
    """Return the first file whose folder is elsewhere, by a link; None if there is none."""
    for file in files:
        folder = Path(os.path.realpath((out / file).parent))
        if out not in folder.parents:
            return file
    return None


def _overlay(
    plan: Plan, loaded: Loaded, gray: Image.Image, entries: list[Record], label: int
) -> npt.NDArray[np.uint8]:
    """Draw heatmap, boxes and class over the preview of an image."""
    height, width = loaded.preview.shape[:2]
    small = gray.resize((width, height), Image.Resampling.BILINEAR)
    drawn = overlay(loaded.preview, np.asarray(small) / np.float32(255))
    boxes = np.array([entry["bbox"] for entry in entries]).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    boxes *= np.tile(np.divide((width, height), loaded.size), 2)
    names = plan.localizer.class_names
    name = str(names[label].split(",")[0] if names else label)[:LONGEST_LABEL]
    return draw_boxes(drawn, boxes, labels=[f"{name} {entry['score']:.2f}" for entry in entries])
