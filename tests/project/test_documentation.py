"""Names, pages, references and pictures; the commands and the code that README and pages show."""

import ast
import inspect
import pydoc
import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import Dataset
from torchmetrics import Metric

import wsolrefine
from tests.activation.test_find_layers import FAMILIES
from tests.support import photographs, zoo
from wsolrefine.activation.layers import Layers, find_layers
from wsolrefine.functional._graphs import LOOPS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")

# Names, pages -------------------------------------------------------------------------------------

PARTS = ("viz", "metrics", "data", "losses", "nn", "recipes", "export")
# A page holds all of one idea.
SHARED_PAGES = {f"wsolrefine.{part}" for part in PARTS} - {"wsolrefine.viz"}
MODULES = ("wsolrefine", *(f"wsolrefine.{part}" for part in PARTS))
# The module of each public name; a name that two modules export is that of the first.
PUBLIC = {name: module for module in MODULES[::-1] for name in import_module(module).__all__}


def test_the_version_is_one_of_pep_440():
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", wsolrefine.__version__)


@pytest.mark.parametrize("name", PUBLIC)
def test_has_a_docstring_a_page_and_a_line_in_the_changelog(name):
    found = getattr(import_module(PUBLIC[name]), name)
    documentation = inspect.getdoc(found)
    assert documentation
    writes_files = name in ("contact_sheet", "save_recipe")
    if inspect.isfunction(found) and not writes_files:
        assert ">>> " in documentation
    pages = {page: page.read_text("utf-8") for page in (ROOT / "docs").rglob("*.md")}
    entry = re.compile(rf"^::: {re.escape(PUBLIC[name])}\.{name}$", re.M)
    own = [page for page, text in pages.items() if entry.search(text)]
    assert len(own) == 1
    if inspect.isclass(found) and issubclass(found, (Metric, Dataset)):
        assert ">>> " in documentation
    if inspect.isfunction(found) and PUBLIC[name] not in SHARED_PAGES:
        assert own[0].stem == name
        assert f"]({name}.md)" in pages[ROOT / "docs/functions/index.md"]
        assert f"functions/{name}.md" in (ROOT / "mkdocs.yml").read_text("utf-8")
    assert f"`{name}`" in (ROOT / "CHANGELOG.md").read_text("utf-8")


# References ---------------------------------------------------------------------------------------

ROLE = re.compile(r":([a-z:]+):`~?([^`]*)`")
ROLES = {"attr", "class", "data", "exc", "func", "meth", "mod"}
"""Those that docs/references.py turns into links."""


def docstrings(path):
    """Yield each docstring of a file, with the scopes in which its references are looked up."""
    module = import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    pending = [(ast.parse(path.read_text("utf-8")), [module])]
    while pending:
        node, scopes = pending.pop()
        yield ast.get_docstring(node) or "", scopes
        for child in node.body:
            if isinstance(child, ast.ClassDef):
                pending.append((child, [getattr(scopes[0], child.name), *scopes]))
            elif isinstance(child, ast.FunctionDef):
                pending.append((child, scopes))
            # A string below a name is its description.
            elif isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                yield str(child.value.value), scopes


def source(scope):
    return inspect.getsource(scope) if inspect.isclass(scope) else ""


def exists(name, scopes):
    if "." not in name:
        # An attribute of instances is one that a method assigns.
        assigned = re.compile(rf"\bself\.{name}\b[^=\n]*=")
        return any(hasattr(scope, name) or assigned.search(source(scope)) for scope in scopes)
    return pydoc.locate(name) is not None  # absolute, as in docs/references.py


