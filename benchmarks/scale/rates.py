"""Images a second: of labelling with one process and with two, and of what it cannot do without."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from wsolrefine import Localizer, load_classifier
from wsolrefine.data import read_image
from wsolrefine.scale.cluster import Processes, cluster
from wsolrefine.scale.engine import Job, run
from wsolrefine.scale.items import Item, Task
from wsolrefine.scale.localizing import Classes
from wsolrefine.scale.rows import RowFormat

BATCH, BATCHES = 8, 2
METHOD = "balanced"


def job_of(localizer: Localizer) -> Job:
    rows = RowFormat(localizer.threshold, "largest", True, True, False, localizer.class_names)
    return Job("files", BATCH, Classes(1), rows)


def write_photographs(folder: Path, size: tuple[int, int], count: int = 4) -> list[Path]:
    """Write photographs of scikit-image at a size; a run reads them again and again."""
    from PIL import Image
    from skimage import data

    files = []
    for name in ("astronaut", "chelsea", "coffee", "rocket")[:count]:
        file = folder / f"{name}-{size[0]}.jpg"
        if not file.exists():
            Image.fromarray(getattr(data, name)()).resize(size).save(file, quality=90)
        files.append(file)
    return files


def tasks_of(files: list[Path], images: int) -> Iterator[Task]:
    items = [Item(str(i), str(files[i % len(files)])) for i in range(images)]
    step = BATCH * BATCHES
    for number, start in enumerate(range(0, images, step)):
        some = items[start : start + step]
        yield Task(number, 0, -(-len(some) // BATCH), some)


def floor_seconds(localizer: Localizer, files: list[Path], images: int) -> float:
    """Return the seconds an image of decoding, preprocessing, and the model with its maps."""
    begin = time.perf_counter()
    for start in range(0, images, BATCH):
        some = [files[i % len(files)] for i in range(start, min(start + BATCH, images))]
        pixels = [localizer.prepare_image(read_image(file)) for file in some]
        localizer.class_maps(localizer.prepare_batch(pixels))
    return (time.perf_counter() - begin) / images


def label_seconds(localizer: Localizer, files: list[Path], images: int, workers: int) -> float:
    """Return the seconds an image between the first rows and the last ones.

    So the start of the workers does not count. The rows of a task come together, and those of each
    worker's first task have been waited for together with its start.
    """
    counted = 0
    first: float | None = None
    last = time.perf_counter()
    skipped = workers * BATCH * BATCHES
    for rows in run(tasks_of(files, images), localizer, job_of(localizer), Processes(0, workers)):
        last = time.perf_counter()
        counted += rows.images
        if first is None and counted >= skipped:
            first = last
    return (last - (first or last)) / (images - skipped)


def measure_rates(folder: Path, size: tuple[int, int], images: int, runs: int) -> dict[str, Any]:
    """Return milliseconds an image and ratios, all medians over runs that take turns."""
    torch.set_num_threads(1)
    files = write_photographs(folder, size)
    localizer = Localizer(load_classifier("efficientnet-lite0"), refine=METHOD)
    calls = {
        "floor": partial(floor_seconds, localizer, files, images),
        "one": partial(label_seconds, localizer, files, images, 1),
        "two": partial(label_seconds, localizer, files, images, 2),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    with cluster(None, 2):
        for _ in range(runs):
            for name, call in calls.items():
                seconds[name].append(call())
    one, two = seconds["one"], seconds["two"]
    return {
        "method": METHOD,
        "floor_ms": 1e3 * statistics.median(seconds["floor"]),
        "label_ms": 1e3 * statistics.median(one),
        "two_ms": 1e3 * statistics.median(two),
        "ratio": statistics.median(a / b for a, b in zip(one, seconds["floor"], strict=True)),
        "speedup": statistics.median(a / b for a, b in zip(one, two, strict=True)),
        "seconds": seconds,
    }


def measure_start(folder: Path) -> dict[str, float]:
    """Return the seconds until Ray is there, and from then until the first rows."""
    files = write_photographs(folder, (224, 224))
    localizer = Localizer(load_classifier("efficientnet-lite0"), refine=METHOD)
    begin = time.perf_counter()
    with cluster(None, 2):
        started = time.perf_counter()
        next(iter(run(tasks_of(files, BATCH), localizer, job_of(localizer), Processes(0, 1))))
        return {"ray_s": started - begin, "row_s": time.perf_counter() - started}
