"""What the pages of recipes and modules show: code that runs, commands with options that exist."""

import inspect
import re
import shlex
from pathlib import Path

import pytest
import torch

from tests.support import photographs
from tests.support.backbones import one_thread  # noqa: F401
from tests.support.small_recipes import HARMLESS
from wsolrefine.recipes._settings import check_settings
from wsolrefine.recipes.checkpoint import RECIPES

PAGES = sorted(
    page
    for name in ("recipes", "nn")
    for page in (Path(__file__).parents[2] / "docs" / name).iterdir()
)
every_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}"
)


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)


@pytest.mark.filterwarnings(*(f"ignore:{message}" for message in HARMLESS))
@every_page
def test_the_code_of_the_page_runs(page, tmp_path, monkeypatch):
    """Blocks of a page go on with what those before them made."""
    monkeypatch.chdir(tmp_path)
    photographs.known_layers(monkeypatch)
    torch.manual_seed(0)
    names = {}
    for code in blocks(page, "python"):
        quiet = "Trainer(accelerator='cpu', logger=False, enable_checkpointing=False, "
        exec(code.replace("Trainer(", f"{quiet}enable_progress_bar=False, "), names)


@every_page
def test_the_commands_of_the_page_name_what_there_is(page):
    pytest.importorskip("typer")
    from wsolrefine.cli.train import overrides

    for command in " ".join(blocks(page, "bash")).replace("\\\n", " ").splitlines():
        words = shlex.split(command)
        if words[:2] != ["wsolrefine", "train"]:
            continue
        known = overrides.parameters(RECIPES[words[2]])
        settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
        for name, value in (setting.split("=") for setting in settings):
            check_settings({name: overrides.parse(value, known[name])})
        options = {word for word in words if word.startswith("-")} - {"--set"}
        typer = pytest.importorskip("typer")
        from wsolrefine.cli import app

        known = typer.main.get_command(app).commands["train"].params
        assert options <= {option for parameter in known for option in parameter.opts}


@pytest.mark.parametrize("name", RECIPES)
def test_the_page_of_a_recipe_has_the_paper_s_settings_for_both_data_sets(name):
    page = next(page for page in PAGES if page.stem == name)
    commands = "".join(blocks(page, "bash"))
    assert f"wsolrefine train {name} -d cub " in commands
    assert f"wsolrefine train {name} -d ilsvrc " in commands
    text = page.read_text("utf-8")
    assert f"::: wsolrefine.recipes.{RECIPES[name].__name__}\n" in text


@pytest.mark.parametrize("name", RECIPES)
def test_the_keywords_that_the_page_explains_exist(name):
    """The third column of the table from paper to code, and the settings in the text."""
    recipe = RECIPES[name]
    known = {*inspect.signature(recipe).parameters}
    page = next(page for page in PAGES if page.stem == name)
    shown = set(re.findall(r"`(\w+)=[\w.\"]+`", page.read_text("utf-8")))
    assert shown
    assert shown <= known
    for method in re.findall(r"`recipe\.(\w+)`", page.read_text("utf-8")):
        made = ("head", "auxiliary_head", "shallow", "generator", "edges", "threshold", "epochs")
        assert hasattr(recipe, method) or method in made