@pytest.mark.parametrize(
    "path",
    [path for path in sorted((ROOT / "wsolrefine").rglob("*.py")) if path.name != "__main__.py"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_role_of_a_docstring_names_something(path):
    for text, scopes in docstrings(path):
        for kind, name in ROLE.findall(text):
            assert kind in ROLES
            assert exists(name, scopes), f":{kind}:`{name}`"


def test_a_broken_role_is_seen():
    scopes = [wsolrefine.Layers, import_module("wsolrefine.activation.layers")]
    assert exists("features", scopes)
    assert exists("find_stages", scopes)
    assert exists("wsolrefine.nn.FeatureList.forward", scopes)
    assert exists("wsolrefine.data.reader", scopes)
    assert not exists("Layers.features", scopes)
    assert not exists("find_stage", scopes)
    assert not exists("wsolrefine.nn.FeatureLists", scopes)
    assert not exists("wsolrefine.no_such_module.name", scopes)


def slug(heading):
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", sorted(path.name for path in ROOT.glob("*.md")))
def test_the_links_of_pages_outside_the_documentation_lead_somewhere(page):
    # Those within docs/ are checked by mkdocs.
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text("utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if re.match("https?:|mailto:", link):
            continue
        target, _, anchor = link.partition("#")
        path = ROOT / (target or page)
        assert path.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.M)
            assert anchor in map(slug, headings), link


def test_every_picture_is_shown_and_small():
    pictures = {path.name for path in (ROOT / "docs/img").iterdir()}
    text = README + "".join(page.read_text("utf-8") for page in (ROOT / "docs").rglob("*.md"))
    assert pictures == {Path(link).name for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)}
    sizes = [path.stat().st_size for path in (ROOT / "docs/img").iterdir()]
    assert max(sizes) < 60_001
    assert sum(sizes) < 35_000 * len(sizes)


def test_the_makefile_runs_the_commands_of_contributing():
    rows = re.findall(
        r"^\| `(.*)` \| `(\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.M
    )
    makefile = (ROOT / "Makefile").read_text("utf-8")
    rules = dict(re.findall(r"^(\w+):\n((?:\t.*\n)+)", makefile, re.M))
    assert [target for _, target in rows] == list(rules)
    for commands, target in rows:
        lines = [line.strip() for line in rules[target].splitlines()]
        assert lines == commands.replace("[NAME...]", "$(NAME)").split("`, `")


# What the README and the pages say ----------------------------------------------------------------


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def test_the_readme_has_the_three_commands():
    # .ci/run takes the second and the third from here.
    demo, test, docs = blocks(README, "bash")
    assert demo == (
        "python -m venv .venv && . .venv/bin/activate"
        ' && pip install -c constraints.txt ".[demo]" && wsolrefine demo\n'
    )
    assert test == 'pip install -c constraints.txt -e ".[test]" && python -m pytest -n auto\n'
    assert docs == 'pip install -c constraints.txt ".[docs]" && mkdocs build --strict\n'
    assert README.index(demo) < README.index(test) < README.index("```python")


def test_the_code_of_the_readme_runs(tmp_path, monkeypatch):
    photographs.known_layers(monkeypatch)
    at_once, batches, hub, refinement = blocks(README, "python")
    monkeypatch.chdir(tmp_path)
    Image.fromarray((np.random.default_rng(0).random((40, 60, 3)) * 255).astype("uint8")).save(
        "photo.jpg"
    )
    names = {}
    exec(at_once, names)
    assert names["found"].boxes.shape == (1, 1, 4)
    assert names["found"].masks.shape == (1, 1, 40, 60)
    images = torch.rand(2, 3, 64, 64)
    names = {"model": zoo.seeded(zoo.ResNet), "batches": [images], "torch": torch}
    exec(batches, names)
    assert names["found"].boxes.shape == (2, 5, 4)
    exec(refinement, names | {"images": images, "cam": torch.rand(2, 2, 2)}, names)
    assert names["refined"].shape == (2, 8, 8)

    class AutoModelForImageClassification:
        @staticmethod
        def from_pretrained(name):
            return Output(zoo.seeded(zoo.ResNet))

    stand_in = ModuleType("transformers")
    stand_in.AutoModelForImageClassification = AutoModelForImageClassification
    monkeypatch.setitem(sys.modules, "transformers", stand_in)
    exec(hub, names | {"pixel_values": images}, names)
    assert names["found"].boxes.shape == (2, 1, 4)


class Output(torch.nn.Module):
    """As models of transformers: images by name, the logits beside a loss."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pixel_values=None, labels=None):
        return {"loss": None, "logits": self.network(pixel_values)}


YOUR_MODEL = (ROOT / "docs/your-model.md").read_text("utf-8")
EXPECTED = {"layer4": (2, 28, 28), "blocks.10": (2, 14, 14), "found.cam": (2, 1, 28, 28)}


@pytest.mark.parametrize("step", EXPECTED)
def test_the_code_of_the_page_on_models_runs(step):
    code = next(code for code in blocks(YOUR_MODEL, "python") if step in code and "scg(" in code)
    to_box = next(code for code in blocks(YOUR_MODEL, "python") if "largest_box(" in code)
    # The small transformer of the tests has 3 blocks where timm's has 12.
    code = code.replace("blocks.10", "blocks.1").replace("blocks.11", "blocks.2")
    network = zoo.seeded(zoo.ViT if "blocks" in step else zoo.ResNet)
    images = torch.rand(2, 3, 224, 224)
    names = {"torch": torch, "F": F, "model": network, "images": images}
    exec(code, names)
    assert names["refined"].shape == EXPECTED[step]
    if names["refined"].ndim == 3:
        exec(to_box, names)
        assert names["boxes"].shape == (2, 1, 4)


def test_the_lines_for_other_libraries_run():
    lines = re.findall(r"^ {4}(refined = .*)$", YOUR_MODEL, re.M)
    cam, features = torch.rand(2, 7, 7), torch.rand(2, 4, 14, 14)
    names = {"torch": torch, "scg": wsolrefine.scg, "minmax": wsolrefine.minmax}
    names["features"], names["attribution"] = features, cam[:, None] - 0.5
    shapes = []
    for line, maps in zip(lines, (cam.numpy(), [cam], None), strict=True):
        exec(line, names | {"maps": maps}, names)
        shapes.append(tuple(names["refined"].shape))
    assert shapes == [(2, 14, 14), (2, 14, 14), (2, 1, 14, 14)]


PAGES = [
    page
    for page in (ROOT / "docs").rglob("*.md")
    if page.parent.name in ("functions", "losses", "metrics")
    or page.stem in ("export", "graphs", "images", "layers", "onnx")
    if "```python" in page.read_text("utf-8")
]
TRAINING = blocks((ROOT / "docs/train.md").read_text("utf-8"), "python")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder of the code of a page: it holds an image."""
    photographs.known_layers(monkeypatch)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (60, 40), "gray").save("photo.jpg")
    torch.manual_seed(0)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_the_code_of_the_page_runs(page, folder):
    """Blocks of a page go on with what those before them made."""
    if page.stem in ("onnx", "save_onnx"):
        pytest.importorskip("onnxscript", reason="pages on ONNX need its packages")
        if not LOOPS:
            pytest.skip("this torch exports no loops")
    names = {"model": zoo.seeded(zoo.ResNet), "images": torch.rand(2, 3, 224, 224)}
    names |= {"labels": torch.tensor([0, 1]), "paths": ["photo.jpg"]}
    names |= {"cam": torch.rand(2, 7, 7), "features": torch.rand(2, 4, 14, 14)}
    if page.stem == "localize":  # loads a recipe
        (folder / "spol").mkdir()
        exec(TRAINING[1], {})
        (folder / "own.safetensors").rename(folder / "spol/spol.safetensors")
    for code in blocks(page.read_text("utf-8"), "python"):
        exec(code, names)


