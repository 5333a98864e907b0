"""What a row costs, from images to maps, as a multiple of one run of the network on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from benchmarks.common import show_progress
from benchmarks.quality.images import Sample
from benchmarks.quality.network import Batch, Network
from benchmarks.quality.rows import Row
from benchmarks.speed.timing import median_ratio, time_in_turn


def forwards(
    rows: Mapping[str, Row],
    network: Network,
    samples: Sequence[Sample],
    labels: Tensor,
    *,
    runs: int,
) -> dict[str, float]:
    """Time all rows on a batch, in one thread; the network's own time is taken with each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ready = network.batch([*samples], labels)

    def forward() -> None:
        with torch.inference_mode():
            network.model(ready.pixels)

    found = {}
    for name, row in rows.items():
        # A new batch each time, because a batch keeps what the network made of it.
        def run(row: Row = row) -> Tensor:
            return row(Batch(network, ready.samples, ready.pixels, labels))

        times = time_in_turn({"forward": forward, name: run}, runs, "cpu")
        found[name] = median_ratio(times[name], times["forward"])
        show_progress(f"cost of rows in batches of {len(samples)}", len(found), len(rows))
    torch.set_num_threads(threads)
    return found
