"""What cannot be loaded is one line, the same in all commands, and says which option to change."""

import sys

import pytest
import torch
import typer
from PIL import Image

from tests.cli.test_evaluate import save_map, write_lists
from tests.cli.test_wrong_values import MODEL
from tests.support import photographs
from tests.support.command import invoke
from tests.support.command import run_command as call
from wsolrefine import Localizer
from wsolrefine.cli import guard
from wsolrefine.cli.loading import RecipeHeader, load_localizer
from wsolrefine.localization.methods import CAM_ALONE, METHODS
from wsolrefine.recipes import RecipeMetadata

# Packages -----------------------------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A package whose import fails as that of torchvision does without its operators."""
    (tmp_path / "broken_package").mkdir()
    (tmp_path / "broken_package/__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist\\nand more')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.parametrize(
    ("command", "module"),
    [
        (["demo"], "wsolrefine.cli.demo.photograph"),
        (["refine", "x.png"], "wsolrefine.cli.refine.loop"),
        (["evaluate", "-d", "cub", "--root", ".", "--maps", "."], "wsolrefine.cli.evaluate.counts"),
    ],
)
def test_a_broken_package_is_named(broken, tmp_path, monkeypatch, command, module):
    monkeypatch.chdir(tmp_path)
    for name in list(sys.modules):
        if name == module:
            monkeypatch.delitem(sys.modules, name)
    parent, _, name = module.rpartition(".")
    monkeypatch.delattr(sys.modules[parent], name, raising=False)

    class Finder:
        @staticmethod
        def find_spec(wanted, path=None, target=None):
            if wanted == module:
                import broken_package  # noqa: F401

    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    said = call(*command, code=1)
    expected = (
        "Error: the package broken_package cannot be imported "
        "(RuntimeError: operator torchvision::nms does not exist)\n"
    )
    assert said.endswith(expected)


def test_an_error_of_this_package_keeps_its_traceback(monkeypatch):
    def wrong(*_, **__):
        raise KeyError("a mistake")

    monkeypatch.setattr("wsolrefine.cli.demo.command.check_threshold", wrong)
    with pytest.raises(KeyError, match="a mistake"):
        call("demo", code=1)
    assert guard.broken_package(ImportError("x", name="scipy.signal")) == "scipy"
    assert guard.broken_package(ImportError("x", name="wsolrefine.nothing")) is None


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero, own_broken.py line 1"),
        ("def build(:", "SyntaxError: "),
        ("import no_such_thing", "No module named 'no_such_thing'"),
        ("build = 5", "own_broken:build: "),
        ("def build():\n    raise KeyError('x')", "KeyError: 'x', own_broken.py line 2"),
        ("def build():\n    raise SystemExit(0)", "SystemExit"),
        ("def build():\n    return [][1]", "IndexError"),
        ("def build():\n    import later_on", "No module named 'later_on'"),
    ],
)
def test_an_error_of_the_users_code_is_one_line_with_its_place(
    tmp_path, monkeypatch, code, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_broken", raising=False)
    (tmp_path / "own_broken.py").write_text(code)
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    for start in (
        ["refine", "a.png"],
        ["evaluate", "-d", "wsolevaluation", "--metadata", "lists", "--root", "."],
    ):
        write_lists(tmp_path / "lists", {"a.png": (0, (9, 9), [(1, 1, 5, 5)])})
        result = invoke(*start, "--model", "own_broken:build")
        assert result.exit_code in (1, 2)
        assert isinstance(result.exception, SystemExit), result.exception
        assert message in result.output
        assert result.output.count("\n") == 1
        sys.modules.pop("own_broken", None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../own:build", "expected the full name of a module, got '../own'"),
        (".own:build", "expected the full name of a module, got '.own'"),
        ("json:__name__", "to be callable or a Classifier, got str 'json'"),
        ("json:__path__", "to be callable or a Classifier, got list"),
    ],
)
def test_a_model_that_is_no_name_of_a_callable_is_one_line(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    said = call("refine", "a.png", "--model", name, code=2)
    assert said.startswith(f"Error: --model {name}: ")
    assert message in said
    assert said.count("\n") == 1


def test_a_recipe_whose_library_is_missing_is_one_line(tmp_path, monkeypatch, capsys):
    def load(*_, **__):
        raise ImportError("torchvision:resnet18 needs the package torchvision; install it")

    metadata = RecipeMetadata("torchvision:resnet18", ("layer4",), (512,), 2, recipe="spa")
    header = RecipeHeader(tmp_path / "spa.safetensors", metadata, "0")
    monkeypatch.setattr("wsolrefine.recipes.load_recipe", load)
    with pytest.raises(typer.Exit) as stopped:
        load_localizer(None, header, None, None, "cpu")
    assert stopped.value.exit_code == 1
    said = "Error: --recipe: torchvision:resnet18 needs the package torchvision; install it\n"
    assert capsys.readouterr().err == said


# Data sets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "options", "missing"),
    [
        ("cub", {"root": "wrong"}, "images.txt"),
        ("ilsvrc", {"root": "wrong"}, None),
        ("wsolevaluation", {"metadata": "wrong"}, "image_ids.txt"),
    ],
)
def test_the_wrong_folder_of_a_data_set_names_its_option(
    tmp_path, monkeypatch, dataset, options, missing
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong").mkdir()
    (tmp_path / "maps").mkdir()
    given = [text for name, value in options.items() for text in (f"--{name}", value)]
    said = call("evaluate", "-d", dataset, "--maps", "maps", *given, code=1)
    (option,) = options
    if missing:
        assert f"--{option}: expected a folder of this data set, got wrong" in said
        assert f"has no {missing}" in said
    else:
        assert "Error: --root: expected a folder with LOC_synset_mapping.txt, got wrong" in said


def test_the_wrong_folder_of_the_other_split_names_its_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_lists(tmp_path / "lists", {"a.png": (0, (9, 9), [(1, 1, 5, 5)])})
    (tmp_path / "wrong").mkdir()
    arguments = ["-d", "wsolevaluation", "--metadata", "lists", "--maps", "lists"]
    said = call("evaluate", *arguments, "--threshold-from", "wrong", code=1)
    assert "--threshold-from: expected a folder of this data set, got wrong" in said


# The protocol -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_only_layers_that_are_used_are_named(name, monkeypatch):
    with photographs.shared(monkeypatch):
        localizer = Localizer(photographs.classifier(), refine=name)
        localizer.class_maps(torch.rand(1, 3, 64, 64))
    assert (" on " in localizer.title) == (name not in CAM_ALONE)


@pytest.mark.parametrize("method", ["cam", "gppl", "confseg"])
def test_layers_without_effect_are_refused(tmp_path, monkeypatch, method):
    monkeypatch.chdir(tmp_path)
    save_map(tmp_path, "a.png", [[1.0]])
    options = ["--method", method, "--layer", "0", "--model", MODEL]
    message = f"--layer: --method {method} does not use it"
    assert message in call("refine", "a.png", *options, code=2)
    evaluate = ["evaluate", "-d", "cub", "--root", ".", *options]
    assert message in call(*evaluate, code=2)
