"""benchmarks.quality: data sets, thresholds from other images, standard errors, costs."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from benchmarks.quality import bootstrap, counts, data_sets, network, results, rows, thresholds
from benchmarks.quality.chosen import at_chosen
from benchmarks.quality.counts import Counts, Facts, Tables
from benchmarks.quality.images import Sample
from benchmarks.quality.measure import SIDE, STEPS, measure
from benchmarks.quality.network import labels_of
from benchmarks.quality.report import render
from benchmarks.recipes.splits import Truth
from tests.support.miniature import write_cub, write_ilsvrc, write_metadata, write_wsolevaluation
from wsolrefine import Classifier, Preprocess
from wsolrefine.metrics import pixel_average_precision


def sample(boxes, size=(SIDE, SIDE), *, mask=None, label=0, group=""):
    image = Image.new("RGB", size[::-1], (9, 99, 200))
    return Sample(image, label, image, torch.tensor(boxes).float(), size, mask, group)


def random_counts(number, generator):
    """Counts of maps that are as random as their boxes."""
    maps = torch.rand(number, SIDE, SIDE, dtype=torch.float64, generator=generator)
    maps = torch.nn.functional.avg_pool2d(maps[:, None], 31, 1, 15)[:, 0]
    maps = (maps - maps.amin((1, 2), keepdim=True)) / (maps.amax() - maps.amin())
    masks = (torch.rand(number, 7, 7, generator=generator) > 0.6).repeat_interleave(32, 1)
    masks = masks.repeat_interleave(32, 2).to(torch.uint8)
    corners = torch.randint(0, 60, (number, 2), generator=generator)
    boxes = torch.cat([corners, 224 - corners.flip(1)], 1)[:, None].float()
    samples = [sample(box.tolist(), mask=mask) for box, mask in zip(boxes, masks, strict=True)]
    return maps, samples, counts.counts_of(maps.clamp(0, 1), samples)


# Data sets ----------------------------------------------------------------------------------------


@pytest.fixture
def lists(tmp_path):
    """Two data sets of two splits each, in folders a/one, a/two, b/one, b/two."""
    for seed, name in enumerate("ab"):
        written = write_wsolevaluation(tmp_path / "written" / name, seed=seed)
        for split, folder in (("val", "one"), ("test", "two")):
            here = tmp_path / name / folder
            write_metadata(here, written.splits[split])
            (here / "images").symlink_to(written.root)
    return tmp_path


def test_wildcards_stand_for_all_folders_that_fit(lists):
    found = data_sets.open_data([f"wsolevaluation:{lists}/?/two"])
    assert [images.name for images in found] == ["a", "b"]
    assert [len(images) for images in found] == [4, 4]
    several = data_sets.open_data(
        [f"wsolevaluation:{lists}/a/two", f"wsolevaluation:{lists}/a/one"]
    )
    assert [images.name for images in several] == ["two", "one"]
    all_of_them = data_sets.open_data([f"wsolevaluation:{lists}/[ab]/*"])
    assert [images.name for images in all_of_them] == ["a/one", "a/two", "b/one", "b/two"]
    (single,) = data_sets.open_data([f"wsolevaluation:{lists}/a/two"])
    assert single.name == "a/two"
    one = single[0]
    assert one.boxes.shape == (1, 4)
    assert one.size == one.image.size[::-1]
    assert one.mask is None


def test_splits_of_other_readers(tmp_path):
    write_cub(tmp_path / "birds", count=2)
    write_ilsvrc(tmp_path / "things", count=4)
    train, val = data_sets.open_data([f"cub:{tmp_path}/birds@train", f"ilsvrc:{tmp_path}/things"])
    assert [train.name, val.name] == ["train", "things"]
    assert len(train) == 4
    assert train[0].mask.shape == (SIDE, SIDE)
    assert len(val) == 4
    # The last training image has no box.
    (train,) = data_sets.open_data([f"ilsvrc:{tmp_path}/things@train"])
    assert len(train) == 3


def test_a_data_set_that_is_named_twice(lists):
    spec = f"wsolevaluation:{lists}/a/two"
    with pytest.raises(ValueError, match=r"data: expected each data set once, got .*/a/two twice"):
        data_sets.open_data([spec, spec])


@pytest.mark.parametrize("text", ["", "folder", "voc:folder", "cub:", "openimages:folder"])
def test_other_specs(text):
    with pytest.raises(ValueError, match=rf"data: expected READER:FOLDER .* got '{text}'"):
        data_sets.open_data([text])


def test_wildcards_that_nothing_fits(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data: expected folders that fit .*/\*/x, got no"):
        data_sets.open_data([f"wsolevaluation:{tmp_path}/*/x"])


def test_a_data_set_without_boxes(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "image_ids.txt").write_text("a.jpg\n")
    (tmp_path / "class_labels.txt").write_text("a.jpg,0\n")
    with pytest.raises(ValueError, match="data: expected images with boxes, got none in"):
        data_sets.open_data([f"wsolevaluation:{tmp_path}"])


def test_no_image_is_measured_with_its_own_threshold(lists):
    one, two = (
        data_sets.open_data([f"wsolevaluation:{lists}/a/{name}"]) for name in ("one", "two")
    )
    data_sets.check_disjoint(one, two)
    # The same photograph under another name is found too.
    first, copied = two[0].files()[0], one[0].files()[0]
    copied.write_bytes(first.read_bytes())
    with pytest.raises(ValueError, match=f"choose: expected other images .*, got {copied.name} of"):
        data_sets.check_disjoint(one, two)


def test_a_record_has_no_absolute_paths():
    shown = data_sets.shown(["wsolevaluation:/srv/me/data/cub/test", "cub:../data@train"])
    assert shown == "wsolevaluation:.../data/cub/test cub:../data@train"


# Classes ------------------------------------------------------------------------------------------


class Bright(torch.nn.Module):
    """Names the brightest of three colors."""

    def forward(self, images):
        return images.mean((2, 3))


class Colors:
    name = "colors"

    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        colors = [(0, 0, 0), (0, 0, 0)]
        colors[0] = tuple(255 * (index % 3 == channel) for channel in range(3))
        image = Image.new("RGB", (8, 8), colors[0])
        return sample([[0, 0, 4, 4]], label=self.labels[index])._replace(image=image, alone=image)


class Tiny:
    classifier = Classifier(Bright(), Preprocess((8, 8)), None, "bright")
    model = classifier.model


def test_labels_are_given_if_the_network_has_the_same_classes():
    labels = labels_of(Tiny, Colors([0, 1, 2, 0, 0, 0]))
    assert labels.given
    assert labels.labels.tolist() == [0, 1, 2, 0, 0, 0]
    assert str(labels) == "given (the labels are those predicted in 67 %)"


def test_else_they_are_what_it_predicts():
    labels = labels_of(Tiny, Colors([7, 7, 7, 7]))
    assert labels.labels.tolist() == [0, 1, 2, 0]
    assert str(labels) == "predicted (the labels are those predicted in 0 %)"
    without = labels_of(Tiny, Colors([None, None]))
    assert without.labels.tolist() == [0, 1]
    assert str(without) == "predicted for the object on gray"


def test_a_network_without_three_stages(monkeypatch):
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 4, 1), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3, 2, 1),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 10),
    )  # fmt: skip
    classifier = Classifier(model, Preprocess((64, 64)), None, "small")
    monkeypatch.setattr(network, "load_classifier", lambda spec: classifier)
    with pytest.raises(ValueError, match="model: expected stages on 3 grids, got 2 of small"):
        network.Network("small")


# Baselines ----------------------------------------------------------------------------------------


def test_the_whole_image_hits_what_covers_enough_of_it():
    whole = rows.baselines()["whole image"]
    found = counts.counts_of(whole[None], [sample([[0, 0, SIDE, SIDE * 0.6]])])
    assert found.every[0].any(1).tolist() == [True, True, False]
    assert found.one.all()


@pytest.mark.parametrize("side", [40, 100, 200])
def test_the_threshold_of_the_center_box_is_its_size(side):
    box = [(SIDE - side) / 2, (SIDE - side) / 2, (SIDE + side) / 2, (SIDE + side) / 2]
    found = counts.counts_of(rows.baselines()["center box"][None], [sample([box])])
    hit = found.one[0, 0].nonzero()[:, 0]
    # IoU 0.5 from sqrt(1/2) of the side to sqrt(2) of it, which is the share at 1 - threshold.
    low, high = 1 - STEPS[hit[-1]], 1 - STEPS[hit[0]]
    assert low == pytest.approx(side / SIDE * 0.5**0.5, abs=0.02)
    assert high == pytest.approx(min(side / SIDE * 2**0.5, 1), abs=0.02)


# Counts -------------------------------------------------------------------------------------------


def test_counts_of_images_add_up_to_those_of_the_data_set():
    maps, samples, found = random_counts(5, torch.Generator().manual_seed(0))
    masks = torch.stack([one.mask for one in samples])
    truth = Truth([one.boxes for one in samples], [one.size for one in samples], masks)
    whole = measure(maps.clamp(0, 1), truth)  # min-maxes the maps again
    again = counts.counts_of(counts.prepared(maps.clamp(0, 1)), samples)
    assert_close(again.every.double().mean(0), whole.all_boxes.curve)
    assert_close(again.one.double().mean(0), whole.one_box.curve)
    pooled = pixel_average_precision(again.scores.sum(0)).average_precision.item()
    assert pooled == pytest.approx(whole.pixels)
    assert found.gray.sum() == masks.numel()


def test_without_all_masks_there_is_no_count_of_pixels():
    mask = torch.ones(SIDE, SIDE, dtype=torch.uint8)
    some = [sample([[0, 0, 9, 9]], mask=mask), sample([[0, 0, 9, 9]])]
    found = counts.counts_of(torch.rand(2, SIDE, SIDE).double(), some)
    assert found.scores is None
    assert found.gray is None


def test_the_share_of_the_largest_box():
    boxes = [[0, 0, 10, 10], [50, 0, 101, 50]]  # the second ends a pixel outside
    assert counts.share(sample(boxes, (100, 100))) == pytest.approx(0.25)


# Thresholds ---------------------------------------------------------------------------------------


def hits_at(*steps):
    """Images that are hit at one threshold alone."""
    every = torch.zeros(len(steps), 3, len(STEPS), dtype=torch.bool)
    for image, step in enumerate(steps):
        every[image, :, step] = True
    return Counts(every, every[:, 1:2], None, None)


def facts_of(*groups, sources=None):
    number = len(groups)
    return Facts(torch.full((number,), 0.5), [*groups], torch.tensor(sources or [0] * number))


def test_thresholds_from_other_images():
    found = at_chosen(hits_at(3, 5, 5), facts_of("a", "b", "c"), hits_at(3, 3, 5))
    assert found.every.tolist() == [[1, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert found.one.tolist() == [1, 0, 0]
    assert found.thresholds == [[0.003] * 4]


def test_thresholds_from_the_other_half():
    # The first, third and fifth image make a half: theirs is 5, that of the others 3.
    found = at_chosen(hits_at(5, 3, 5, 5, 3, 3), facts_of(*"abcdef"), None)
    assert found.one.tolist() == [0, 0, 0, 1, 1, 0]
    assert found.thresholds == [[0.005] * 4, [0.003] * 4]


def test_each_set_is_in_both_halves():
    facts = facts_of(*"abcd", sources=[0, 1, 0, 1])
    found = at_chosen(hits_at(5, 5, 5, 5), facts, None)
    assert found.one.tolist() == [1, 1, 1, 1]
    # In each half, 3 and 5 tie. If every second image of all made a half, no image would be hit.
    assert at_chosen(hits_at(5, 3, 5, 3), facts, None).one.tolist() == [0, 1, 0, 1]


def test_a_single_image_has_no_other_half():
    with pytest.raises(ValueError, match="data: expected several images in a set, or others of"):
        at_chosen(hits_at(5), facts_of("a"), None)
    assert at_chosen(hits_at(5), facts_of("a"), hits_at(5)).one.tolist() == [1]


def test_the_gray_level_comes_from_other_images_too():
    generator = torch.Generator().manual_seed(1)
    (_, _, here), (_, _, elsewhere) = (random_counts(3, generator) for _ in range(2))
    facts = facts_of(*"abc")
    found = at_chosen(here, facts, elsewhere)
    true, false = here.gray.sum(0)
    (level,) = found.levels
    inside, outside = true[level:].sum(), false[level:].sum()
    assert found.overlap == pytest.approx((inside / (true.sum() + outside)).item())
    assert at_chosen(here, facts, here).overlap >= found.overlap


@pytest.mark.parametrize(
    ("curve", "best", "low", "high"),
    [
        ([0.1, 0.5, 0.9, 0.5], 2, 2, 2),
        ([0.895, 0.9, 0.9, 0.9], 2, 0, 3),  # the middle of equal ones
        ([0.7, 0.0, 0.7, 0.0], 2, 0, 2),
    ],
)
def test_the_best_single_threshold(curve, best, low, high):
    curves = torch.zeros(2, len(thresholds.STEPS), dtype=torch.float64)
    curves[0, : len(curve)] = torch.tensor(curve)
    curves[1, : len(curve)] = torch.tensor(curve) + 0.1
    found = thresholds.best(curves, thresholds.STEPS[1])
    assert found[:3] == tuple(thresholds.STEPS[at] for at in (best, low, high))
    assert found.default == pytest.approx([curve[1], curve[1] + 0.1])


def test_kinds_of_images_have_the_same_weight():
    curves = torch.zeros(2, len(thresholds.STEPS), dtype=torch.float64)
    curves[0, 20], curves[1, 30] = 0.8, 0.9
    assert thresholds.best(curves, 0.5).threshold == thresholds.STEPS[30]


# Standard errors ----------------------------------------------------------------------------------


def test_the_standard_error_of_a_mean():
    values = torch.from_numpy(np.random.default_rng(0).random(400))
    weights = bootstrap.draw([*map(str, range(400))], torch.zeros(400))
    found = bootstrap.error(bootstrap.means(values, weights))
    assert found == pytest.approx(values.std().item() / 400**0.5, rel=0.1)


def test_groups_are_drawn_as_a_whole():
    values = torch.from_numpy(np.random.default_rng(0).random(50)).repeat_interleave(8)
    weights = bootstrap.draw([str(i // 8) for i in range(400)], torch.zeros(400))
    found = bootstrap.error(bootstrap.means(values, weights))
    # Eight copies say no more than one.
    assert found == pytest.approx(values[::8].std().item() / 50**0.5, rel=0.1)


def test_each_set_keeps_its_size():
    sources = torch.tensor([0, 0, 0, 0, 2, 2])
    weights = bootstrap.draw("abcdef", sources, draws=50)
    assert (weights[:, :4].sum(1) == 4).all()
    assert (weights[:, 4:].sum(1) == 2).all()
    assert weights.unique().tolist()[:3] == [0, 1, 2]
    assert torch.equal(weights, bootstrap.draw("abcdef", sources, draws=50))


def test_pxap_of_draws_is_that_of_the_library():
    _, _, found = random_counts(3, torch.Generator().manual_seed(2))
    weights = torch.tensor([[1.0, 1, 1], [0, 2, 1]], dtype=torch.float64)
    expected = [
        pixel_average_precision((found.scores * w[:, None, None].int()).sum(0)).average_precision
        for w in weights.long()
    ]
    assert_close(bootstrap.average_precisions(found.scores, weights), torch.stack(expected))


# Results ------------------------------------------------------------------------------------------


def test_gains_are_paired():
    facts = facts_of(*map(str, range(40)))._replace(shares=torch.linspace(0, 1, 40))
    better = hits_at(*[0] * 30, *[1] * 10)
    tables = Tables(facts, {"ours": hits_at(*[0] * 30, *[1] * 10), "scg": better})
    ours, scg = results.results_of(tables, Tables(facts, dict(tables.rows)), ["all"], "scg")
    assert ours["method"] == "ours"
    assert ours["MaxBoxAccV2"] == scg["MaxBoxAccV2"] == pytest.approx(0.75)
    assert ours["MaxBoxAccV2 error"] > 0.05
    assert ours["gain in MaxBoxAccV2"] == ours["gain in MaxBoxAccV2 error"] == 0
    assert "gain in MaxBoxAccV2" not in scg
    assert ours["sizes"]["under 0.1"] == 1
    assert ours["sizes"]["over 0.7"] == pytest.approx(2 / 12, abs=0.02)
    assert "PxAP" not in ours
    assert sum(results.size_counts(facts).values()) == 40


def test_a_table_has_gains_sizes_and_a_column_for_each_set():
    row = {"MaxBoxAccV2": 0.5, "MaxBoxAccV2 error": 0.01, "IoU 0.5": 0.6, "forwards": 1.25}
    row |= {"IoU 0.3": 0.7, "IoU 0.7": 0.2, "sizes": {"under 0.1": None}}
    row |= {"sources": {"cub": 0.4, "cow": -1e-9}, "sources error": {"cub": 0.02, "cow": 0.03}}
    record = {
        "command": "python -m benchmarks.quality",
        "seed": 0,
        "splits": {"results": {"images of cub": 3}},
        "rows": [
            {"method": "cam", **row, "gain in MaxBoxAccV2": 0.1},
            {"method": "scg", **row},
        ],
        "main": ["scg"],
        "sizes": {"under 0.1": 0},
    }
    text = render(record)
    head, _, *lines = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[:4]
    ]
    assert head == ["method", "MaxBoxAccV2", "gain in MaxBoxAccV2", "forwards", "cub", "cow"]
    assert lines == [
        ["cam", "50.0 ± 1.0", "+10.0", "1.2", "40.0 ± 2.0", "0.0 ± 3.0"],
        ["scg", "50.0 ± 1.0", "", "1.2", "40.0 ± 2.0", "0.0 ± 3.0"],
    ]
    details = next(line for line in text.splitlines() if line.startswith("| MaxBoxAccV2 by size"))
    assert re.split(r" *\| *", details)[2:-1] == ["under 0.1 (0)", "IoU 0.3", "IoU 0.5", "IoU 0.7"]
    assert re.search(r"^\| scg +\| +\| +70.0 \| +60.0 \| +20.0 \|$", text, re.M)
    assert len(re.findall(r"^\| cam ", text, re.M)) == 1
    assert "results: 3 images of cub." in text