def test_the_page_on_training_saves_and_loads_a_recipe(folder):
    load, save = TRAINING
    exec(save, names := {})
    (folder / "own.safetensors").rename(folder / "spol.safetensors")
    exec(load, names)
    assert names["found"].boxes.shape == (1, 1, 4)
    assert names["recipe"].class_names == ["cat", "dog"]


# Which layers? ------------------------------------------------------------------------------------


def rows(heading):
    """Return the cells of the table below a heading of the page on layers: network and layers."""
    section = (ROOT / "docs/layers.md").read_text("utf-8").split(f"## {heading}\n")[1]
    table = re.findall(
        r"^\| `(.*?)` \| (.*?) \| (.*?) \| (.*?) \|", section.split("\n## ")[0], re.M
    )
    return {
        network: Layers(
            tuple(name.strip("`") for name in features.split(", ")),
            cam.strip("`"),
            None if head == "None" else head.strip("`"),
        )
        for network, features, cam, head in table
    }


def test_the_page_on_layers_has_the_families_of_the_tests():
    expected = {}
    for make, arguments, layers in FAMILIES:
        given = ", ".join(f"{name}={value}" for name, value in arguments.items())
        expected[make.__name__ + (f"({given})" if given else "")] = Layers(*layers)
    assert rows("By family") == expected


SIDES = {"inception_v3": 299, "vit_small_patch14_reg4_dinov2": 518}


def untrained(library, name):
    if library.__name__ == "timm":
        return library.create_model(name, num_classes=10)
    options = {"init_weights": False} if name == "inception_v3" else {}
    return library.models.get_model(name, weights=None, **options)


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_the_page_on_layers_is_right_on_other_libraries(library):
    module = pytest.importorskip(library)
    for network, expected in rows("Networks of torchvision and timm").items():
        source, name = network.split(":")
        if source == library:
            images = torch.rand(1, 3, *[SIDES.get(name, 224)] * 2)
            assert find_layers(untrained(module, name), images) == expected, network


@pytest.mark.parametrize(
    "command",
    [
        *("demo", "app", "refine", "layers", "label", "threshold", "merge", "export"),
        *("evaluate", "report", "compare", "train"),
    ],
)
def test_the_page_of_the_command_line_lists_every_option(command):
    typer = pytest.importorskip("typer")
    app = import_module("wsolrefine.cli").app
    page = (ROOT / "docs/command-line.md").read_text("utf-8")
    section = page.split(f"## wsolrefine {command}\n")[1].split("\n## ")[0]
    parameters = typer.main.get_command(app).commands[command].params
    options = (option for p in parameters for option in [*p.opts, *p.secondary_opts])
    real = {option for option in options if option.startswith("-")}
    listed = set(re.findall(r"`(--?[a-z-]+)`", section.replace("--help", "")))
    assert listed == real
