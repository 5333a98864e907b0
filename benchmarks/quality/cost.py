"""What a row costs, from the image to the map, as a multiple of one run of the network."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import torch
from torch import Tensor

from benchmarks.quality.images import Sample
from benchmarks.quality.network import Batch, Network
from benchmarks.quality.rows import Row
from benchmarks.speed.timing import median_ratio, time_in_turn


def forwards(
    rows: Mapping[str, Row], network: Network, sample: Sample, label: Tensor, *, runs: int
) -> dict[str, float]:
    """Time all rows on one image, in one thread; the network's own time is taken with each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ready = network.batch([sample], label)
    pixels = ready.pixels

    def forward() -> None:
        with torch.inference_mode():
            network.model(pixels)

    found = {}
    for name, row in rows.items():
        # A new batch each time, because a batch keeps what the network made of it.
        def run(row: Row = row) -> Tensor:
            return row(Batch(network, ready.samples, pixels, label))

        times = time_in_turn({"forward": forward, name: run}, runs, "cpu")
        found[name] = median_ratio(times[name], times["forward"])
        print(f"\rcost: {len(found)}/{len(rows)} rows", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    torch.set_num_threads(threads)
    return found
