"""Every benchmark command on a few tiny scenes; what it records; what it may import."""

import ast
import json
import re
import runpy
import sys
from datetime import date
from pathlib import Path
from types import FunctionType

import pytest
import torch
from PIL import Image, ImageOps

import wsolrefine
from benchmarks import common
from benchmarks.quality import boundaries, network, objects, search, thresholds
from benchmarks.quality import run as quality
from benchmarks.quality.report import render as render_quality
from benchmarks.recipes import distillation, edges, ornet, rows
from benchmarks.recipes.report import render as render_recipes
from benchmarks.scale import cost
from benchmarks.scale.kill_report import render as render_kills
from benchmarks.scale.report import render as render_scale
from benchmarks.scale.rows import compared
from benchmarks.speed import class_activation as activation_speed
from benchmarks.speed import conv_crf, functions, gppl, label_spreading, pamr, scg
from benchmarks.speed.report import render as render_speed
from tests.project.test_scenes import write_packages, write_stamp
from tests.support import miniature, photographs

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "benchmarks").rglob("*.py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    write_packages(folder)
    for i in range(18):  # a second class, with enough cut-outs in every split
        write_stamp(folder / f"usr/share/tuxpaint/stamps/vehicles/{chr(97 + i)}car.png")
    return folder


@pytest.fixture
def run(monkeypatch):
    """Run a command in this process, as ``python -m`` does."""
    threads = torch.get_num_threads()
    photographs.known_layers(
        monkeypatch, "benchmarks.quality.network", "benchmarks.recipes.features"
    )

    def run(module, *arguments):
        monkeypatch.setattr(sys, "argv", [module, *map(str, arguments)])
        runpy.run_module(module, run_name="__main__")

    yield run
    torch.set_num_threads(threads)


def assert_complete(record):
    """Check what every benchmark records of itself."""
    assert record["version"] == wsolrefine.__version__
    assert record["commit"] is None or re.fullmatch(r"[0-9a-f]{12,}(\+changes)?", record["commit"])
    date.fromisoformat(record["date"])


def assert_about_this_machine(record):
    assert record["command"].startswith("python -m benchmarks.")
    assert {key: record[key] for key in common.MACHINE} == common.machine()


# The commands -------------------------------------------------------------------------------------


def test_scenes(run, folder, tmp_path, capsys):
    run("benchmarks.scenes", "--folder", folder, "--sheet", tmp_path / "scenes.png")
    assert (tmp_path / "scenes.png").stat().st_size > 0
    assert re.search(r"^test: \d+ cut-outs, \d+ backgrounds$", capsys.readouterr().out, re.M)


def test_make_cub(run, folder, tmp_path, capsys):
    counts = ("--train", 3, "--test", 2, "--size", 40)
    run("benchmarks.make_cub", tmp_path / "cub", *counts, "--folder", folder)
    assert "3 scenes to train, 2 to test" in capsys.readouterr().out
    assert len((tmp_path / "cub/images.txt").read_text().splitlines()) == 5


@pytest.fixture
def few_rows(monkeypatch):
    """Measure a few rows only; return their names."""
    default = wsolrefine.localization.methods.DEFAULT
    names = ["cam", default, "scg, 14x14", "layer_cam, 14x14"]

    def few(network, rows_of=quality.rows_of):
        every = rows_of(network)
        return {name: every[name] for name in names}

    monkeypatch.setattr(quality, "rows_of", few)
    return names


@pytest.fixture
def few_methods(monkeypatch):
    few = {name: wsolrefine.localization.methods.METHODS[name] for name in ("cam", "conv_crf")}
    monkeypatch.setattr(thresholds, "METHODS", few)
    return few


def assert_table(folder, name, printed):
    """Check the record and the table of a run; return the record."""
    record = json.loads((folder / f"{name}.json").read_text())
    assert_complete(record)
    assert_about_this_machine(record)
    assert str(folder.parent) not in json.dumps(record)
    text = (folder / f"{name}.md").read_text()
    assert printed == f"{text}\n"
    assert f"version {record['version']}" in text
    return record


def test_quality(run, folder, few_rows, tmp_path, capsys):
    options = ("--runs", 0, "--folder", folder, "--out", tmp_path, "--pictures", tmp_path / "shown")
    run("benchmarks.quality", "--scenes", 4, *options)
    record = assert_table(tmp_path, "quality", capsys.readouterr().out)
    assert record["command"] == "python -m benchmarks.quality --scenes 4"
    assert [row["method"] for row in record["rows"]] == ["whole image", "center box", *few_rows]
    assert record["splits"]["test"]["scenes"] == sum(record["sizes"].values()) == 4
    for row in record["rows"]:
        assert 0 <= row["MaxBoxAccV2"] <= row["best MaxBoxAccV2"] <= 1
        assert {"PxAP", "Peak-IoU", "MaxBoxAccV2 error", "PxAP error"} < {*row}
        for column in ("forwards", "forwards in a batch"):
            assert (row[column] > 0) == (row["method"] in few_rows)
        assert ("gain in PxAP" in row) == (row["method"] != "scg, 14x14")
    shown = {path.stem for path in (tmp_path / "shown").iterdir()}
    cases = {"quality_best", "quality_typical", "quality_worst"}
    assert shown == {"quality_bars", "quality_curves"} | cases


def test_quality_of_photographs(run, few_rows, tmp_path, capsys):
    for seed, name in enumerate(("birds", "cows")):
        written = miniature.write_wsolevaluation(tmp_path / "data" / name, seed=seed)
        for split in ("val", "test"):
            written.metadata.joinpath(split, "images").symlink_to(written.root)
    every = f"wsolevaluation:{tmp_path}/data/*/metadata/CUB"
    options = ("--runs", 0, "--out", tmp_path / "out")
    run("benchmarks.quality", "--data", f"{every}/test", "--choose", f"{every}/val", *options)
    record = assert_table(tmp_path / "out", "quality_photographs", capsys.readouterr().out)
    assert record["splits"] == {
        "thresholds": {"images of birds": 4, "images of cows": 4},
        "results": {"images of birds": 4, "images of cows": 4},
    }


def test_quality_without_other_photographs_and_with_another_network(
    run, few_rows, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(network, "load_classifier", lambda spec: photographs.classifier())
    written = miniature.write_wsolevaluation(tmp_path / "data")
    folders = [written.metadata / split for split in ("val", "test")]
    for folder in folders:
        (folder / "images").symlink_to(written.root)
    specs = [f"wsolevaluation:{folder}" for folder in folders]
    options = ("--model", "own:net", "--runs", 0, "--out", tmp_path / "out")
    run("benchmarks.quality", "--data", specs[0], "--data", specs[1], *options)
    record = assert_table(tmp_path / "out", "quality_photographs_own-net", capsys.readouterr().out)
    assert record["command"].endswith("/CUB/test --model own:net")
    assert record["about"][0].endswith("of the other half")
    assert {*record["rows"][0]["sources"]} == {"val", "test"}
    assert all(len(row["thresholds"]) == 2 and "PxAP" not in row for row in record["rows"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data", "voc:x"), "data: expected READER:FOLDER"),
        (("--data", "cub:no-such-folder"), "no-such-folder"),
        (("--choose", "cub:x"), "--choose: expected --data, --thresholds or --search with it"),
        (("--data", "cub:x", "--pictures", "y"), "--data: expected no --search"),
    ],
)
def test_quality_refuses(options, message, run, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("benchmarks.quality", *options)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_thresholds(run, folder, few_methods, tmp_path, capsys):
    written = miniature.write_wsolevaluation(tmp_path / "data")
    (written.metadata / "val/images").symlink_to(written.root)
    chosen = f"wsolevaluation:{written.metadata}/val"
    options = ("--scenes", 1, "--folder", folder, "--out", tmp_path / "out")
    run("benchmarks.quality", "--thresholds", "--choose", chosen, *options)
    printed = capsys.readouterr().out
    lines = [re.split(r" *\| *", line)[1:-1] for line in printed.splitlines() if "|" in line]
    for name, method in few_methods.items():
        found = [line for line in lines if line[0] == name]  # by box accuracy, by MaxBoxAccV2
        assert len(found) == 2
        for _, best, close, *accuracies, default, at_default, _ in found:
            low, high = close.split(" to ")
            assert float(low) <= float(best) <= float(high)
            assert float(default) == method.threshold
            assert len(accuracies) == 2
            assert 0 <= float(at_default) <= 100
    assert not (tmp_path / "out").exists()


def test_search(run, folder, capsys, monkeypatch):
    for settings in ("scg_settings", "crf_settings"):
        every = getattr(search, settings)
        few = lambda network, every=every: dict([*every(network).items()][-1:])  # noqa: E731
        monkeypatch.setattr(search, settings, few)
    run("benchmarks.quality", "--search", "--scenes", 1, "--folder", folder)
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["MaxBoxAccV2", "PxAP", "Peak-IoU"]
    assert [line.split()[3] for line in lines] == ["scg,", "scg,"]


@pytest.fixture
def pairs(tmp_path):
    """Two data sets of two photographs: an animal once, and twice beside each other."""
    lists = {
        "image_ids": ["one.png", "two.png"],
        "class_labels": ["one.png,0", "two.png,0"],
        "image_sizes": ["one.png,90,60", "two.png,180,60"],
        "localization": ["one.png,0,0,79,59", "two.png,0,0,79,59", "two.png,90,0,169,59"],
    }
    with Image.open(photographs.FOLDER / "chelsea.png") as image:
        cat = image.resize((90, 60))
    for split, one in (("test", cat), ("tune", ImageOps.mirror(cat))):
        both = Image.new("RGB", (180, 60))
        for x in (0, 90):
            both.paste(one, (x, 0))
        folder = tmp_path / "pairs" / split
        (folder / "images").mkdir(parents=True)
        one.save(folder / "images/one.png")
        both.save(folder / "images/two.png")
        for name, lines in lists.items():
            (folder / f"{name}.txt").write_text("\n".join(lines))
    return [f"wsolevaluation:{tmp_path / 'pairs' / split}" for split in ("test", "tune")]


def test_instances(run, pairs, tmp_path, capsys):
    file, (test, tune) = tmp_path / "instances.json", pairs
    run("benchmarks.quality.instances", "--data", test, "--methods", "scg", "--json", file)
    record = json.loads(file.read_text())
    assert_complete(record)
    assert_about_this_machine(record)
    assert (record["data"], record["choose"]) == ({"pairs/test": 2}, {})
    assert record["command"].endswith("/pairs/test --methods scg")
    assert str(tmp_path.parent) not in file.read_text()
    assert [*record["results"]["scg"]] == ["several boxes", "one box"]
    for results in record["results"]["scg"].values():
        assert [result["row"] for result in results] == [*objects.ROWS]
        assert {result["threshold"] for result in results} == {
            wsolrefine.localization.methods.METHODS["scg"].threshold
        }
        (baseline,) = [r for r in results if r["row"] == objects.BASELINE]
        assert baseline["difference"] == baseline["difference error"] == 0
    printed = capsys.readouterr().out
    assert "scg, 1 images with several boxes" in printed
    assert printed.count(f"| {objects.BASELINE} ") == 2
    run("benchmarks.quality.instances", "--data", test, "--choose", tune, "--methods", "cam")
    assert "cam, 1 images with one box" in capsys.readouterr().out
    run("benchmarks.quality.instances", "--data", test, "--search", "--methods", "cam")
    assert "| prominence 0.3 " in capsys.readouterr().out
    for arguments in (["elsewhere"], [test, "--choose", test]):
        with pytest.raises(SystemExit, match="2"):
            run("benchmarks.quality.instances", "--data", *arguments)
    message = capsys.readouterr().err
    assert "error: data: expected READER:FOLDER" in message
    assert "error: choose: expected other images than those measured" in message


def test_boxes_are_matched_one_to_one():
    left, right = [0.0, 0.0, 4.0, 4.0], [4.0, 0.0, 8.0, 4.0]
    both, near = [0.0, 0.0, 8.0, 4.0], [0.0, 0.0, 4.0, 3.0]
    map, none = torch.zeros(1, 4, 8), torch.zeros(0, 4)

    def counted(found, true):
        boxes = torch.tensor(found).reshape(-1, 4)
        photograph = objects.Photograph(map, torch.tensor(true))
        return objects.count(lambda _: boxes, [photograph])[0].tolist()

    assert counted([left, right], [left, right]) == [2, 2, 2]
    assert counted([left, near], [left]) == [1, 2, 1]  # a true box counts once
    assert counted([both], [left, right]) == [1, 1, 2]  # at IoU 0.5, but only one of them
    assert counted([near, left], [left, right]) == [1, 2, 2]
    assert counted([], [left]) == [0, 0, 1]
    sums = torch.tensor([[3.0, 4, 8], [0, 0, 0]], dtype=torch.float64)
    assert objects.scores(sums).T.tolist() == [[100 * 3 / 8, 75, 50], [0, 0, 0]]
    assert none.shape == objects.ROWS["instances"](map, 0.5).shape
    for row, boxes in objects.ROWS.items():
        assert boxes(map, 0.5).shape == (0, 4), row
        assert boxes(map + 1, 0.5).tolist() == [both], row


def test_boundaries(run, folder, tmp_path):
    run("benchmarks.boundaries", "--scenes", 1, "--folder", folder, "--out", tmp_path)
    record = json.loads((tmp_path / "boundaries.json").read_text())
    assert_complete(record)
    assert_about_this_machine(record)
    assert len(record["rows"]) == 12
    assert {*record["rows"][0]} == {"method", *boundaries.COLUMNS}


@pytest.fixture
def few_trainings(monkeypatch):
    """Train a row or two of each part only."""
    for part in ("spa", "csoa"):
        monkeypatch.setitem(rows.PARTS, part, rows.PARTS[part][-1:])
    of_spol = rows.PARTS["spol"]
    kept = [t for t in of_spol if rows.WITHOUT_SEGMENTATION in t.rows] + of_spol[-1:]
    monkeypatch.setitem(rows.PARTS, "spol", kept)
    monkeypatch.setattr(ornet, "STAGE_ONE", {"stage one": {}})
    monkeypatch.setattr(ornet, "COMPONENTS", {"all": {}})
    monkeypatch.setattr(distillation, "TEACHERS", ("scg",))
    monkeypatch.setattr(distillation, "RUNS", 0)
    monkeypatch.setattr(edges, "ROWS", {"SEM, vanilla": edges.ROWS["SEM, vanilla"]})


OF_ORNET = ("--ornet-train", 20, "--ornet-refine", 12)
OF_DISTILL = ("--distill-train", 16, "--distill-times", 2)
FEW = ("--train", 32, "--epochs", 2, "--batch", 4, *OF_ORNET, *OF_DISTILL)


def test_recipes(run, folder, few_trainings, tmp_path, capsys):
    edge_options = ("--edge-train", 4, "--edge-epochs", 1, "--edge-tests", 2)
    common_options = (*FEW, "--scenes", 3, *edge_options, "--folder", folder, "--out", tmp_path)
    common_options = (*common_options, "--cache", tmp_path / "cache")
    run("benchmarks.recipes", "--parts", "cam", "--seeds", 2, *common_options)
    first = json.loads((tmp_path / "recipes.json").read_text())["parts"]["cam"]

    def cached():
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}

    files = cached()
    assert len(files) == 3
    every = ("cam", "spa", "csoa", "spol", "ornet", "distill", "edges")
    run("benchmarks.recipes", "--parts", *every, "--seeds", 1, *common_options)
    with_maps = cached()
    assert len(with_maps) == 6  # those of the teacher, too
    assert with_maps.items() >= files.items()
    run("benchmarks.recipes", "--parts", "distill", "--seeds", 1, "--anew", *common_options)
    assert cached() == with_maps
    record = json.loads((tmp_path / "recipes.json").read_text())
    assert_about_this_machine(record)
    assert str(tmp_path.parent) not in json.dumps(record)
    assert record["classes"] == ["animals", "vehicles"]
    assert record["images"] == {"train": 32, "validation": 3, "test": 3}
    assert [*record["parts"]] == [*every]
    assert record["parts"]["cam"] == first  # done before
    for part in record["parts"].values():
        assert_complete(part)
    capsys.readouterr()
    run("benchmarks.recipes", "--parts", "cam", "--seeds", 3, *common_options)
    assert "cam: 2 seeds are in the record" in capsys.readouterr().err
    went_on = json.loads((tmp_path / "recipes.json").read_text())["parts"]["cam"]
    assert went_on["seeds"] == len(went_on["rows"]["CAM"]) == 3
    assert went_on["rows"]["CAM"][:2] == first["rows"]["CAM"]
    text = (tmp_path / "recipes.md").read_text()
    assert text.count("commit ") == 7
    assert "(distill_train 16, distill_times 2, version " in text
    assert "| SPA, RAM and SCG " in text
    assert text.count(" ± ") == 5  # the columns of the CAM


def test_recipes_on_photographs(run, few_trainings, tmp_path):
    for seed, name in enumerate(("birds", "cows")):
        written = miniature.write_wsolevaluation(tmp_path / "data" / name, seed=seed)
        for split in ("val", "test"):
            written.metadata.joinpath(split, "images").symlink_to(written.root)
    every = f"wsolevaluation:{tmp_path}/data/*/metadata/CUB"
    data = ("--photographs-train", f"{every}/val", "--photographs-test", f"{every}/test")
    groups = ("--group", "birds=birds", "--group", "cows=other mammals")
    options = (*data, *groups, "--seeds", 1, "--out", tmp_path / "out")
    parts = ("cam", "spa", "csoa", "spol", "ornet", "distill")
    run("benchmarks.recipes", "--parts", *parts, *FEW, *options)
    record = json.loads((tmp_path / "out/recipes_photographs.json").read_text())
    assert_about_this_machine(record)
    assert str(tmp_path.parent) not in json.dumps(record)
    assert record["command"].endswith("--group birds=birds --group 'cows=other mammals'")
    assert record["classes"] == ["birds", "other mammals"]
    assert record["images"] == {"train": 32, "validation": 8, "test": 8}
    assert [*record["parts"]] == [*parts]
    assert "PxAP" not in record["parts"]["cam"]["rows"]["CAM"][0]
    assert "PxAP" not in (tmp_path / "out/recipes_photographs.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--photographs-test", "cub:x"), "root: expected a folder, got x"),
        (("--photographs-train", "voc:x"), "data: expected READER:FOLDER"),
        (("--photographs-train", "cub:x", "--pictures", "y"), "--pictures: expected scenes"),
        (("--photographs-train", "cub:x", "--parts", "edges"), "expected parts without masks"),
    ],
)
def test_recipes_refuse(options, message, run, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("benchmarks.recipes", *options)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def functions_of_tensors():
    for name in dir(wsolrefine):
        found = getattr(wsolrefine, name)
        if isinstance(found, FunctionType) and ".functional." in found.__module__:
            yield name


def test_speed(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scg, "SHAPES", [(2, 8, 8), (1, 8, 12)])
    monkeypatch.setattr(label_spreading, "CASES", [(2, "EfficientNet-Lite0", 3, 7)])
    monkeypatch.setattr(pamr, "SHAPES", [(2, 1, 28)])
    monkeypatch.setattr(conv_crf, "CASES", [(2, 2, 20, 5)])
    monkeypatch.setattr(gppl, "CASES", [(2, 28, 28)])
    monkeypatch.setattr(activation_speed, "SIDE", 64)
    for name, size in {"BATCH": 2, "CHANNELS": 8, "GRID": 7, "SIDE": 28}.items():
        monkeypatch.setattr(functions, name, size)
    run("benchmarks.speed", "--runs", 0, "--threads", 1, "--json", tmp_path / "speed.json")
    record = json.loads((tmp_path / "speed.json").read_text())
    assert_complete(record)
    assert_about_this_machine(record)
    (of_scg,) = record["results"]["scg"]  # --runs 0 tries the first case
    assert of_scg["shape"] == [2, 8, 8, 8]
    assert {"scg", "closed", "released"} < {*of_scg["milliseconds"]}
    (spreading,), (refined,) = record["results"]["label_spreading"], record["results"]["pamr"]
    assert {*spreading["milliseconds per image"]} == {"label_spreading", "products", "cholesky"}
    assert spreading["floor"] in ("products", "cholesky")
    assert spreading["label_spreading / floor"] > 0
    assert {*refined["milliseconds per image"]} == {"pamr", "floor", "copies"}
    assert min(refined["pamr / floor"], refined["copies / pamr"]) > 0
    (crf,), (gaussian,) = record["results"]["conv_crf"], record["results"]["gppl"]
    assert {*crf["milliseconds per image"]} == {"conv_crf", "plain"}
    assert crf["plain / conv_crf"] > 0
    assert gaussian["gppl_released / gppl"] > 1
    (forward,) = record["results"]["class_activation"]
    assert forward["class_activation / forward"] > 0
    timed = [row["function"] for row in record["results"]["functions"]]
    assert timed == sorted(functions_of_tensors())
    assert [row["metric"] for row in record["results"]["evaluate"]] == ["MaxBoxAcc", "MaxBoxAccV2"]
    assert "MaxBoxAccV2" in capsys.readouterr().out
    text = (tmp_path / "speed.md").read_text()
    assert text == render_speed(record)
    assert f"commit {record['commit']}" in text or record["commit"] is None


def test_the_tables_of_speed_say_what_is_divided_by_what_and_times_of_what():
    of_images = {"shape": [2, 3], "milliseconds per image": {"a": 1.0}, "a / b": 0.5, "runs": 5}
    of_maps = {"milliseconds per map": {"loop": 4.0, "OpenCV": 2.0}, "loop / fast": {"OpenCV": 2.0}}
    batches = {"milliseconds": {"scg": 3.0}, "extra MB": 1.5}
    results = {"pamr": [of_images], "evaluate": [of_maps], "scg": [batches]}
    text = render_speed({"command": "c", "seconds": 60, "threads": 1, "results": results})
    heads = [line for line in text.split("\n") if line.startswith("|")][::3]
    assert [[cell.strip() for cell in head.strip("|").split("|")] for head in heads] == [
        ["scg, ms", "extra MB"],
        ["shape", "a, ms per image", "a / b"],
        ["loop, ms per map", "OpenCV, ms per map", "loop / OpenCV"],
    ]


def test_the_table_of_a_gpu():
    found = {"milliseconds": 2.0, "next to": "floor", "its milliseconds": 1.0, "ratio": 2.0}
    row = {"function": "scg", "shape": [1, 2, 3], "precision": "TF32", "call": found | {"runs": 5}}
    replayed = {"replayed": found | {"milliseconds": 1234.5, "ratio": 1.234}}
    record = {
        "command": "c",
        "seconds": 60,
        "threads": 1,
        "results": {"gpu": [row, row | replayed]},
    }
    lines = [
        [cell.strip() for cell in line.split("|")] for line in render_speed(record).split("\n")
    ]
    assert ["", "`scg`", "1 x 2 x 3", "TF32", "floor", "2", "2.00", *[""] * 5] in lines
    assert [
        "",
        "`scg`",
        "1 x 2 x 3",
        "TF32",
        "floor",
        *["2", "2.00"],
        *["1234", "1.23"],
        *[""] * 3,
    ] in lines


def scale_record(**changed):
    """Return a record of two sizes, with rates that are easy to reckon with."""
    rates = [
        {
            "images": name,
            "method": "cam",
            "milliseconds": {"floor": 30.0, "label": 36.0, "two": 20.0, "refine": 45.0},
            "label / floor": 1.2,
            "label / two": 1.8,
            "refine / floor": 1.5,
            "bytes": 1000.0,
        }
        for name in ("small", "large")
    ]
    known = {"command": "c", "version": "1", "images": 8, "runs": 1, "seconds": 60}
    start = {"Ray": 5.0, "first row": 3.0}
    memory = [{"rows": 1000, "megabytes": 99.0}]
    return {**known, "start": start, "rates": rates, "memory": memory, **changed}


def test_the_cost_is_computed_from_the_rates(tmp_path, capsys, monkeypatch):
    record = scale_record()
    rate = record["rates"][0]
    assert cost.hours(rate, 1_000_000, 1) == pytest.approx(10)
    assert cost.hours(rate, 1_000_000, 2) == pytest.approx(10 / 1.8)  # as measured
    assert cost.hours(rate, 1_000_000, 8) == pytest.approx(10 / (8 * 0.9))
    text = render_scale(record)
    assert cost.cost_table(record) in text
    assert "computed, not measured" in text
    (tmp_path / "scale.json").write_text(json.dumps(record))
    options = ["--images", "1000000", "--record", str(tmp_path / "scale.json")]
    monkeypatch.setattr(sys, "argv", ["cost", *options])
    cost.main()
    head, _, line, *_ = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in head.split("|")[2:4]] == ["1 core", "2 cores"]
    assert re.split(r" *\| *", line)[1:-1] == [
        "small",
        "10.0 h",
        "5.6 h",
        "1.4 h",
        "0.2 h",
        "1.00 GB",
    ]
    monkeypatch.setattr(sys, "argv", ["cost", "--record", str(tmp_path / "none.json")])
    with pytest.raises(SystemExit, match="2"):
        cost.main()


