"""``evaluate`` compares sizes, masks and boxes with the images, and names what does not agree."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from torch import nn

from tests.support import miniature, odd_files, photographs, plots
from tests.support.command import run_command
from tests.support.odd_files import time_limit
from wsolrefine import Classifier, Preprocess
from wsolrefine.cli.evaluate.agreement import Agreement, same_aspect
from wsolrefine.cli.evaluate.classes import differing
from wsolrefine.cli.evaluate.dataset import Split
from wsolrefine.cli.evaluate.score_maps import ModelMaps
from wsolrefine.data import CUB, ILSVRC, WsolEvaluation
from wsolrefine.data.images import UPRIGHT


@pytest.fixture(autouse=True)
def one_classifier(monkeypatch):
    plots.left_out(monkeypatch)
    with photographs.shared(monkeypatch):
        yield


@pytest.fixture
def evaluate(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")

    def call(*arguments, code=0):
        out = tmp_path / "out"
        printed = run_command("evaluate", *arguments, "--out", out, code=code)
        return printed, None if code else json.loads((out / "evaluation.json").read_text())

    return call


def write(folder, count, swapped=(), size=(20, 30), saved=(20, 30)):
    """Write images, lists that swap width and height of some, and perfect maps; return options."""
    truths = []
    for n in range(count):
        listed = size[::-1] if n in swapped else size
        truths.append(miniature.Truth(f"{n:03}.png", 0, listed, [(2, 3, 12, 14)]))
        Image.new("L", saved[::-1], n % 200).save(folder / f"{n:03}.png")
        map = np.zeros((20, 30))
        map[3:14, 2:12] = 1
        (folder / "maps").mkdir(exist_ok=True)
        np.save(folder / f"maps/{n:03}.png.npy", map)
    miniature.write_metadata(folder / "lists", truths)
    return ["-d", "wsolevaluation", "--metadata", folder / "lists", "--root", folder]


@pytest.mark.parametrize("source", ["model", "maps"])
def test_swapped_sizes_give_no_results(evaluate, tmp_path, monkeypatch, source):
    options = write(tmp_path, 4, swapped=(0, 1, 2, 3))
    chosen = ("--maps", tmp_path / "maps")
    if source == "model":
        chosen = named(monkeypatch, None)
    printed, _ = evaluate(*options, *chosen, code=1)
    assert "annotated sizes: expected those of the images, up to rounding, got others" in printed
    said = f"{tmp_path}/lists/image_sizes.txt:1: expected 30 x 20, as in 000.png, got 20 x 30"
    assert said in printed
    assert "for 4 of 4 images" in printed
    assert "image_sizes.txt:3: " in printed
    assert not (tmp_path / "out/evaluation.json").exists()


def test_a_single_wrong_size_in_a_large_list_is_named_in_the_protocol(evaluate, tmp_path):
    options = write(tmp_path, 100, swapped=(41,))
    printed, found = evaluate(*options, "--maps", tmp_path / "maps")
    said = found["protocol"]["wrong sizes"]
    assert said.startswith("1 of 100 images: ")
    assert "image_sizes.txt:42: expected 30 x 20, as in 041.png, got 20 x 30" in said
    assert said in printed
    evaluate(*write(tmp_path, 100, swapped=(41, 67)), "--maps", tmp_path / "maps", code=1)


def test_a_smaller_copy_of_the_images_agrees_with_the_list(evaluate, tmp_path):
    options = write(tmp_path, 3, size=(500, 749), saved=(100, 150))
    _, found = evaluate(*options, "--maps", tmp_path / "maps")
    assert "wrong sizes" not in found["protocol"]


def test_images_that_are_not_there_are_not_needed_for_maps(evaluate, tmp_path):
    options = write(tmp_path, 3)
    for n in range(3):
        (tmp_path / f"{n:03}.png").unlink()
    _, found = evaluate(*options, "--maps", tmp_path / "maps")
    assert found["results"]["box_acc"]["accuracy"] == 1


@pytest.mark.parametrize(
    ("image", "listed", "agree"),
    [
        ((480, 640), (480, 640), True),
        ((480, 640), (640, 480), False),
        ((499, 500), (500, 499), False),
        ((500, 500), (500, 500), True),
        ((240, 320), (480, 640), True),
        ((256, 341), (1000, 1333), True),  # floor and round
        ((256, 342), (1000, 1333), True),
        ((1333, 1000), (341, 256), True),
        ((470, 640), (480, 640), False),
        ((1, 700), (1, 700), True),
        ((700, 1), (1, 700), False),
        ((224, 224), (480, 640), False),
    ],
)
def test_sizes_agree_up_to_rounding(tmp_path, image, listed, agree):
    miniature.write_metadata(tmp_path, [miniature.Truth("a.jpg", 0, listed, [(0, 0, 1, 1)])])
    found = WsolEvaluation(tmp_path).disagreement(0, image)
    assert (found is None) == agree
    if not agree:
        assert found == (
            f"{tmp_path}/image_sizes.txt:1: expected {image[1]} x {image[0]}, as in a.jpg, "
            f"got {listed[1]} x {listed[0]}"
        )


def test_every_resized_copy_agrees_with_the_original(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = rng.integers(200, 3000, 2).tolist()
        scale = float(rng.uniform(0.05, 1))
        miniature.write_metadata(
            tmp_path, [miniature.Truth("a.jpg", 0, (height, width), [(0, 0, 1, 1)])]
        )
        for rounded in (round, int):
            copy = rounded(scale * height), rounded(scale * width)
            assert WsolEvaluation(tmp_path).disagreement(0, copy) is None


def test_the_size_in_the_xml_of_ilsvrc_is_compared(tmp_path):
    written = miniature.write_ilsvrc(tmp_path)
    dataset = ILSVRC(written.root)
    assert [dataset.disagreement(n) for n in range(len(dataset))] == [None] * len(dataset)
    height, width = dataset.size(0)
    found = dataset.disagreement(0, (width, height))
    assert "val/ILSVRC2012_val_00000001.xml: expected " in found


def test_an_image_turned_upright_disagrees_with_boxes_that_are_not(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    miniature.write_metadata(tmp_path, [miniature.Truth("a.jpg", 0, (20, 30), [(0, 0, 1, 1)])])
    assert WsolEvaluation(tmp_path, images=tmp_path).disagreement(0) is None
    upright = WsolEvaluation(tmp_path, images=tmp_path, policy=UPRIGHT)
    assert "expected 20 x 30, as in a.jpg, got 30 x 20" in upright.disagreement(0)


def test_a_data_set_without_sizes_agrees(tmp_path):
    assert CUB(miniature.write_cub(tmp_path).root).disagreement(0) is None


# Masks and boxes ----------------------------------------------------------------------------------


def test_masks_of_another_aspect_give_no_results(evaluate, tmp_path):
    written = miniature.write_ilsvrc(tmp_path / "data")
    options = ["-d", "ilsvrc", "--root", written.root, "--masks", written.masks]
    for truth in written.splits["val"]:
        height, width = truth.size
        path = tmp_path / f"maps/{truth.image_id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.eye(24))
        mask = written.masks / f"{truth.image_id.split('/')[1][:-5]}.png"
        if mask.exists():
            # Of another resolution, which is usual, and in a second run turned on its side.
            Image.fromarray(np.full((3 * height, 3 * width), 255, np.uint8)).save(mask)
    _, found = evaluate(*options, "--maps", tmp_path / "maps")
    assert "wrong masks" not in found["protocol"]
    sized = [
        t
        for t in written.splits["val"]
        if t.mask is not None and not same_aspect(t.size, t.size[::-1])
    ]
    for truth in sized:
        mask = written.masks / f"{truth.image_id.split('/')[1][:-5]}.png"
        Image.fromarray(np.full(truth.size[::-1], 255, np.uint8)).save(mask)
    printed, _ = evaluate(*options, "--maps", tmp_path / "maps", code=1)
    assert "masks: expected those of the images, up to rounding, got others" in printed
    assert sized[0].image_id in printed


def test_a_box_outside_of_the_image_is_refused_and_one_that_ends_outside_is_named(
    evaluate, tmp_path
):
    options = write(tmp_path, 100)
    boxes = tmp_path / "lists/localization.txt"
    lines = boxes.read_text().splitlines()
    boxes.write_text("\n".join([*lines[:99], "099.png,2,3,35,13"]))
    _, found = evaluate(*options, "--maps", tmp_path / "maps")
    said = f"{boxes}:100: expected a box in 30 x 20, as is 099.png, got 2 3 36 14"
    assert found["protocol"]["boxes outside"] == f"1 of 100 images: {said}, not clipped"
    boxes.write_text("\n".join([*lines[:99], "099.png,2,3,30,20"]))  # one pixel, as in real lists
    assert "boxes outside" not in evaluate(*options, "--maps", tmp_path / "maps")[1]["protocol"]
    boxes.write_text("\n".join([*lines[:99], "099.png,30,3,31,13"]))
    printed, _ = evaluate(*options, "--maps", tmp_path / "maps", code=1)
    assert f"099.png: {boxes}:100: expected a box in 30 x 20, got 30 3 32 14" in printed


def test_boxes_with_x_and_y_swapped_give_no_results(evaluate, tmp_path):
    options = write(tmp_path, 4)
    boxes = tmp_path / "lists/localization.txt"
    boxes.write_text("".join(f"{n:03}.png,3,2,13,25\n" for n in range(4)))
    printed, _ = evaluate(*options, "--maps", tmp_path / "maps", code=1)
    assert "boxes: expected boxes that end in the images, up to one pixel, got others" in printed
    assert f"for 4 of 4 images or more: {boxes}:1: expected a box in 30 x 20" in printed
    assert not (tmp_path / "out/evaluation.json").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x, y, w, h: (x + 40, y + 40, x + w, y + h), "expected a box in "),  # as xyxy
        (lambda x, y, w, h: (0.1, 0.2, 0.5, 0.5), "expected a box of at least one pixel, got 0.1"),
    ],
    ids=["corners", "fractions"],
)
def test_boxes_of_cub_in_another_form_are_named_by_line(evaluate, tmp_path, change, said):
    written = miniature.write_cub(tmp_path / "cub")
    file = written.root / "bounding_boxes.txt"
    rows = [line.split() for line in file.read_text().splitlines()]
    boxes = [(row[0], *change(*map(float, row[1:]))) for row in rows]
    file.write_text("".join(" ".join(map(str, box)) + "\n" for box in boxes))
    for truth in written.splits["test"]:
        path = tmp_path / f"maps/{truth.image_id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.eye(24))
    options = ["-d", "cub", "--root", written.root, "--maps", tmp_path / "maps"]
    printed, _ = evaluate(*options, code=1)
    assert f"{file}:1: {said}" in printed


# Copies -------------------------------------------------------------------------------------------


def sized(folder, pairs):
    """Write images and lists from pairs of (height, width), saved and listed, and their maps."""
    (folder / "maps").mkdir()
    truths = []
    for n, (saved, listed) in enumerate(pairs):
        Image.new("L", saved[::-1]).save(folder / f"{n:03}.png")
        np.save(folder / f"maps/{n:03}.png.npy", np.eye(24))
        truths.append(miniature.Truth(f"{n:03}.png", 0, listed, [(2, 3, 12, 14)]))
    miniature.write_metadata(folder / "lists", truths)
    options = ["-d", "wsolevaluation", "--metadata", folder / "lists", "--root", folder]
    return [*options, "--maps", folder / "maps"]


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([((20, 30), (40, 60)), ((33, 21), (66, 42))], "of a copy, 0.5 x, 2 of 2 images"),
        ([((40, 60), (20, 30)), ((66, 42), (33, 21))], "of a copy, 2 x, 2 of 2 images"),
        # Resized to one short side, and the list of the originals, or the other way round.
        ([((20, 30), (40, 60)), ((40, 20), (100, 50))], "of a copy, 0.4 to 0.5 x, 2 of 2 images"),
        ([((40, 60), (20, 30)), ((100, 50), (40, 20))], "of a copy, 2 to 2.5 x, 2 of 2 images"),
        ([((20, 30), (20, 30)), ((33, 21), (33, 21))], None),
    ],
)
def test_a_copy_is_named_in_the_protocol(evaluate, tmp_path, pairs, said):
    printed, found = evaluate(*sized(tmp_path, pairs))
    protocol = found["protocol"]
    if said is None:
        assert "sizes" not in protocol
    else:
        assert protocol["sizes"] == f"{said}; boxes are taken in pixels of the listed sizes"
        assert said in printed
    assert "wrong sizes" not in protocol


def test_some_images_of_another_scale_are_wrong_sizes(evaluate, tmp_path):
    pairs = [((20 + n % 7, 30 + n % 5), (20 + n % 7, 30 + n % 5)) for n in range(100)]
    pairs[41] = ((26, 31), (52, 62))
    options = sized(tmp_path, pairs)
    _, found = evaluate(*options)
    assert "sizes" not in found["protocol"]
    said = "image_sizes.txt:42: expected 31 x 26, as in 041.png, got 62 x 52, used as listed"
    assert said in found["protocol"]["wrong sizes"]
    sizes = tmp_path / "lists/image_sizes.txt"
    lines = sizes.read_text().splitlines()
    lines[6] = "006.png,62,52"
    sizes.write_text("\n".join(lines))
    printed, _ = evaluate(*options, code=1)
    said = "annotated sizes: expected one scale, 1 x, between the images and the list, got others"
    assert f"{said} for 2 of 100 images" in printed
    assert "image_sizes.txt:7: expected 31 x 26, as in 006.png, got 62 x 52" in printed


def test_only_some_are_named(tmp_path):
    write(tmp_path, 5, swapped=range(5))
    agreement = Agreement(WsolEvaluation(tmp_path / "lists", images=tmp_path), 1000)
    for index in range(5):
        agreement.see_image(index, (20, 30))
        agreement.see_boxes(index, torch.tensor([[0.0, 0.0, 99.0, 2.0]]), (20, 30))
        agreement.see_mask(index, (30, 20))
    agreement.check()
    lines = agreement.protocol()
    assert set(lines) == {"wrong sizes", "wrong masks", "boxes outside"}
    for said in lines.values():
        assert said.startswith("5 of 1000 images: ")
        assert said.count("png") == 3
        assert "; ..." in said


# Maps ---------------------------------------------------------------------------------------------

SHAPES = [(20, 30), (24, 36), (33, 21)]


def transposed(folder, count, turned):
    """Write images, lists, and maps of their size, of which some are transposed."""
    pairs = [(SHAPES[n % 3], SHAPES[n % 3]) for n in range(count)]
    options = sized(folder, pairs)
    for n, (size, _) in enumerate(pairs):
        np.save(folder / f"maps/{n:03}.png.npy", np.eye(*size).T if n in turned else np.eye(*size))
    return options


@pytest.mark.parametrize("images", [True, False])
def test_transposed_maps_give_no_results(evaluate, tmp_path, images):
    options = transposed(tmp_path, 4, turned=range(4))
    if not images:
        for path in tmp_path.glob("*.png"):
            path.unlink()
    printed, _ = evaluate(*options, code=1)
    assert "maps: expected those of the images, got maps with height and width swapped" in printed
    assert "for 4 of 4 images: 000.png (30 x 20, map 20 x 30); 001.png (" in printed
    assert not (tmp_path / "out/evaluation.json").exists()


def test_a_single_transposed_map_is_named_in_the_protocol(evaluate, tmp_path):
    _, found = evaluate(*transposed(tmp_path, 100, turned=[41]))
    said = "1 of 100 images: 041.png (21 x 33, map 33 x 21), used as they are"
    assert found["protocol"]["wrong maps"] == said


@pytest.mark.parametrize(
    ("images", "maps"),
    [
        (SHAPES, [(20, 30)] * 3),
        ([(20, 30), (30, 20)], [(20, 30)] * 2),  # one size for all images
        ([(30, 20), (24, 36)], [(20, 30), (12, 18)]),
        ([(20, 20), (33, 33)], [(33, 33), (20, 20)]),
        (SHAPES, SHAPES),
        (SHAPES, [(28, 28)] * 3),
    ],
)
def test_maps_of_other_sizes_are_right(evaluate, tmp_path, images, maps):
    options = sized(tmp_path, [(size, size) for size in images])
    for n, size in enumerate(maps):
        np.save(tmp_path / f"maps/{n:03}.png.npy", np.eye(*size))
    assert "wrong maps" not in evaluate(*options)[1]["protocol"]


def resized(folder, count, image, maps):
    """Write images of one size, with true boxes of a part of them, and maps of these sizes."""
    options = write(folder, count, size=image, saved=image)
    for n in range(count):
        np.save(folder / f"maps/{n:03}.png.npy", np.ones(maps[n % len(maps)]))
    return [*options, "--maps", folder / "maps"]


@pytest.mark.parametrize(
    ("image", "map"),
    [
        ((48, 64), (1, 1)),
        ((48, 64), (4, 8)),
        ((48, 64), (48, 7)),
        ((375, 500), (14, 14)),
        ((375, 500), (27, 224)),
        ((2000, 3000), (7, 7)),
    ],
)
def test_maps_too_coarse_for_boxes_give_no_results(evaluate, tmp_path, image, map):
    said, _ = evaluate(*resized(tmp_path, 3, image, [map]), code=1)
    height, width = map
    assert "maps: expected sides of at least 28 (or 1/8 of those of smaller images)" in said
    shown = f"000.png ({image[1]} x {image[0]}, map {width} x {height})"
    assert f"for 3 of 3 images or more: {shown}; " in said
    assert not (tmp_path / "out/evaluation.json").exists()


def test_coarse_maps_are_named_in_the_protocol(evaluate, tmp_path):
    said, found = evaluate(*resized(tmp_path, 3, (375, 500), [(28, 28), (56, 55), (56, 56)]))
    line = found["protocol"]["coarse maps"]
    assert line.startswith("2 of 3 images: 000.png (500 x 375, map 28 x 28); 001.png (500 x 375, ")
    assert "results differ from those at 224 x 224" in line
    assert "coarse maps" in said


def test_a_single_map_that_is_too_coarse_is_named(evaluate, tmp_path):
    options = write(tmp_path, 100)
    np.save(tmp_path / "maps/041.png.npy", np.ones((1, 1)))
    _, found = evaluate(*options, "--maps", tmp_path / "maps")
    expected = "1 of 100 images: 041.png (30 x 20, map 1 x 1), "
    assert found["protocol"]["coarse maps"].startswith(expected)


@pytest.mark.parametrize(
    ("image", "map"),
    [((20, 30), (20, 30)), ((1, 16), (1, 16)), ((28, 28), (7, 7)), ((375, 500), (224, 224))],
)
def test_maps_of_small_images_are_not_coarse(evaluate, tmp_path, image, map):
    truth = miniature.Truth("a.png", 0, image, [(0, 0, 2, 1)])
    miniature.write_metadata(tmp_path / "lists", [truth])
    np.save(tmp_path / "a.png.npy", np.ones(map))
    options = "-d", "wsolevaluation", "--metadata", tmp_path / "lists", "--maps", tmp_path
    assert "coarse maps" not in evaluate(*options)[1]["protocol"]


def test_maps_coarser_than_masks_give_no_results(evaluate, tmp_path):
    """Where the images are not there, masks say how large they are."""
    written = miniature.write_openimages(tmp_path / "data")
    for truth in written.splits["test"]:
        path = tmp_path / f"maps/{truth.image_id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.eye(2))
        (written.root / truth.image_id).unlink()
    options = "-d", "openimages", "--root", written.root, "--metadata", written.metadata
    said, _ = evaluate(*options, "--maps", tmp_path / "maps", code=1)
    assert "maps: expected sides of at least 28" in said


def test_a_model_with_a_small_size_gives_no_results(evaluate, tmp_path, monkeypatch):
    options = write(tmp_path, 3, size=(100, 150), saved=(100, 150))
    said, _ = evaluate(*options, *named(monkeypatch, None), "--size", 12, code=1)
    assert "maps: expected sides of at least 28" in said


# What is no file ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "folder", "device"])
@pytest.mark.parametrize(
    "name",
    [
        *("lists/image_ids.txt", "lists/class_labels.txt", "lists/image_sizes.txt"),
        *("lists/localization.txt", "maps/001.png.npy", "001.png"),
    ],
)
def test_what_is_no_file_ends_evaluate_at_once(evaluate, tmp_path, monkeypatch, name, kind):
    options = write(tmp_path, 3)
    said = odd_files.make(tmp_path / name, kind)
    chosen = ("--maps", tmp_path / "maps")
    if name == "001.png":
        chosen = named(monkeypatch, None)
    with time_limit(60):
        printed, _ = evaluate(*options, *chosen, code=1)
    assert name in printed
    assert f"got {said}" in printed


def test_pipes_end_evaluate_of_xml_and_masks_at_once(evaluate, tmp_path):
    written = miniature.write_ilsvrc(tmp_path / "data")
    options = ["-d", "ilsvrc", "--root", written.root, "--masks", written.masks]
    for truth in written.splits["val"]:
        path = tmp_path / f"maps/{truth.image_id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.eye(24))
    mask = written.masks / "ILSVRC2012_val_00000002.png"
    mask.unlink()
    os.mkfifo(mask)
    with time_limit(30):
        printed, _ = evaluate(*options, "--maps", tmp_path / "maps", code=1)
    assert f"{mask}: expected a mask of 8 bits, got a named pipe" in printed
    xml = written.root / "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000003.xml"
    xml.unlink()
    os.mkfifo(xml)
    with time_limit(30):
        printed, _ = evaluate(*options, "--maps", tmp_path / "maps", code=1)
    assert f"{xml}: expected a file, got a named pipe" in printed


# Classes ------------------------------------------------------------------------------------------

BIRDS = ["001.Black_footed_Albatross", "002.Laysan_Albatross"]


def named(monkeypatch, names):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 9, 16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
    )
    made = Classifier(model.eval(), Preprocess((64, 64)), names, "birds")
    monkeypatch.setattr("wsolrefine.cli.loading.load_model", lambda *_, **__: made)
    return ["--model", "own:birds", "--method", "cam", "--size", "32"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["cat", "dog"], "0 of 2 names agree: class 0 is '001.Black_footed_Albatross' in the data"),
        (["Laysan albatross", "black-footed albatross"], "2 of 2 names are at another index"),
    ],
)
def test_classes_of_other_names_are_not_matched_by_index(
    evaluate, tmp_path, monkeypatch, names, said
):
    root = miniature.write_cub(tmp_path / "cub").root
    options = ["-d", "cub", "--root", root, *named(monkeypatch, names)]
    printed, _ = evaluate(*options, code=2)
    assert "--labels: expected a classifier with the classes of the data set" in printed
    assert said in printed
    _, found = evaluate(*options, "--labels", "predicted")
    assert "localization" not in found["results"]
    assert said in found["protocol"]["classes"]
    _, found = evaluate(*options, "--labels", "true")
    assert "gt_known" in found["results"]["localization"]
    assert "as --labels true says, though " in found["protocol"]["classes"]


@pytest.mark.parametrize(
    "names", [BIRDS, ["black footed albatross, Diomedea", "LAYSAN-ALBATROSS "], None, ["0", "1"]]
)
def test_classes_of_the_same_names_or_of_none_are_matched_by_index(
    evaluate, tmp_path, monkeypatch, names
):
    root = miniature.write_cub(tmp_path / "cub").root
    _, found = evaluate("-d", "cub", "--root", root, *named(monkeypatch, names))
    assert "gt_known" in found["results"]["localization"]
    said = "2 in data set and classifier, matched by index"
    assert found["protocol"]["classes"] == said


def test_names_of_imagenet_agree_though_their_synonyms_differ():
    names = photographs.classifier().class_names
    first = [name.split(",")[0] for name in names]
    synsets = [f"n{n:08d}" for n in range(1000)]
    for others in (names, first, [f"n{n:08d} {name}" for n, name in enumerate(first)], synsets):
        assert differing(others, names) is None
        assert differing(names, others) is None
    for moved in ([*names[1:], names[0]], [names[1], names[0], *names[2:]], names[::-1]):
        assert "names are at another index" in differing(moved, names)
    assert "names agree" in differing([f"bird {n}" for n in range(1000)], names)


def test_edges_need_no_classes(tmp_path):
    split = Split(CUB(miniature.write_cub(tmp_path).root), "test", None)
    edges = SimpleNamespace(num_classes=2, class_names=["cat", "dog"], regions=False)
    assert ModelMaps(edges, split, None, 224).difference is None
    with pytest.raises(typer.Exit):
        ModelMaps(SimpleNamespace(**{**vars(edges), "regions": True}), split, None, 224)
