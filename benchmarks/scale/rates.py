"""Images a second: of labelling and refining, and of what neither can do without."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from benchmarks.scale.photographs import repeated, write_photographs
from wsolrefine import Localizer, load_classifier
from wsolrefine.data import read_image
from wsolrefine.models import DEFAULT_CLASSIFIER
from wsolrefine.scale.cluster import Processes, cluster
from wsolrefine.scale.engine import Job, run
from wsolrefine.scale.items import Item, Task
from wsolrefine.scale.localizing import Classes
from wsolrefine.scale.rows import RowFormat

BATCH, BATCHES = 8, 2
METHOD = "balanced"
SIZES = {"224 pixels": (224, 224), "12 megapixels": (4000, 3000)}


class Labeled(NamedTuple):
    """Seconds an image, and bytes an image in a Parquet file."""

    seconds: float
    size: float


def job_of(localizer: Localizer) -> Job:
    names = localizer.class_names
    rows = RowFormat(localizer.threshold, "largest", True, True, False, names)
    return Job("files", BATCH, Classes(1), rows)


def tasks_of(files: Sequence[Path], images: int) -> Iterator[Task]:
    items = [Item(str(i), str(files[i % len(files)])) for i in range(images)]
    step = BATCH * BATCHES
    for number, start in enumerate(range(0, images, step)):
        some = items[start : start + step]
        yield Task(number, 0, -(-len(some) // BATCH), some)


def floor_seconds(localizer: Localizer, files: Sequence[Path], images: int) -> float:
    """Return the seconds an image of decoding, preprocessing, and the model with its maps."""
    begin = time.perf_counter()
    for start in range(0, images, BATCH):
        some = [files[i % len(files)] for i in range(start, min(start + BATCH, images))]
        pixels = [localizer.prepare_image(read_image(file)) for file in some]
        localizer.class_maps(localizer.prepare_batch(pixels))
    return (time.perf_counter() - begin) / images


def label(localizer: Localizer, files: Sequence[Path], images: int, workers: int) -> Labeled:
    """Label, and time what comes between the first rows and the last ones.

    So the start of the workers does not count. The rows of a task come together, and those of each
    worker's first task have been waited for together with its start.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    counted, tables = 0, []
    first: float | None = None
    last = time.perf_counter()
    skipped = workers * BATCH * BATCHES
    if images <= skipped:
        raise ValueError(f"images: expected more than {skipped}, got {images}")
    for rows in run(tasks_of(files, images), localizer, job_of(localizer), Processes(0, workers)):
        last = time.perf_counter()
        counted += rows.images
        tables.append(rows.table)
        if first is None and counted >= skipped:
            first = last
    file = BytesIO()
    pq.write_table(pa.concat_tables(tables), file, compression="zstd")
    return Labeled((last - (first or last)) / (images - skipped), len(file.getvalue()) / images)


def refine_seconds(files: Sequence[Path], images: int) -> float:
    """Return the seconds an image of the command ``refine``, with all pictures.

    Its start counts in neither of two runs of which one has more images than the other.
    """
    few = max(1, images // 4)
    return (_refine(files, images) - _refine(files, few)) / (images - few)


def _refine(files: Sequence[Path], images: int) -> float:
    with TemporaryDirectory() as folder:
        photographs = repeated(files, Path(folder) / "in", images)
        options = ["--out", f"{folder}/out", "--method", METHOD, "--device", "cpu"]
        command = [sys.executable, "-m", "wsolrefine", "refine", str(photographs), *options]
        begin = time.perf_counter()
        threads = os.environ | {"OMP_NUM_THREADS": "1"}  # as the others have it
        subprocess.run(command, check=True, capture_output=True, env=threads)
        return time.perf_counter() - begin


def measure_rates(folder: Path, size: tuple[int, int], images: int, runs: int) -> dict[str, Any]:
    """Return milliseconds an image and ratios, all medians over runs that take turns."""
    torch.set_num_threads(1)
    files = write_photographs(folder, size)
    localizer = Localizer(load_classifier(DEFAULT_CLASSIFIER), refine=METHOD)
    calls: dict[str, Callable[[], float | Labeled]] = {
        "floor": partial(floor_seconds, localizer, files, images),
        "label": partial(label, localizer, files, images, 1),
        "two": partial(label, localizer, files, images, 2),
        "refine": partial(refine_seconds, files, images),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    size_of_row = 0.0
    with cluster(None, 2):
        for _ in range(runs):
            for name, call in calls.items():
                found = call()
                if isinstance(found, Labeled):
                    found, size_of_row = found
                seconds[name].append(found)
    return {
        "method": METHOD,
        "milliseconds": {name: 1e3 * statistics.median(some) for name, some in seconds.items()},
        "label / floor": ratio(seconds, "label", "floor"),
        "refine / floor": ratio(seconds, "refine", "floor"),
        "label / two": ratio(seconds, "label", "two"),
        "bytes": size_of_row,
        "seconds": seconds,
    }


def ratio(seconds: Mapping[str, Sequence[float]], one: str, other: str) -> float:
    """Return the median of the ratios of runs that were made in one turn."""
    return statistics.median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))


def measure_start(folder: Path) -> dict[str, float]:
    """Return the seconds until Ray is there, and from then until the first rows."""
    files = write_photographs(folder, (224, 224))
    localizer = Localizer(load_classifier(DEFAULT_CLASSIFIER), refine=METHOD)
    begin = time.perf_counter()
    with cluster(None, 2):
        started = time.perf_counter()
        next(iter(run(tasks_of(files, BATCH), localizer, job_of(localizer), Processes(0, 1))))
        return {"Ray": started - begin, "first row": time.perf_counter() - started}
