"""benchmarks.recipes: the pool, its images, the record, standard errors."""

import argparse
import json
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning import LightningModule
from PIL import Image
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader

from benchmarks.quality.data_sets import open_data
from benchmarks.quality.measure import SIDE, STEPS, at_thresholds_of, measure
from benchmarks.recipes import ornet
from benchmarks.recipes.features import normalized, pretrained
from benchmarks.recipes.groups import GROUPS, NAMES, THINGS, VEHICLES, group_of, parsed_groups
from benchmarks.recipes.measured import named
from benchmarks.recipes.options import OWN_SIZES, SIZES
from benchmarks.recipes.parts import PARTS
from benchmarks.recipes.photographs import GroupedPhotographs
from benchmarks.recipes.pool import Slices
from benchmarks.recipes.record import Record
from benchmarks.recipes.report import in_percent, part_table
from benchmarks.recipes.run import Run
from benchmarks.recipes.splits import Split, Truth
from tests.support.miniature import Truth as Photograph
from tests.support.miniature import write_metadata
from tests.support.small_recipes import quiet_trainer
from wsolrefine.metrics import count_box_hits, max_box_acc

ORIGIN = {"version": "1", "commit": "abc", "date": "2000-01-01"}


# The pool -----------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
def test_no_image_is_in_two_epochs(count, epochs, seed):
    if epochs > count:
        with pytest.raises(ValueError, match=f"epochs: expected 1 to {count}"):
            Slices(count, epochs, seed=seed)
        return
    slices, seen = Slices(count, epochs, seed=seed), []
    for epoch in range(epochs):
        slices.set_epoch(epoch)
        seen += [*slices]
        assert len([*slices]) == len(slices) == count // epochs
    assert len({*seen}) == len(seen)
    assert {*seen} <= {*range(count)}


def test_other_seeds_take_the_pool_in_another_order():
    assert [*Slices(50, 2, seed=0)] == [*Slices(50, 2, seed=0)] != [*Slices(50, 2, seed=1)]


def test_lightning_takes_another_slice_each_epoch():
    class Seen(LightningModule):
        def __init__(self):
            super().__init__()
            self.weight, self.images = nn.Parameter(torch.zeros(())), []

        def training_step(self, batch, index):
            self.images += batch.tolist()
            return self.weight * 1.0

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    seen = Seen()
    with quiet_trainer(max_epochs=3) as trainer:
        trainer.fit(seen, DataLoader(range(12), 2, sampler=Slices(12, 3, seed=0)))
    assert sorted(seen.images) == [*range(12)]


def test_an_epoch_without_a_batch_is_refused():
    run = Run.__new__(Run)
    run.options = argparse.Namespace(batch=8)
    message = "train: expected at least 16 images for 2 epochs of a batch of 8, got 15"
    with pytest.raises(ValueError, match=message):
        run.train(LightningModule(), range(15), epochs=2, seed=0)


def test_the_rest_of_the_network_begins_where_the_features_end():
    backbone, channels, preprocess = pretrained()
    images = normalized(torch.randint(256, (2, 3, 224, 224), dtype=torch.uint8), preprocess)
    with torch.no_grad():
        whole = backbone(images)[ornet.FIRST :]
        rest = ornet.rest()(whole[0])
    assert [some.shape[1] for some in rest] == channels[ornet.FIRST :]
    assert_close(rest, whole)


# Groups and photographs ---------------------------------------------------------------------------


def test_every_class_of_imagenet_has_one_group():
    found = Counter(group_of(label) for label in range(1000))
    assert {*found} == {*NAMES}
    ranges = [(first, last) for some in GROUPS.values() for first, last in some]
    assert sum(last - first + 1 for first, last in ranges) == 1000 - len(VEHICLES) - found[THINGS]
    assert (group_of(207), group_of(14), group_of(817)) == ("dogs", "birds", "vehicles")
    assert group_of(954) == "food and plants"
    assert (found["dogs"], found["vehicles"]) == (118, len(VEHICLES))
    for label in (-1, 1000):
        with pytest.raises(ValueError, match=f"label: expected a class of ImageNet.*got {label}"):
            group_of(label)


