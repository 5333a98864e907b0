"""``wsolrefine evaluate``: score maps of files and of models, thresholds, files, and its refusals."""

import json
import re
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support import miniature, photographs, plots
from tests.support.command import run_command
from wsolrefine import class_activation, scg, sem
from wsolrefine.cli.evaluate import loop
from wsolrefine.metrics import (
    _contours,
    count_box_hits,
    count_scores,
    max_box_acc,
    pixel_average_precision,
    score_map_boxes,
    thresholds_of,
)
from wsolrefine.metrics.box_hits import largest_boxes_at
from wsolrefine.metrics.error_types import LocalizationError, localization_errors
from wsolrefine.metrics.localization_accuracy import localization_hits
from wsolrefine.models import load_classifier

ROOT = Path(__file__).parents[2]
STEP = ("--step", "0.1")


@pytest.fixture(autouse=True)
def one_classifier(monkeypatch):
    plots.left_out(monkeypatch)
    with photographs.shared(monkeypatch):
        yield


@pytest.fixture
def evaluate(tmp_path, monkeypatch):
    """Run ``wsolrefine evaluate``; return what it printed and the content of evaluation.json."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments, code=0, out=tmp_path / "out"):
        printed = run_command("evaluate", *arguments, "--out", out, code=code)
        if code:
            return printed
        return printed, json.loads((out / "evaluation.json").read_text())

    return call


def write_lists(folder, truth):
    """Write wsolevaluation's lists; truth: id to label, (width, height), inclusive boxes."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = {"image_ids": [], "class_labels": [], "image_sizes": [], "localization": []}
    for name, (label, size, boxes) in truth.items():
        lines["image_ids"].append(name)
        lines["class_labels"].append(f"{name},{label}")
        lines["image_sizes"].append(",".join(map(str, (name, *size))))
        lines["localization"] += [",".join(map(str, (name, *box))) for box in boxes]
    for name, rows in lines.items():
        (folder / f"{name}.txt").write_text("".join(f"{row}\n" for row in rows))
    return folder


def save_map(folder, name, map):
    path = folder / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, map)


LARGE, SMALL = (1, 1, 18, 18), (6, 6, 11, 11)


@pytest.fixture
def squares(tmp_path):
    """Two splits of maps with a bright square in a gray one.

    The true box is the gray square in 3 of 4 test images and in 1 of 4 of the other split, else the
    bright one. Below the gray level (0.4) the large square is the box, from there on the small one.
    """
    map = np.zeros((20, 20))
    map[1:19, 1:19] = 0.4
    map[6:12, 6:12] = 1
    for split, large in (("test", 3), ("val", 1)):
        names = [f"{split}/{number}.jpg" for number in range(4)]
        truth = {n: (0, (20, 20), [LARGE if i < large else SMALL]) for i, n in enumerate(names)}
        write_lists(tmp_path / "lists" / split, truth)
        for name in names:
            save_map(tmp_path / "maps", name, map)
    return [
        *("--dataset", "wsolevaluation", "--metadata", tmp_path / "lists/test"),
        *("--maps", tmp_path / "maps"),
    ]


def printed(output):
    """Read the table of results: name to the other cells of the row."""
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in output.splitlines()
        if line.startswith("│")
    ]
    return {cells[0]: cells[1:] for cells in rows}


# Thresholds ---------------------------------------------------------------------------------------


def test_threshold_of_the_split_itself(evaluate, squares):
    said, found = evaluate(*squares, *STEP)
    assert found["results"]["box_acc"] == {
        "iou": 0.5, "accuracy": 0.75, "threshold": 0.0, "max_accuracy": 0.75, "max_threshold": 0.0
    }  # fmt: skip
    assert found["curves"]["box_acc"] == [0.75] * 4 + [0.25] * 6
    assert found["protocol"]["threshold"].endswith("(as published; optimistic)")
    assert "as published; optimistic" in said
    rows = printed(said)
    assert rows["MaxBoxAcc (IoU 0.5)"] == ["75.00", "0"]
    assert rows["MaxBoxAccV2"] == ["75.00", ""]


def test_threshold_of_another_split(evaluate, squares, tmp_path):
    other = "--threshold-from", tmp_path / "lists/val"
    said, found = evaluate(*squares, *STEP, *other)
    expected = {"accuracy": 0.25, "threshold": 0.4, "max_accuracy": 0.75, "max_threshold": 0.0}
    assert found["results"]["box_acc"] == {"iou": 0.5, **expected}
    assert found["results"]["box_acc_v2"] == {
        "accuracy": 0.25,
        "max_accuracy": 0.75,
        "by_iou": [{"iou": iou, **expected} for iou in (0.3, 0.5, 0.7)],
    }
    assert found["protocol"]["threshold"] == f"chosen on {tmp_path / 'lists/val'} (4 images)"
    rows = printed(said)
    assert rows["BoxAcc (IoU 0.5)"] == ["25.00", "0.4", "75.00"]
    assert rows["BoxAccV2"] == ["25.00", "", "75.00"]
    assert rows["IoU 0.7"] == ["25.00", "0.4", "75.00"]
    assert not any(name.startswith("Max") for name in rows)


