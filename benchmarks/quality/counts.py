"""What is kept of the maps of a row: counts of each image, at every threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.quality.images import Images, Sample
from benchmarks.quality.measure import IOUS, STEPS, prepared
from benchmarks.quality.network import Network, batches
from benchmarks.quality.rows import Row, baselines
from wsolrefine.metrics import count_box_hits, count_gray_levels, count_scores


class Counts(NamedTuple):
    """Counts of each of N images. Sums over images are those of :mod:`wsolrefine.metrics`."""

    every: Tensor  # (N, IOUS, STEPS) bool: any contour hits, as MaxBoxAccV2 has it
    one: Tensor  # (N, 1, STEPS) bool: the largest one hits at IoU 0.5
    scores: Tensor | None  # (N, 2, bins); None: not all images have masks
    gray: Tensor | None  # (N, 2, 256)


class Facts(NamedTuple):
    """What is true of each of N images, whatever the map."""

    shares: Tensor  # (N,), of the largest true box in the image
    groups: list[str]
    sources: Tensor  # (N,), the number of the set that an image is from


class Tables(NamedTuple):
    """The counts of all rows on the same images."""

    facts: Facts
    rows: dict[str, Counts]


def count_rows(
    rows: Mapping[str, Row],
    network: Network,
    sets: Sequence[Images],
    labels: Sequence[Tensor],
    *,
    with_baselines: bool = True,
) -> Tables:
    """Run all rows on the images of all sets, a batch at a time."""
    constant = baselines() if with_baselines else {}
    found: dict[str, list[Counts]] = {name: [] for name in (*constant, *rows)}
    shares, groups, sources = [], [], []
    for source, (images, of_images) in enumerate(zip(sets, labels, strict=True)):
        for batch in batches(network, images, of_images):
            for name, map in constant.items():
                found[name].append(counts_of(map.expand(len(batch.samples), -1, -1), batch.samples))
            for name, row in rows.items():
                found[name].append(counts_of(prepared(row(batch)), batch.samples))
            shares += [share(sample) for sample in batch.samples]
            groups += [sample.group for sample in batch.samples]
            sources += [source] * len(batch.samples)
    facts = Facts(torch.tensor(shares), groups, torch.tensor(sources))
    return Tables(facts, {name: _joined(some) for name, some in found.items()})


def counts_of(maps: Tensor, samples: Sequence[Sample]) -> Counts:
    """Count maps ``(B, SIDE, SIDE)``, image by image."""
    every, one = [], []
    for map, sample in zip(maps, samples, strict=True):
        count = partial(
            count_box_hits,
            map[None],
            [sample.boxes],
            image_sizes=[sample.size],
            thresholds=STEPS,
        )
        every.append(count(ious=IOUS, all_contours=True).bool())
        one.append(count(ious=(0.5,)).bool())
    masks = [sample.mask for sample in samples if sample.mask is not None]
    if len(masks) < len(samples):
        return Counts(torch.stack(every), torch.stack(one), None, None)
    scores = [count_scores(map[None], mask[None]) for map, mask in zip(maps, masks, strict=True)]
    gray = count_gray_levels(maps, torch.stack(masks))
    return Counts(torch.stack(every), torch.stack(one), torch.stack(scores).int(), gray.int())


def share(sample: Sample) -> float:
    """Return the share of the image that its largest true box covers."""
    height, width = sample.size
    limits = torch.tensor([width, height, width, height])
    x0, y0, x1, y1 = torch.minimum(sample.boxes, limits).T
    return float(((x1 - x0) * (y1 - y0)).max()) / (height * width)


def _joined(parts: Sequence[Counts]) -> Counts:
    def of(field: str) -> Tensor | None:
        some = [value for part in parts if (value := getattr(part, field)) is not None]
        return torch.cat(some) if len(some) == len(parts) else None

    every, one = (torch.cat([getattr(part, field) for part in parts]) for field in ("every", "one"))
    return Counts(every, one, of("scores"), of("gray"))