def test_rows_are_compared():
    whole = [(("a", 1), b"x"), (("b", 1), b"y")]
    counts = {"lost": 0, "twice": 0, "more": 0, "different": 0}
    assert compared(whole, whole[::-1]) == counts
    other = [(("a", 1), b"z"), (("a", 1), b"z"), (("c", 1), b"y")]
    assert compared(whole, other) == {"lost": 1, "twice": 1, "more": 1, "different": 1}


# What they record ---------------------------------------------------------------------------------


def test_the_commit_says_whether_files_were_changed(monkeypatch):
    answers = {"rev-parse": "0123456789ab", "status": ""}
    monkeypatch.setattr(common, "_git", lambda command, *rest: answers[command])
    assert common.commit() == "0123456789ab"
    answers["status"] = " M wsolrefine/models.py"
    assert common.commit() == "0123456789ab+changes"
    answers["rev-parse"] = None
    assert common.commit() is None


def test_a_record_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    path = tmp_path / "results/record.json"
    common.write_json(path, {"seed": 0})
    with pytest.raises(TypeError, match="not JSON serializable"):
        common.write_json(path, {"seed": object()})
    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        common.write_json(path, {"seed": 1})
    assert json.loads(path.read_text()) == {"seed": 0}
    assert [*path.parent.iterdir()] == [path]