def test_maps_of_the_other_split_in_a_folder_of_their_own(evaluate, squares, tmp_path):
    other = ["--threshold-from", tmp_path / "lists/val"]
    with_one_folder = evaluate(*squares, *other)[1]["results"]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "maps/val").rename(tmp_path / "elsewhere/val")
    assert "no results" in evaluate(*squares, *other, code=1)
    other += ["--threshold-maps", tmp_path / "elsewhere"]
    assert evaluate(*squares, *other)[1]["results"] == with_one_folder


@pytest.mark.parametrize("limit", [(), ("--limit", 2)])
def test_thresholds_are_not_chosen_on_evaluated_images(evaluate, squares, tmp_path, limit):
    test, val = tmp_path / "lists/test", tmp_path / "lists/val"
    shutil.copytree(test, tmp_path / "copy")
    said = evaluate(*squares, "--threshold-from", tmp_path / "copy", *limit, code=2)
    assert said == (
        f"Error: --threshold-from: expected other images than those of {test}, got "
        f"{tmp_path / 'copy'} with 4 of its 4 images: test/0.jpg, ...\n"
    )
    for file in val.iterdir():  # a single image of the evaluated split is too much
        with (test / file.name).open() as lines, file.open("a") as more:
            more.write(lines.readlines()[-1])
    said = evaluate(*squares, "--threshold-from", val, *limit, code=2)
    assert "with 1 of its 4 images: test/3.jpg\n" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("split", "other"), [("test", "all"), ("all", "test"), ("all", "train")])
def test_thresholds_are_not_chosen_on_a_superset_or_subset(evaluate, tmp_path, split, other):
    root = miniature.write_cub(tmp_path / "cub").root
    arguments = "-d", "cub", "--root", root, "--maps", tmp_path, "--split", split
    said = evaluate(*arguments, "--threshold-from", other, code=2)
    assert f"expected other images than those of {split}, got {other} with 6 of its" in said


# Refusals -----------------------------------------------------------------------------------------


def test_a_missing_map_leaves_no_results(evaluate, squares, tmp_path):
    for number in (1, 3):
        (tmp_path / f"maps/test/{number}.jpg.npy").unlink()
    said = evaluate(*squares, code=1)
    assert "2 could not be used" in said
    assert "test/1.jpg: " in said
    assert "test/3.jpg: " in said
    assert "no results" in said
    assert "MaxBoxAcc" not in said
    assert list((tmp_path / "out").iterdir()) == []


def test_the_search_for_missing_maps_ends(evaluate, tmp_path):
    names = {f"{number}.jpg": (0, (9, 9), [(1, 1, 5, 5)]) for number in range(60)}
    (tmp_path / "maps").mkdir()
    arguments = "--metadata", write_lists(tmp_path / "lists", names), "--maps", tmp_path / "maps"
    said = evaluate("-d", "wsolevaluation", *arguments, code=1)
    assert "20 could not be used" in said
    assert "there may be more" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda map: map * 255, r"test/2.jpg: map: expected values in [0, 1], got 0 to 255"),
        (lambda map: map - 0.1, r"expected values in [0, 1], got -0.1 to 0.9"),
        (lambda map: np.where(map == 1, np.nan, map), "expected finite numbers, got NaN"),
        (lambda map: map[None], "test/2.jpg: "),
        (lambda map: map.astype(str), "test/2.jpg: "),
    ],
)
def test_a_map_that_is_none(evaluate, squares, tmp_path, change, message):
    path = tmp_path / "maps/test/2.jpg.npy"
    np.save(path, change(np.load(path)))
    said = evaluate(*squares, code=1)
    assert message in said
    assert "1 could not be used" in said


def test_normalize_takes_any_scale(evaluate, squares, tmp_path):
    expected = evaluate(*squares)[1]["curves"]
    for number in range(4):
        path = tmp_path / f"maps/test/{number}.jpg.npy"
        np.save(path, (1000 * np.load(path) - 300).astype(np.float32))
    said, found = evaluate(*squares, "--normalize")
    assert found["curves"] == expected
    assert "min-max for each map" in said


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_maps_may_leave_the_interval_by_the_rounding_of_their_file(
    evaluate, squares, tmp_path, dtype
):
    path = tmp_path / "maps/test/2.jpg.npy"
    map = np.load(path).astype(dtype)
    np.save(path, map)
    expected = evaluate(*squares)[1]
    map[map == 1] = np.nextafter(dtype(1), dtype(2))
    map[0, 0] = -np.finfo(dtype).eps
    np.save(path, map)
    found = evaluate(*squares)[1]
    assert found["results"] == expected["results"]
    assert found["curves"] == expected["curves"]
    map[0, 0] = 1.5
    np.save(path, map)
    said = evaluate(*squares, code=1)
    assert "expected values in [0, 1], got" in said
    assert "to 1.5" in said
    assert "--normalize" in said


