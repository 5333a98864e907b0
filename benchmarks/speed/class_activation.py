"""class_activation next to a forward pass of the same classifier.

Inputs: random images; the classifier is the one that the command takes, whose head averages.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.speed.timing import median_ratio, time_in_turn
from wsolrefine import class_activation, find_layers, load_classifier

BATCHES = [1, 16]
SIDE = 224


def bench_class_activation(least_runs: int, device: str) -> list[dict[str, object]]:
    # Milliseconds per image, except for the ratio (class_activation / forward).
    print("class_activation  B    H | activation  forward  ratio")
    model = load_classifier().model.to(device)
    layers = find_layers(model, torch.rand(1, 3, SIDE, SIDE, device=device))
    rows = []
    for batch in BATCHES if least_runs else BATCHES[:1]:
        torch.manual_seed(0)
        images = torch.rand(batch, 3, SIDE, SIDE, device=device)
        calls: dict[str, Callable[[], object]] = {
            "class_activation": partial(class_activation, model, images, layers=layers),
            "forward": partial(_forward, model, images),
        }
        times = time_in_turn(calls, least_runs, device)
        ms = {name: 1e3 * statistics.median(values) / batch for name, values in times.items()}
        ratio = median_ratio(times["class_activation"], times["forward"])
        print(
            f"{batch:>18} {SIDE:>4} | {ms['class_activation']:10.1f} {ms['forward']:8.1f} "
            f"{ratio:6.2f}",
            flush=True,
        )
        rows.append(
            {
                "shape": [batch, 3, SIDE, SIDE],
                "milliseconds per image": ms,
                "class_activation / forward": ratio,
                "runs": len(times["forward"]),
            }
        )
    return rows


@torch.no_grad()
def _forward(model: torch.nn.Module, images: Tensor) -> object:
    return model(images)