RENDER = {
    "recipes": render_recipes,
    "scale": render_scale,
    "scale_kills": render_kills,
    "speed": render_speed,
}


def test_the_tables_of_all_results_are_those_of_their_json():
    versions = [path for path in (ROOT / "benchmarks/results").iterdir() if path.is_dir()]
    assert ROOT / "benchmarks/results" / wsolrefine.__version__ in versions
    for path in (path for version in versions for path in version.glob("*.json")):
        record = json.loads(path.read_text("utf-8"))
        kind = next(
            (kind for kind in ("recipes", "speed") if path.stem.startswith(kind)), path.stem
        )
        render = RENDER.get(kind, render_quality)
        text = render(record)
        assert path.with_suffix(".md").read_text("utf-8") == text
    for path in (path for version in versions for path in version.glob("*.md")):
        assert path.with_suffix(".json").exists() or "Not measured yet" in path.read_text("utf-8")


# What they import ---------------------------------------------------------------------------------

ALLOWED = {"wsolrefine.metrics._contours"}
"""Private, but only there can the two ways to count boxes be chosen from."""


def private_imports(text):
    """Return what a file imports from the command, or from private modules of the package."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            package, *parts = name.split(".")
            private = any(re.match(r"cli$|_(?!_)", part) for part in parts)
            if package == "wsolrefine" and private:
                found.add(name)
    return found - ALLOWED


@pytest.mark.parametrize(
    "path",
    [*FILES, *sorted((ROOT / "docs").rglob("*.py"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_benchmarks_and_images_use_the_public_api(path):
    assert not private_imports(path.read_text("utf-8"))


def test_a_private_import_is_seen():
    assert private_imports("from wsolrefine.cli.maps import REFINE")
    assert private_imports("def f():\n    import wsolrefine.functional._grid")
    assert private_imports("from wsolrefine import cli")
    assert private_imports("from wsolrefine.recipes._recipe import map_of")
    assert not private_imports("from wsolrefine import __version__, scg")
    assert not private_imports("from wsolrefine.metrics import _contours, count_box_hits")
