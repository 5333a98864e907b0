"""The workers of ``train`` read large images one at a time, all of them together."""

import time
from itertools import pairwise

import pytest
import torch
from PIL import Image

from wsolrefine.cli.train.batches import Batches, Loader, TrainingImages
from wsolrefine.data import ImageFolder, _opened


class Slow:
    """Preprocessing that notes when it begins and ends."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, image):
        start = time.monotonic()
        time.sleep(0.1)
        self.folder.joinpath(f"{start}").write_text(f"{time.monotonic()}")
        return torch.zeros(3, 2, 2)


@pytest.mark.parametrize(("limit", "together"), [(0, False), (2**25, True)])
def test_large_images_are_read_by_one_worker_at_a_time(tmp_path, monkeypatch, limit, together):
    monkeypatch.setattr(_opened, "LARGE", limit)  # workers are forked, and have it too
    (tmp_path / "images/birds").mkdir(parents=True)
    (tmp_path / "times").mkdir()
    for n in range(8):
        Image.new("RGB", (4, 4)).save(tmp_path / f"images/birds/{n}.png")
    images = TrainingImages(
        ImageFolder(tmp_path / "images"), lambda image, _: image, Slow(tmp_path / "times"), 0
    )
    assert len(list(Loader(images, Batches(8, 2, seed=0, epoch=0), 2, False))) == 4
    spans = sorted(
        (float(file.name), float(file.read_text())) for file in (tmp_path / "times").iterdir()
    )
    assert len(spans) == 8
    overlaps = [start < end for (_, end), (start, _) in pairwise(spans)]
    assert any(overlaps) == together
