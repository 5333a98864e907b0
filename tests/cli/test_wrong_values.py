"""Every option of every command, with a table of wrong values: one line, and no traceback."""

import os
import sys
import types

import numpy as np
import pytest
import typer
from PIL import Image
from torch import nn

from tests.cli.test_evaluate import save_map, write_lists
from tests.support import photographs, plots, zoo
from tests.support.command import invoke
from wsolrefine import OnnxDifferences
from wsolrefine.cli import app, guard
from wsolrefine.cli.refine.coco import Results, file_identity
from wsolrefine.localization import onnx_file

COMMANDS = typer.main.get_command(app).commands
MODEL = "tests.cli.test_wrong_values:model"
PATHS = [
    *("", " ", "\0", "x" * 300, "x/" * 2500, "/dev/null", "/dev/null/x", "/proc/self/mem", "pipe"),
    *("file", "file/x", "link", "link/x", "\x1b[31mred", "\udcff"),
]
WRONG = [
    *PATHS,
    *("None", "[]", "{}", "top0", "a,,b", "x=1", "=", "x", "photos/../lists", "~", "*", "[red]"),
    *("-1", "0", "1.5", "nan", "-inf", "1e400", "10000000", "9" * 400, "0x10", "1_0", "\u00b2"),
    *("%s", "a:b", "timm:", "timm:x", "torchvision:x", ":", "no.such:thing", "json:loads"),
]


def model():
    def make():
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
        return nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), *head)

    return zoo.seeded(make)


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    with photographs.shared(monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("wsolrefine.cli.demo.command.PHOTOGRAPHS", ("coffee.png",))
        plots.left_out(monkeypatch)
        no_onnx(monkeypatch)
        os.mkfifo("pipe")
        (tmp_path / "link").symlink_to("link")
        (tmp_path / "file").write_text("{}")
        for name in ("a", "b"):
            path = tmp_path / f"photos/{name}/{name}.png"
            path.parent.mkdir(parents=True)
            Image.new("RGB", (9, 9), name == "a" and "red").save(path)
            save_map(tmp_path / "maps", f"{name}/{name}.png", np.eye(9))
        save_results(tmp_path / "results", tmp_path / "photos/a/a.png")
        truth = {"a/a.png": (0, (9, 9), [(1, 1, 5, 5)]), "b/b.png": (1, (9, 9), [(1, 1, 5, 5)])}
        write_lists(tmp_path / "lists", truth)
        yield


def no_onnx(monkeypatch):
    """Leave out what takes seconds of an export, and keep no file, so that the next may be new."""

    def save_and_remove(localizer, path, **options):
        differences = onnx_file.save_onnx(localizer, path, **options)
        path.unlink()
        return differences

    def save(path, external_data):
        path.write_text("")

    model = types.SimpleNamespace(metadata_props={})
    program = types.SimpleNamespace(model=model, save=save)
    none = OnnxDifferences(0.0, 0.0, 0.0)
    monkeypatch.setattr("wsolrefine.cli.export_model.run.save_onnx", save_and_remove)
    monkeypatch.setattr(onnx_file, "require_packages", lambda: None)
    monkeypatch.setattr(onnx_file, "exported", lambda graph, images: program)
    monkeypatch.setattr(onnx_file, "compared", lambda *arguments: none)


def save_results(folder, image):
    """Write what ``refine`` writes of one image without an object."""
    folder.mkdir()
    results = Results(folder, {"method": "scg", "threshold": 0.4, "parts": "largest"})
    known = {"file_name": image.name, "width": 9, "height": 9, "files": [], "annotations": []}
    results.add([known | file_identity(image, folder)])
    results.write()


LISTS = ("-d", "wsolevaluation", "--metadata", "lists", "--root", "photos")
TRAIN = [
    *("spol", "--out", "out", "--backbone", MODEL, "-d", "folder", "--root", "photos"),
    *("--size", "16", "--crop", "16", "--set", "width=4", "--set", "cam_epochs=1"),
    *("--set", "segmentation_epochs=1", "--set", "stages=1"),
]
VALID = {
    "train": TRAIN,
    "demo": ["--out", "out"],
    "refine": ["photos", "--out", "out", "--model", MODEL],
    "export": ["results", "--to", "coco", "--out", "out", "--images", "none"],
    "layers": [MODEL],
    "evaluate": [*LISTS, "--out", "out", "--model", MODEL, "--size", "9", "--step", "0.5"],
    "report": ["results", "--out", "out"],
    "export-model": ["photos", "--model", MODEL, "--out", "out"],
    "compare": ["photos", "--out", "out", "--model", MODEL, "--methods", "scg"],
    "evaluate --maps": [*LISTS, "--out", "out", "--maps", "maps", "--step", "0.5"],
}


def options():
    for call in VALID:
        for option in COMMANDS[call.split()[0]].params:
            flag = getattr(option, "is_flag", False) or option.param_type_name == "argument"
            if not flag and option.name != "help":
                yield call, option.opts[0]


def run(*arguments):
    result = invoke(*arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.output
    assert not {c for c in result.output if not c.isprintable()} - {"\n"}
    return result


@pytest.mark.parametrize("call", VALID)
def test_the_values_around_a_wrong_one_are_right(call):
    done = run(call.split()[0], *VALID[call])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(("call", "option"), [*options()], ids=str)
def test_an_option_with_a_wrong_value(call, option, tmp_path):
    before = set(tmp_path.iterdir())
    for value in PATHS if option == "--out" else WRONG:
        done = run(call.split()[0], *VALID[call], option, value)
        assert done.exit_code in (0, 1, 2), (value, done.output)
        if not value.strip():
            assert done.exit_code == 2, (value, done.output)
            assert set(tmp_path.iterdir()) <= {*before, tmp_path / "out"}
        if done.exit_code:
            said = [line for line in done.output.splitlines() if "rror" in line]
            assert said or "could not be used" in done.output, (value, done.output)
    assert (tmp_path / "file").read_text() == "{}"


@pytest.mark.parametrize("name", ["COLUMNS", "LINES", "TERMINAL_WIDTH"])
@pytest.mark.parametrize("size", ["0", "00", "", "-1", "x", "\u00b2", "9" * 20, "9" * 5000])
def test_a_terminal_without_a_size_hides_no_error(name, size, monkeypatch):
    monkeypatch.setenv(name, size)
    monkeypatch.delitem(sys.modules, "typer.rich_utils", raising=False)  # which reads one at once
    for arguments in (["refine", "missing.png"], ["refine", "--threshold", "x"], ["nothing"]):
        done = run(*arguments)
        assert done.exit_code == 2
        assert "rror" in done.output


@pytest.mark.parametrize("backend", [None, "", "foo", "qtagg"])
def test_commands_draw_to_files_whatever_backend_is_chosen(backend, monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)
    if backend is not None:
        monkeypatch.setenv("MPLBACKEND", backend)
    seen = []
    monkeypatch.setattr(
        guard, "ignore_configuration", lambda: seen.append(os.environ["MPLBACKEND"])
    )
    assert run("refine", "missing.png").exit_code == 2
    assert seen == ["agg"]
    assert os.environ.get("MPLBACKEND") == backend


@pytest.mark.parametrize("value", WRONG)
def test_an_image_with_a_wrong_name(value):
    done = run("refine", "--out", "out", "--model", MODEL, "--", value)
    assert done.exit_code in (0, 1, 2)
