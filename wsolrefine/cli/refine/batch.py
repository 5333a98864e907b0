"""The second half of a batch of ``refine``: images are localized, and threads write the results."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wsolrefine import Localizer
from wsolrefine.activation.labels import gathered
from wsolrefine.cli.files import replacing, system_error
from wsolrefine.cli.refine.coco import annotation
from wsolrefine.cli.refine.inputs import Found
from wsolrefine.cli.refine.outputs import result_file
from wsolrefine.cli.refine.pictures import drawn, heatmap
from wsolrefine.cli.refine.png import gray_png
from wsolrefine.cli.refine.reading import Failed, Loaded, Plan
from wsolrefine.cli.refine.stored import Record
from wsolrefine.data._opened import one_at_a_time
from wsolrefine.localization.class_maps import probabilities
from wsolrefine.localization.finite import not_finite
from wsolrefine.localization.instances import relative_peaks
from wsolrefine.localization.masks import enlarge, enlarge_labels, label_objects, mask_size

FULL = (errno.ENOSPC, errno.EROFS, errno.EDQUOT)
"""Errors after which no image can be written."""


class Finished(NamedTuple):
    """An image whose results are written, and its entry of the results file."""

    found: Found
    record: Record


def finish(plan: Plan, batch: list[Loaded], pool: Executor) -> list[Future[Finished | Failed]]:
    """Localize in a batch, and let the pool write the results of each image."""
    localizer, classes = plan.localizer, plan.classes
    try:
        images = localizer.prepare_batch([loaded.pixels for loaded in batch])
        if isinstance(classes, int):
            found = localizer.class_maps(images, top=classes)
        elif isinstance(classes, list):
            found = localizer.class_maps(
                images, torch.tensor([classes] * len(images), device=images.device)
            )
        else:
            found = localizer.class_maps(images, [classes[loaded.found.name] for loaded in batch])
    except OSError as error:  # of the model, which may be the user's code; not of writing to --out
        raise RuntimeError(system_error(error)) from error
    wrong = not_finite(localizer, images, found)
    logits, maps = found.logits.float().cpu(), found.maps.float().cpu()
    labels = found.labels.cpu()
    scores = gathered(probabilities(logits), labels)
    parts = zip(batch, maps, labels.tolist(), scores.tolist(), wrong, strict=True)
    return [pool.submit(_write_in_turn, plan, *part) for part in parts]


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
    regions, (width, height) = plan.localizer.regions, loaded.size
    named = len(labels) > 1 or isinstance(plan.classes, dict)  # by class, as there may be several
    size = height, width
    files: list[str] = []
    annotations: list[Record] = []
    try:
        for label, score, map in zip(labels, scores, maps, strict=True):
            if label < 0:  # another image of the batch has more classes
                continue
            large = enlarge(map[None, None], mask_size(size))
            # Objects of a large image are kept at this size: its masks hold nothing finer.
            objects = _objects(plan.localizer, large) if regions else None
            entries = [] if objects is None else _entries(objects, large, size, label, score)
            names = {
                folder: result_file(folder, loaded.found.base, label if named else None)
                for folder in plan.write
                if regions or folder != "masks"
            }
            files += names.values()
            if (link := _leads_out(plan.out, names.values())) is not None:
                return Failed(loaded.found, f"{link} leads out of {plan.out} by a link")
            levels = heatmap(large[0, 0])
            for folder, name in names.items():
                with replacing(plan.out / name) as temporary:
                    if folder == "maps":
                        smooth = levels.resize(loaded.size, Image.Resampling.BILINEAR)
                        temporary.write_bytes(gray_png(np.asarray(smooth)))
                    elif folder == "masks" and objects is not None:
                        whole = enlarge_labels((objects > 0).byte() * 255, size)
                        temporary.write_bytes(gray_png(whole[0, 0].numpy()))
                    elif loaded.preview is not None:
                        title = _title(plan.localizer, label)
                        picture = drawn(loaded.preview, levels, entries, loaded.size, title)
                        picture.save(temporary, quality=90)
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
    record = {
        "file_name": loaded.found.name,
        "width": width,
        "height": height,
        **loaded.identity,
        "files": files,
        "annotations": annotations,
    }
    return Finished(loaded.found, record)


def _objects(localizer: Localizer, map: Tensor) -> Tensor:
    return label_objects(map, localizer.threshold, localizer.parts)


def _entries(
    objects: Tensor, map: Tensor, size: tuple[int, int], label: int, score: float
) -> list[Record]:
    """Return the annotation of each object.

    Args:
        objects: numbers from 1, uint8, ``(1, 1, h, w)``; 0 is background.
        map: of the same shape.
        size: (height, width) of the image.
        label: the class.
        score: its probability.

    """
    numbers, peaks = objects[0, 0].numpy(), relative_peaks(objects[0, 0], map[0, 0]).tolist()
    found = (
        annotation(numbers == number, size, label, score * peak)
        for number, peak in enumerate(peaks, 1)
    )
    return [entry for entry in found if entry is not None]


def _title(localizer: Localizer, label: int) -> str:
    names = localizer.class_names
    return str(names[label].split(",")[0] if names else label)


def _leads_out(out: Path, files: Iterable[str]) -> str | None:
    """Return the first file whose folder is elsewhere, by a link; None if there is none."""
    for file in files:
        folder = Path(os.path.realpath((out / file).parent))
        if out not in folder.parents:
            return file
    return None