def test_groups_of_data_sets():
    assert parsed_groups(["a=birds", "b=other mammals"]) == {"a": "birds", "b": "other mammals"}
    for text in ("birds", "a=", "=birds", "a=bird"):
        with pytest.raises(ValueError, match="group: expected NAME=GROUP with GROUP one of fish"):
            parsed_groups([text])


@pytest.fixture
def photographs(tmp_path):
    """Two data sets: two dogs and a bird with ImageNet's labels, and three of one class."""
    labels, chance = {"own": [207, 151, 7], "other": [0, 0, 0]}, np.random.default_rng(0)
    for name, some in labels.items():
        folder, truths = tmp_path / name, []
        (folder / "images").mkdir(parents=True)
        for number, label in enumerate(some):
            pixels = chance.integers(256, size=(40, 60 + number, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"images/{number}.png")
            box = [[3 + number, 2, 30, 20]]
            truths.append(Photograph(f"{number}.png", label, (40, 60 + number), box))
        write_metadata(folder, truths)
    return open_data([f"wsolevaluation:{tmp_path}/own", f"wsolevaluation:{tmp_path}/other"])


GROUP = {"other": "other mammals"}


def test_training_images_are_new_crops_of_all_photographs(photographs):
    source = GroupedPhotographs(photographs, photographs, 30, GROUP)
    assert source.class_names == ["birds", "dogs", "other mammals"]
    train, again = source.split("train"), source.split("train")
    assert torch.equal(train.images, again.images)
    assert train.truth is None
    assert train.images.shape == (30, 3, SIDE, SIDE)
    assert train.labels.bincount().tolist() == [5, 10, 15]  # each photograph five times
    assert len({image.numpy().tobytes() for image in train.images[train.labels == 0]}) > 1
    other = GroupedPhotographs(photographs, photographs, 30, GROUP, seed=1)
    assert not torch.equal(other.split("train").images, train.images)
    with pytest.raises(ValueError, match="split: expected one with ground truth"):
        train.known()


def test_validation_and_test_are_whole_photographs(photographs):
    source = GroupedPhotographs(photographs, photographs[:1], 6, GROUP)
    validation, test = source.split("validation"), source.split("test")
    assert (len(validation.labels), len(test.labels)) == (6, 3)
    assert test.labels.tolist() == [1, 1, 0]
    assert test.known().sizes == [(40, 60), (40, 61), (40, 62)]
    assert test.known().masks is None
    assert test.known().boxes[1].tolist() == [[4, 2, 30, 20]]
    some = test.some([1])
    assert torch.equal(some.images[0], test.images[1])
    assert (len(some.labels), some.known().sizes) == (1, [(40, 61)])


def test_photographs_without_groups_are_refused(photographs):
    own, other = photographs
    with pytest.raises(ValueError, match="group: expected names of data sets, other, own, got x"):
        GroupedPhotographs([own], [other], 3, {"x": "birds"})
    with pytest.raises(ValueError, match="expected at least two groups to train on"):
        GroupedPhotographs([other], [other], 3, GROUP)
    with pytest.raises(ValueError, match="of the test only: vehicles"):
        GroupedPhotographs([own], [other], 3, {"other": "vehicles"})


# Measuring ----------------------------------------------------------------------------------------


def test_a_box_counts_for_top_1_only_where_the_class_is_correct():
    maps = torch.rand(6, 7, 7, generator=torch.Generator().manual_seed(0))
    boxes = [torch.tensor([[20.0, 30, 190, 200]])] * 6
    truth, correct = Truth(boxes, [(SIDE, SIDE)] * 6, None), torch.arange(6) % 3 > 0
    found = named(maps, truth, correct)
    alone = measure(maps[correct], truth.some(correct.nonzero()[:, 0].tolist()))
    assert_close(found.curve, alone.one_box.curve * 4 / 6)
    assert measure(maps, truth).pixels is None
    assert not named(maps, truth, torch.zeros(6, dtype=torch.bool)).curve.any()


def test_accuracies_are_read_at_the_thresholds_that_are_best_elsewhere():
    maps = torch.rand(4, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    boxes = [torch.tensor([[0.0, 0, 200, 200]])] * 4
    hits = count_box_hits(maps, boxes, thresholds=STEPS, ious=(0.3, 0.5))
    found = max_box_acc(hits, 4, STEPS)
    assert_close(at_thresholds_of(found, found), found.curve.amax(1))


# The record ---------------------------------------------------------------------------------------


def record_of(path, *, head=None, own=None, **origin):
    parts = ["cam", "spa"]
    return Record(path, head or {"command": "x"}, {**ORIGIN, **origin}, parts, own or {})


def test_a_part_goes_on_with_its_next_seed(tmp_path):
    path = tmp_path / "out/recipes.json"
    record = record_of(path)
    assert record.seeds_of("cam", 3) == 0
    record.add("spa", 0, [("SPA", {"PxAP": 0.5})], 2)
    record.add("cam", 0, [("CAM", {"PxAP": 0.1})], 1.2)
    record.add("cam", 1, [("CAM", {"PxAP": 0.2})], 3.1)
    again = record_of(path, date="2000-01-02")
    assert (again.seeds_of("cam", 3), again.seeds_of("cam", 1)) == (2, 1)
    again.add("cam", 2, [("CAM", {"PxAP": 0.3})], 1)
    found = json.loads(path.read_text())
    assert [*found["parts"]] == ["cam", "spa"]
    assert found["parts"]["cam"]["rows"] == {"CAM": [{"PxAP": n / 10} for n in (1, 2, 3)]}
    assert (found["parts"]["cam"]["seeds"], found["parts"]["cam"]["seconds"]) == (3, 5)
    again.add("cam", 0, [("CAM", {"PxAP": 0.9})], 1)  # anew
    assert again.parts["cam"]["rows"] == {"CAM": [{"PxAP": 0.9}]}


def test_seeds_of_another_commit_are_not_mixed(tmp_path):
    path = tmp_path / "recipes.json"
    record_of(path).add("cam", 0, [("CAM", {"PxAP": 0.1})], 1)
    other = record_of(path, commit="def")
    assert other.seeds_of("cam", 1) == 1  # all that was asked for
    assert other.seeds_of("cam", 2) == 0
    assert record_of(path, head={"command": "y"}).parts == {}


def test_an_option_of_one_part_drops_that_part_alone(tmp_path):
    path, row = tmp_path / "recipes.json", [("CAM", {"PxAP": 0.1})]
    for part in ("cam", "spa"):
        record_of(path, own={"spa": {"spa_train": 3}}).add(part, 0, row, 60)
    for own, seeds in ((3, 1), (4, 0)):
        other = record_of(path, own={"spa": {"spa_train": own}})
        assert (other.seeds_of("cam", 1), other.seeds_of("spa", 1)) == (1, seeds)
    found = json.loads(path.read_text())["parts"]
    assert [part.get("options") for part in found.values()] == [None, {"spa_train": 3}]


def test_every_option_belongs_to_all_parts_or_to_one():
    names = [name for sizes in (SIZES, *OWN_SIZES.values()) for name in sizes]
    assert len({*names}) == len(names)
    assert {*OWN_SIZES} <= {*PARTS}


# The table ----------------------------------------------------------------------------------------


def test_cells_have_the_standard_error_over_seeds():
    assert in_percent([0.5]) == "50.0"
    assert in_percent([0.1, 0.2, 0.3]) == "20.0 ± 5.8"  # 10 / sqrt(3)
    assert in_percent([0.01, 0.03], signed=True) == "+2.0 ± 1.0"


def test_gains_are_of_each_seed():
    cam = [{"MaxBoxAccV2": 0.5}, {"MaxBoxAccV2": 0.7}]
    spa = [{"MaxBoxAccV2": 0.6}, {"MaxBoxAccV2": 0.8}]
    text = part_table("spa", {"SPA": spa}, cam)
    assert "| 70.0 ± 10.0 |   +10.0 ± 0.0 |" in text
    assert "+20.0 " in part_table("spa", {"SPA": spa[1:]}, cam)
    assert "gain" not in part_table("spa", {"SPA": spa}, None)
    assert "gain" not in part_table("edges", {"SEM": [{"ODS": 0.1, "OIS": 0.2, "AP": 0.3}]}, cam)


def test_some_images_of_a_split():
    split = Split(torch.zeros(3, 3, 2, 2), torch.tensor([4, 5, 6]), None)
    assert split.some([2, 0]).labels.tolist() == [6, 4]
    assert split.some([2, 0]).truth is None