def test_masks_without_an_object_are_no_result(evaluate, tmp_path):
    written = miniature.write_openimages(tmp_path / "data")
    for truth in written.splits["test"]:
        save_map(tmp_path / "scores", truth.image_id, np.eye(9))
    masks = [path for path in (written.root / "test").rglob("*.png") if "ignore" not in path.name]
    assert masks
    for path in masks:
        with Image.open(path) as mask:
            Image.new("L", mask.size, 0).save(path)
    arguments = "-d", "openimages", "--root", written.root, "--metadata", written.metadata
    said = evaluate(*arguments, "--maps", tmp_path / "scores", code=1)
    assert "masks: expected at least one object pixel, got none" in said


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("image_ids", "../secret.jpg", "image_ids.txt:5"),
        ("image_ids", "/secret.jpg", "image_ids.txt:5"),
        ("class_labels", "test/0.jpg;1", "class_labels.txt:5"),
        ("localization", "test/0.jpg,1,2,3", "localization.txt:5"),
    ],
)
def test_a_broken_line_is_named(evaluate, squares, tmp_path, file, line, message):
    with (tmp_path / f"lists/test/{file}.txt").open("a") as lines:
        lines.write(f"{line}\n")
    assert message in evaluate(*squares, code=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-d", "cub"], "--root: expected a folder for --dataset cub, got none"),
        (["-d", "openimages", "--root", "."], "--metadata: expected a folder for"),
        (["-d", "cub", "--root", ".", "--masks", "."], "--masks: --dataset cub does not use it"),
        (["-d", "cub", "--root", "."], "expected one of --maps"),
        (["-d", "cub", "--root", ".", "--maps", ".", "--model", "x"], "expected one of --maps"),
        (["-d", "cub", "--root", "missing", "--maps", "."], "--root: expected a folder, got miss"),
        (["-d", "cub", "--root", ".", "--maps", "missing"], "--maps: expected a folder, got miss"),
        (
            ["-d", "wsolevaluation", "--metadata", ".", "--model", "x"],
            "--root: expected the folder",
        ),
        (["-d", "wsolevaluation", "--metadata", ".", "--split", "val"], "--split: --dataset wsol"),
        (["-d", "coco"], "coco"),
        (["--maps", "."], "--dataset"),
    ],
)
def test_wrong_options_touch_nothing(evaluate, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    assert message in evaluate(*options, code=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "scg"], "--method: --maps does not use it"),
        (["--layer", "a"], "--layer: --maps does not use it"),
        (["--labels", "true"], "--labels: --maps does not use it"),
        (["--size", "224"], "--size: --maps does not use it"),
        (["--hit", "above"], "--hit: --maps does not use it"),
        (["--threshold-maps", "."], "--threshold-maps: expected --threshold-from too, got none"),
        (["--threshold-from", "nowhere"], "--threshold-from: expected a folder of lists"),
        (
            ["--threshold-from", "lists/../lists/test"],
            "expected another split, got the evaluated split itself",
        ),
        (["--step", "0"], "--step: expected a number from 1e-05 to below 1, got 0"),
        (["--step", "nan"], "--step: expected a number from 1e-05 to below 1, got nan"),
        (["--step", "1"], "--step: expected"),
        (["--limit", "0"], "limit"),
        (["--batch-size", "0"], "batch-size"),
    ],
)
def test_options_that_do_not_go_together(
    evaluate, squares, tmp_path, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    assert message in evaluate(*squares, *options, code=2)
    assert not (tmp_path / "out").exists()


def test_out_is_no_folder(evaluate, squares, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "expected a folder, got the file" in evaluate(*squares, out=tmp_path / "file", code=2)
    assert "cannot create the folder" in evaluate(*squares, out=tmp_path / "file" / "out", code=1)
    assert (tmp_path / "file").read_text() == "mine"


def test_an_empty_split(evaluate, tmp_path):
    arguments = "--metadata", write_lists(tmp_path / "lists", {}), "--maps", tmp_path
    assert "has no image" in evaluate("-d", "wsolevaluation", *arguments, code=1)
    write_lists(tmp_path / "lists", {"a.jpg": (0, (9, 9), [])})
    (tmp_path / "lists/localization.txt").unlink()
    assert "neither boxes nor masks" in evaluate("-d", "wsolevaluation", *arguments, code=1)


# Counts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [True, False])
@given(data=st.data(), side=st.integers(1, 9), levels=st.sampled_from([2, 4, 256]))
def test_boxes_of_all_cuts_are_those_of_each(data, side, levels, compiled):
    seed, width = data.draw(st.integers(0, 2**31)), data.draw(st.integers(1, 9))
    map = np.random.default_rng(seed).integers(0, levels, (side, width)) / levels
    thresholds = data.draw(st.sampled_from([[0.0], [0.3, 0.5], thresholds_of(0.01)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_contours, "COMPILED", compiled)
        boxes = largest_boxes_at(torch.from_numpy(map), thresholds)
    expected = [score_map_boxes(torch.from_numpy(map), t) for t in thresholds]
    assert boxes.tolist() == torch.cat(expected).tolist()


# Files --------------------------------------------------------------------------------------------


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_interruption_leaves_what_was_there(evaluate, squares, tmp_path, monkeypatch):
    evaluate(*squares)
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    real, calls = loop.count_image, []

    def stopping(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(loop, "count_image", stopping)
    assert "nothing was written" in evaluate(*squares, *STEP, code=130)
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_an_interruption_while_writing_leaves_no_half_file(
    evaluate, squares, tmp_path, monkeypatch
):
    def stopping(series, path, **options):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("wsolrefine.cli.evaluate.output.plot_curves", stopping)
    evaluate(*squares, code=130)
    assert files_in(tmp_path / "out") == []


def test_a_full_disk(evaluate, squares, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wsolrefine.cli.evaluate.output.plot_curves", full)
    assert "No space left on device" in evaluate(*squares, code=1)
    assert files_in(tmp_path / "out") == []


def test_plots_without_results_are_deleted(evaluate, squares, tmp_path):
    evaluate(*squares)
    index = tmp_path / "out/evaluation.json"
    content = json.loads(index.read_text())
    for name in ("errors.png", "iou_threshold.png", "mine.png"):
        (tmp_path / "out" / name).write_text("of an earlier run")
    index.write_text(
        json.dumps({**content, "files": [*content["files"], "errors.png", "iou_threshold.png"]})
    )
    evaluate(*squares)
    assert files_in(tmp_path / "out") == ["box_accuracy.png", "evaluation.json", "mine.png"]


@pytest.mark.parametrize("name", ["errors.png", "box_accuracy.png", "evaluation.json"])
def test_a_file_of_the_user_is_neither_replaced_nor_deleted(evaluate, squares, tmp_path, name):
    (tmp_path / "out").mkdir()
    for mine in ("mine", "{}", "[]", '{"files": 5}', '{"files": [[1]]}', "[" * 10**5):
        (tmp_path / "out" / name).write_text(mine)
        said = evaluate(*squares, code=2)
        assert f"got {name} in {tmp_path / 'out'}, which this command has not written" in said
        assert (tmp_path / "out" / name).read_text() == mine
    assert files_in(tmp_path / "out") == [name]


def test_the_settings_are_in_the_file(evaluate, squares, tmp_path):
    found = evaluate(*squares, "--limit", "3", "--batch-size", "2")[1]
    assert found["protocol"]["images"] == "the first 3 of 4 images (--limit)"
    assert found["options"]["maps"] == str(tmp_path / "maps")
    assert found["options"]["step"] == 0.001
    assert len(found["curves"]["thresholds"]) == 1000
    assert found["results"]["box_acc"]["accuracy"] == 1  # the fourth is the other kind
    assert {"wsolrefine", "torch", "numpy", "opencv", "python"} == set(found["versions"])


# Score maps of every form -------------------------------------------------------------------------


def test_png_and_npy_are_the_same(evaluate, squares, tmp_path):
    expected = evaluate(*squares)[1]["curves"]
    for number in range(4):
        path = tmp_path / f"maps/test/{number}.jpg.npy"
        gray = np.round(np.load(path) * 255).astype(np.uint8)
        path.unlink()
        Image.fromarray(gray).save(path.parent / f"{number}.png")
    assert evaluate(*squares)[1]["curves"] == expected


def test_maps_of_several_sizes_and_without_contrast(evaluate, squares, tmp_path):
    np.save(tmp_path / "maps/test/1.jpg.npy", np.zeros((20, 20)))
    np.save(
        tmp_path / "maps/test/2.jpg.npy",
        np.kron(np.load(tmp_path / "maps/test/2.jpg.npy"), np.ones((2, 3))),
    )
    found = evaluate(*squares)[1]
    assert found["protocol"]["resize"] == "none, maps used unchanged (20 x 20 and 40 x 60)"
    assert found["protocol"]["constant maps"].startswith("1 ")
    assert found["results"]["box_acc"]["accuracy"] == 0.5


def test_the_snippet_of_the_page(evaluate, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/evaluate.md").read_text("utf-8")
    lists, reading = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    exec(lists, {})
    arguments = "-d", "wsolevaluation", "--metadata", "lists", "--maps", "scoremaps"
    evaluate(*arguments, out=Path("wsolrefine-evaluation"))
    exec(reading, names := {})
    assert names["found"]["protocol"]["images"] == "2 images"


# Every data set ------------------------------------------------------------------------------------

DATASETS = {
    "cub": (miniature.write_cub, "test"),
    "ilsvrc": (miniature.write_ilsvrc, "val"),
    "openimages": (miniature.write_openimages, "test"),
    "wsolevaluation": (miniature.write_wsolevaluation, "test"),
}


@pytest.fixture(params=DATASETS)
def real_layout(request, tmp_path):
    """Arguments for a miniature data set, and what it holds."""
    write, split = DATASETS[request.param]
    written = write(tmp_path / "data")
    arguments = ["--dataset", request.param]
    if request.param == "wsolevaluation":
        arguments += ["--metadata", written.metadata / split]
    else:
        arguments += ["--root", written.root]
        arguments += ["--metadata", written.metadata] if request.param == "openimages" else []
        arguments += ["--masks", written.masks] if request.param == "ilsvrc" else []
    return [*arguments, "--maps", tmp_path / "scores"], written.splits[split]


def resized(map, width, height, interpolation):
    return cv2.resize(np.asarray(map), (width, height), interpolation=interpolation)


def brute_peak(maps, masks):
    """Return Peak-IoU and Peak-T from all pixels at all gray levels, one by one."""
    levels, truth = [], []
    for map, mask in zip(maps, masks, strict=True):
        gray = (255 * ((map - map.min()) / (np.ptp(map) + 1e-10))).astype(np.uint8)
        if gray.shape != mask.shape:
            gray = resized(gray, *mask.shape[::-1], cv2.INTER_LINEAR)
        levels.append(gray[mask != 255])
        truth.append(mask[mask != 255] > 0)
    levels, truth = np.concatenate(levels), np.concatenate(truth)
    ious = [(truth & (levels >= t)).sum() / (truth | (levels >= t)).sum() for t in range(256)]
    return max(ious), int(np.argmax(ious))


def test_counts_are_those_of_the_functions(evaluate, real_layout, tmp_path, monkeypatch):
    arguments, truths = real_layout
    plots.drawn(monkeypatch)
    rng = np.random.default_rng(1)
    single, all, scores, maps, masks = 0, 0, 0, [], []
    for number, truth in enumerate(truths):
        map = resized(rng.random((5, 5)), 40 + 7 * (number % 2), 33, cv2.INTER_LINEAR)
        save_map(tmp_path / "scores", truth.image_id, map)
        tensor = torch.from_numpy(map)[None]
        if truth.boxes:
            boxes = [torch.tensor(truth.boxes, dtype=torch.float32)]
            single = single + count_box_hits(tensor, boxes, image_sizes=[truth.size])
            all = all + count_box_hits(
                tensor, boxes, image_sizes=[truth.size], ious=(0.3, 0.5, 0.7), all_contours=True
            )
        if truth.mask is not None:
            maps.append(map)
            masks.append(truth.mask)
            mask = resized(truth.mask, *map.shape[::-1], cv2.INTER_NEAREST)
            scores = scores + count_scores(tensor, torch.from_numpy(mask)[None])
    found = evaluate(*arguments)[1]
    if truths[0].boxes:
        assert found["curves"]["box_acc"] == (single[0].double() / len(truths)).tolist()
        curves = found["curves"]["box_acc_v2"]
        assert list(curves.values()) == (all.double() / len(truths)).tolist()
        results = found["results"]["box_acc_v2"]
        expected = max_box_acc(all, len(truths), thresholds_of(0.001))
        assert results["accuracy"] == results["max_accuracy"] == expected.accuracy.item()
    assert ("box_acc" in found["results"]) == bool(truths[0].boxes)
    if masks:
        expected = pixel_average_precision(scores).average_precision.item()
        assert found["results"]["px_ap"] == expected
        iou, level = brute_peak(maps, masks)
        assert found["results"]["peak_iou"]["threshold"] == level
        assert found["results"]["peak_iou"]["iou"] == pytest.approx(iou, abs=1e-12)
        assert found["protocol"]["masks"].startswith(f"of {len(masks)} images; ")
    assert ("px_ap" in found["results"]) == bool(masks)
    files = ["box_accuracy.png"] * bool(truths[0].boxes) + ["evaluation.json"]
    files += ["iou_threshold.png", "precision_recall.png"] * bool(masks)
    assert files_in(tmp_path / "out") == files
    for path in (tmp_path / "out").glob("*.png"):
        with Image.open(path) as plot:
            assert min(plot.size) > 100


def test_perfect_maps_give_100(evaluate, real_layout, tmp_path):
    arguments, truths = real_layout
    for truth in truths:
        map = miniature.filled(truth.size, truth.boxes[:1])
        if truth.mask is not None:
            map = (truth.mask == 1).astype(np.uint8)
        path = (tmp_path / "scores" / truth.image_id).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 * map).save(path)
    said, found = evaluate(*arguments)
    rows = printed(said)
    if "box_acc" in found["results"] and "px_ap" not in found["results"]:
        assert rows["MaxBoxAcc (IoU 0.5)"][0] == "100.00"
    if "px_ap" in found["results"]:
        assert rows["PxAP"][0] == rows["Peak-IoU"][0] == rows["AP of gray levels"][0] == "100.00"


def test_thresholds_of_every_kind_from_another_split(evaluate, tmp_path):
    written = miniature.write_openimages(tmp_path / "data")
    rng = np.random.default_rng(2)
    for truth in (*written.splits["val"], *written.splits["test"]):
        save_map(tmp_path / "scores", truth.image_id, rng.random(truth.size))
    arguments = "-d", "openimages", "--root", written.root, "--metadata", written.metadata
    arguments += "--maps", tmp_path / "scores"
    level = evaluate(*arguments, "--split", "val")[1]["results"]["peak_iou"]["threshold"]
    said, found = evaluate(*arguments, "--threshold-from", "val")
    peak = found["results"]["peak_iou"]
    assert peak["threshold"] == level
    assert peak["iou"] == found["curves"]["iou_by_level"][level] <= peak["max_iou"]
    assert printed(said)["IoU"] == [
        f"{100 * peak['iou']:.2f}", f"{level} of 255", f"{100 * peak['max_iou']:.2f}"
    ]  # fmt: skip


def test_images_without_true_boxes_are_left_out_and_that_is_said(evaluate, tmp_path):
    written = miniature.write_ilsvrc(tmp_path / "data")
    truths = written.splits["train"]
    assert [bool(truth.boxes) for truth in truths] == [True] * 5 + [False]
    for truth in truths:
        map = (
            np.zeros((9, 9))
            if truth.size is None
            else miniature.filled(truth.size, truth.boxes[:1])
        )
        save_map(tmp_path / "scores", truth.image_id, map.astype(float))
    arguments = "-d", "ilsvrc", "--root", written.root, "--maps", tmp_path / "scores"
    found = evaluate(*arguments, "--split", "train")[1]
    assert found["protocol"]["images"] == "6 images"
    assert found["protocol"]["true boxes"] == "in 5 images; the others are not counted"
    assert found["results"]["box_acc"]["accuracy"] == 1
    (written.root / "ILSVRC/Annotations/CLS-LOC" / truths[0].image_id).with_suffix(".xml").unlink()
    arguments += "--split", "train"
    assert "true box or a mask of at least one" in evaluate(*arguments, "--limit", "1", code=1)
    said = evaluate(*arguments, "--threshold-from", "val", "--limit", "1", code=1)
    assert "no results" in said  # no maps of val
    save_map(tmp_path / "scores", written.splits["val"][0].image_id, np.eye(9))
    said = evaluate(*arguments, "--threshold-from", "val", "--limit", "1", code=1)
    assert "expected both splits to have boxes" in said


# The released evaluators --------------------------------------------------------------------------


def test_the_released_box_evaluator(evaluate, golden, tmp_path):
    data = golden("wsol_box_evaluator")
    truth = {}
    for image, size in enumerate(data["image_wh"].tolist()):
        boxes = data["boxes"][data["box_image"] == image].tolist()
        truth[f"{image}.jpg"] = image % 3, size, boxes
        save_map(tmp_path / "maps", f"{image}.jpg", data["scoremaps_u16"][image] / 1023.0)
    lists = write_lists(tmp_path / "lists", truth)
    arguments = "--metadata", lists, "--maps", tmp_path / "maps", "--step", "0.01"
    found = evaluate("-d", "wsolevaluation", *arguments)[1]
    single = np.array(found["curves"]["box_acc"]) * len(truth)
    assert single.tolist() == data["num_correct_single"][1].tolist()
    multi = np.array(list(found["curves"]["box_acc_v2"].values())) * len(truth)
    assert multi.tolist() == data["num_correct_multi"].tolist()
    assert 100 * found["results"]["box_acc"]["accuracy"] == data["max_box_acc_single"][1]
    expected = pytest.approx(data["max_box_acc_multi"].mean(), rel=1e-12)
    assert 100 * found["results"]["box_acc_v2"]["accuracy"] == expected


def test_the_released_mask_evaluator(evaluate, golden, tmp_path):
    data = golden("wsol_mask_evaluator")
    lists, root = tmp_path / "metadata/test", tmp_path / "root"
    lines = {"image_ids": [], "class_labels": [], "localization": []}
    for image, mask in enumerate(data["gt_mask224"]):
        lines["image_ids"].append(f"{image}.jpg")
        lines["class_labels"].append(f"{image}.jpg,0")
        lines["localization"].append(f"{image}.jpg,mask{image}.png,ignore{image}.png")
        miniature.save_mask(root / f"mask{image}.png", np.where(mask == 1, 255, 0).astype(np.uint8))
        ignored = np.where(mask == 255, 255, 0).astype(np.uint8)
        miniature.save_mask(root / f"ignore{image}.png", ignored)
        save_map(tmp_path / "maps", f"{image}.jpg", data["scoremaps_u16"][image] / 1023.0)
    for name, rows in lines.items():
        miniature.write_lines(lists / f"{name}.txt", rows)
    arguments = "--root", root, "--metadata", lists.parent, "--maps", tmp_path / "maps"
    found = evaluate("-d", "openimages", *arguments)[1]
    assert 100 * found["results"]["px_ap"] == pytest.approx(data["ap_001"][0], abs=1e-9)


# A model and a method -----------------------------------------------------------------------------

PHOTOS = ("coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png")
OWN_MODEL = """
import torch
from torch import nn

def build():
    torch.manual_seed(8)
    return nn.Sequential(nn.Conv2d(3, 16, 9, 16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1),
                         nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 8))
"""


def photo_lists(folder, labels, place=""):
    """Write lists of four photographs with the boxes drawn by hand and these classes."""
    truth = {}
    for name, label in zip(PHOTOS, labels, strict=True):
        x0, y0, x1, y1 = photographs.BOXES[name]
        with Image.open(photographs.FOLDER / name) as image:
            truth[place + name] = label, image.size, [(x0, y0, x1 - 1, y1 - 1)]
    return write_lists(folder, truth)


def maps_by_hand(classifier, refine, labels, layers=None):
    """Return the score maps that the command should make, and the scores of the classes."""
    for name, label in zip(PHOTOS, labels, strict=True):
        with Image.open(photographs.FOLDER / name) as image:
            pixels = classifier.preprocess(image.convert("RGB"))[None]
        found = class_activation(
            classifier.model,
            pixels,
            labels=None if label is None else torch.tensor([label]),
            layers=layers or photographs.layers(classifier.model, pixels.shape[2:]),
        )
        map = refine(found.cam, found.features)[0, 0].detach().numpy()
        map = cv2.resize(map, (224, 224), interpolation=cv2.INTER_CUBIC).astype(np.float64)
        yield torch.from_numpy((map - map.min()) / (map.max() - map.min())), found.logits[0]


def hits_by_hand(map, name, iou=0.5):
    with Image.open(photographs.FOLDER / name) as image:
        size = image.size[::-1]
    box = torch.tensor([photographs.BOXES[name]], dtype=torch.float32)
    return count_box_hits(map[None], [box], image_sizes=[size], ious=[iou])[0]


@pytest.mark.parametrize(
    ("options", "refine", "layers"),
    [
        (["--method", "sem"], lambda cam, features: sem(cam, features[-1], num_seeds=15), None),
        (
            ["--method", "scg", "--layer", "_blocks.10", "--layer", "_blocks.4"],
            scg,
            ("_blocks.10", "_blocks.4"),
        ),
    ],
)
def test_other_classes_give_maps_of_the_predicted_one(evaluate, tmp_path, options, refine, layers):
    lists = photo_lists(tmp_path / "lists", [0, 1, 2, 3])
    said, found = evaluate(
        *("-d", "wsolevaluation", "--metadata", lists, "--root", photographs.FOLDER),
        *("--model", "efficientnet-lite0", "--batch-size", "3", *options),
    )
    classifier = photographs.classifier()
    at = photographs.layers(classifier.model, (224, 224))
    at = at if layers is None else at._replace(features=layers)
    maps = [map for map, _ in maps_by_hand(classifier, refine, [None] * 4, at)]
    hits = sum(hits_by_hand(map, name) for map, name in zip(maps, PHOTOS, strict=True))
    np.testing.assert_allclose(found["curves"]["box_acc"], hits / 4, atol=0.26)  # one image
    assert found["results"]["box_acc"]["accuracy"] == hits.max().item() / 4
    assert set(found["results"]) == {"box_acc", "box_acc_v2"}
    assert "4 in the data set, 1000 in the classifier: different classes" in said
    assert found["protocol"]["class of the map"] == "predicted class"
    assert found["protocol"]["resize"] == "bicubic to 224 x 224"
    assert files_in(tmp_path / "out") == ["box_accuracy.png", "evaluation.json"]


@pytest.fixture
def own_model(tmp_path, monkeypatch):
    """A classifier of 8 classes in the working folder, and labels that it knows more or less."""
    (tmp_path / "own_evaluated.py").write_text(OWN_MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_evaluated", raising=False)
    model = load_classifier("own_evaluated:build")
    monkeypatch.setattr("wsolrefine.cli.loading.load_classifier", lambda name: model)
    ranks = [logits.argsort(descending=True) for _, logits in maps_by_hand(model, scg, [None] * 4)]
    labels = [int(ranks[0][0]), int(ranks[1][1]), int(ranks[2][0]), 7]
    return model, labels, photo_lists(tmp_path / "lists", labels)


@pytest.mark.parametrize("hit", ["at-least", "above"])
def test_same_classes_give_every_figure(evaluate, own_model, tmp_path, monkeypatch, hit):
    model, labels, lists = own_model
    plots.drawn(monkeypatch)
    said, found = evaluate(
        *("-d", "wsolevaluation", "--metadata", lists, "--root", photographs.FOLDER),
        *("--model", "own_evaluated:build", "--hit", hit),
    )
    total, seen = torch.zeros(4, 1000), []
    for (map, logits), name, label in zip(
        maps_by_hand(model, scg, labels), PHOTOS, labels, strict=True
    ):
        rank = logits.argsort(descending=True).tolist().index(label)
        seen.append((map, name, logits.argsort(descending=True)[:5], label))
        hits = hits_by_hand(map, name, 0.5 + 1e-9 * (hit == "above"))
        total += torch.stack([hits * (rank == 0), hits * (rank < 5), hits, hits_by_hand(map, name)])
    at = int(total[3].argmax())
    results = found["results"]
    assert results["box_acc"]["threshold"] == thresholds_of(0.001)[at]
    top1, top5, known, accuracy = (total[:, at] / 4).tolist()
    assert results["localization"] == {"top1": top1, "top5": top5, "gt_known": known}
    assert results["box_acc"]["accuracy"] == accuracy
    assert 0 < top1 < top5 < known < 1  # each image is another case
    assert results["classification"]["top1"] == sum(one[2][0] == one[3] for one in seen) / 4
    relation = {"at-least": ">=", "above": ">"}[hit]
    verdicts = [by_hand(*one, thresholds_of(0.001)[at], relation) for one in seen]
    rates = torch.cat([hits for hits, _ in verdicts]).double().mean(0)
    assert [*results["localization"].values()] == rates.tolist()
    kinds = [kind for _, kind in verdicts]
    expected = {error.name: kinds.count(error) / 4 for error in LocalizationError}
    assert results["errors"] == expected
    rows = printed(said)
    assert rows["GT-known localization"][0] == f"{100 * known:.2f}"
    assert rows["classification"][0] == f"{100 * results['errors']['classification']:.2f}"
    with Image.open(tmp_path / "out/errors.png") as plot:
        assert min(plot.size) > 100
    assert found["protocol"]["Top-1, Top-5, GT-known"].startswith(f"IoU {relation} 0.5")


def by_hand(map, name, classes, label, threshold, relation):
    """Return Top-1, Top-5, GT-known and the kind of error, from one box compared on the map."""
    with Image.open(photographs.FOLDER / name) as image:
        scale = 224 / np.array(image.size * 2)
    corners = np.array(photographs.BOXES[name]) - [0, 0, 1, 1]
    truth = [torch.from_numpy(np.floor(corners * scale)[None])], torch.tensor([label])
    box = score_map_boxes(map, threshold).double()
    hits = localization_hits(
        box.expand(1, 5, 4), classes[None], *truth, hit=relation, inclusive=True, gt_known_boxes=box
    )
    return hits, LocalizationError(
        int(localization_errors(box, classes[:1], *truth, inclusive=True))
    )


def test_maps_of_the_predicted_class_on_request(evaluate, own_model):
    model, labels, lists = own_model
    arguments = [
        *("-d", "wsolevaluation", "--metadata", lists, "--root", photographs.FOLDER),
        *("--model", "own_evaluated:build", "--method", "scg"),
    ]
    found = evaluate(*arguments, "--labels", "predicted")[1]
    hits = right = 0
    for (map, logits), name, label in zip(
        maps_by_hand(model, scg, [None] * 4), PHOTOS, labels, strict=True
    ):
        hits = hits + hits_by_hand(map, name)
        right = right + hits_by_hand(map, name) * (int(logits.argmax()) == label)
    at = int(hits.argmax())
    assert found["curves"]["box_acc"] == (hits / 4).tolist()
    assert found["results"]["localization"] == {"top1": right[at].item() / 4}
    assert found["protocol"]["class of the map"] == "predicted class"
    root = arguments[5] = lists.parent / "photographs"
    root.mkdir()
    for name in PHOTOS:
        (root / name).symlink_to(photographs.FOLDER / name)
    (root / "again").symlink_to(photographs.FOLDER)
    other = photo_lists(lists.parent / "other", labels[::-1], "again/")
    honest = evaluate(*arguments, "--threshold-from", other)[1]  # same images: the same threshold
    assert honest["results"]["box_acc"] == found["results"]["box_acc"]
    found = evaluate(*arguments)[1]
    other = photo_lists(lists.parent / "same", labels, "again/")
    honest = evaluate(*arguments, "--threshold-from", other)[1]
    assert honest["results"] == found["results"]
    arguments[3] = photo_lists(lists.parent / "nine", [0, 1, 2, 8])
    said = evaluate(*arguments, "--labels", "true", code=2)
    assert "expected a classifier with the 9 classes of the data set, got one with 8" in said
    assert "9 in the data set, 8 in the classifier: different" in evaluate(*arguments)[0]


def test_lists_without_the_last_classes_are_those_of_the_classifier(evaluate, own_model, tmp_path):
    _, labels, lists = own_model
    arguments = [
        *("-d", "wsolevaluation", "--metadata", lists, "--root", photographs.FOLDER),
        *("--model", "own_evaluated:build"),
    ]
    arguments[3] = photo_lists(tmp_path / "most", [*labels[:3], 5])
    found = evaluate(*arguments)[1]
    assert {"classification", "localization", "errors"} <= set(found["results"])
    assert found["protocol"]["class of the map"] == "true class"
    assert found["protocol"]["classes"].startswith("labels up to ")
    assert "taken for the 8 of the classifier" in found["protocol"]["classes"]
    assert "--labels predicted" in found["protocol"]["classes"]
    assert "localization" not in evaluate(*arguments, "--labels", "predicted")[1]["results"]
    arguments[3] = photo_lists(tmp_path / "few", [0, 1, 2, 2])  # may be a data set of three classes
    found = evaluate(*arguments)[1]
    assert "localization" not in found["results"]
    assert "if they are the same: --labels true" in found["protocol"]["classes"]
    assert "gt_known" in evaluate(*arguments, "--labels", "true")[1]["results"]["localization"]


def test_model_errors(evaluate, own_model, tmp_path, monkeypatch):
    model, _, lists = own_model
    arguments = [
        *("-d", "wsolevaluation", "--metadata", lists, "--model", "own_evaluated:build"),
        *("--root", tmp_path / "photos"),
    ]
    (tmp_path / "photos").mkdir()
    for name in PHOTOS:
        with Image.open(photographs.FOLDER / name) as image:
            image.resize((60, 40)).save(tmp_path / "photos" / name)
    assert "--size: " not in evaluate(*arguments, "--size", "32")[0]
    (tmp_path / "photos" / PHOTOS[1]).write_bytes(b"no image")
    (tmp_path / "photos" / PHOTOS[3]).unlink()
    said = evaluate(*arguments, code=1)
    assert "2 could not be used" in said
    assert f"{PHOTOS[1]}: " in said
    assert f"{PHOTOS[3]}: " in said
    arguments[-1] = photographs.FOLDER
    assert "--layer: expected names" in evaluate(*arguments, "--layer", "99", code=2)
    assert "from '4' (or to_map" in evaluate(*arguments, "--layer", "4", code=2)
    for device in ("abacus", "meta", "hpu", "mps", "xla", "vulkan", "privateuseone"):
        if device != "mps" or not torch.backends.mps.is_available():
            said = evaluate(*arguments, "--device", device, code=2)
            assert "--device: expected cpu" in said
            assert len(said) < 400
    for weight in model.model[-1].parameters():
        monkeypatch.setattr(weight, "data", weight.data * float("nan"))
    said = evaluate(*arguments, code=2)
    assert "model: expected finite weights, got NaN or infinity in '6.weight'" in said
