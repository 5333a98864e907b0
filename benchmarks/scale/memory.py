"""Memory of the process that starts a run, by the number of rows: images are missing files.

    python -m benchmarks.scale.memory FOLDER ROWS

prints the megabytes of one run, which :func:`measure_memory` starts in a process of its own.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from benchmarks.scale.rates import job_of
from wsolrefine import Localizer, Preprocess
from wsolrefine.scale.cluster import Processes, cluster
from wsolrefine.scale.engine import run
from wsolrefine.scale.items import Item
from wsolrefine.scale.parts import write_parts
from wsolrefine.scale.plan import Plan, batches_in_task, write_plan
from wsolrefine.scale.sources import Source
from wsolrefine.scale.store import Store


def measure_memory(rows: int, folder: Path) -> float:
    """Return the most megabytes of its own that the driver of a run has."""
    command = [sys.executable, "-m", __name__, str(folder / f"rows-{rows}"), str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def own_megabytes() -> float:
    """Return the memory of this process that it shares with no other, as Ray's object store."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else float("nan")


class Watch(threading.Thread):
    """Looks at the memory of this process again and again; ``most`` is the most that it saw."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0.0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.05):
            self.most = max(self.most, own_megabytes())


def no_images(count: int) -> Iterator[Item]:
    for number in range(count):
        yield Item(
            f"images/{number:08d}.jpg", f"{Path.cwd().anchor}missing/images/{number:08d}.jpg"
        )


def main(folder: str, rows: str) -> None:
    torch.set_num_threads(1)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    localizer = Localizer(model, refine="cam", preprocess=Preprocess((32, 32)))
    store, watch = Store(folder), Watch()
    with cluster(None, 1):
        watch.start()
        facts = write_plan(store, Source("files", no_images(int(rows))), 512)
        with Plan(store) as plan:
            batches = batches_in_task(int(rows), 8, workers=1)
            tasks = plan.tasks(range(facts.parts), "files", 8, batches)
            found = run(tasks, localizer, job_of(localizer), Processes(0, 1))
            written = sum(part.images for part in write_parts(store, found))
        watch.ended.set()
        watch.join()
    if written != int(rows):
        raise RuntimeError(f"expected {rows} rows, got {written}")
    print(round(watch.most, 1))


if __name__ == "__main__":
    main(*sys.argv[1:])
