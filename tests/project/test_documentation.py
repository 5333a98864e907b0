"""Names, signatures, pages and pictures; the commands and the code that README and pages show."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset
from torchmetrics import Metric

import wsolrefine
from tests.support import zoo
from wsolrefine import data, losses, metrics, nn, recipes

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")

# Names, signatures, pages -------------------------------------------------------------------------

SIGNATURES = {
    "minmax": "(maps)",
    "self_correlation": "(features, *, orders=(1, 2))",
    "self_correlation_released": "(features, *, first_threshold=0.1, second_threshold=0.5,"
    " second_weight=2.0, order=2)",
    "scg": "(cam, features, *, orders=(1, 2), foreground=0.6, background=0.3, block_size=None)",
    "scg_released": "(cam, features, *, first_threshold=0.1, second_threshold=0.5,"
    " second_weight=2.0, order=2, foreground=0.1, background=0.05)",
    "sem": "(cam, features, *, num_seeds=60)",
    "confseg": "(cam)",
    "confseg_thresholds": "(cam)",
    "fit_gaussian": "(weights)",
    "gaussian_map": "(gaussian, size)",
    "gppl": "(cam)",
    "gppl_released": "(cam, *, size=256, low=0.1, high=0.5, shrink=10, min_area=20)",
    "pseudo_label": "(cam, *, foreground=0.5, background=0.004, ignore_index=255)",
    "multiply_maps": "(maps)",
    "connected_components": "(mask, *, connectivity=8)",
    "union_box": "(mask)",
    "largest_box": "(mask)",
    "component_boxes": "(mask)",
    "box_iou": "(boxes1, boxes2, *, inclusive=False)",
    "attentive_erasing": "(probability, *, threshold=0.5, drop=0.5, size=(0.1, 0.5),"
    " generator=None)",
    "conv_crf": "(unary, image, *, iterations=5, kernel_size=21, appearance_weight=10.0,"
    " appearance_std=10.0, color_std=0.08, smoothness_weight=1.0, smoothness_std=1.5)",
    "pseudo_boundary": "(mask_probability, image, *, threshold=0.5, low=100.0, high=200.0,"
    " tolerance=5.0)",
    "tokens_to_map": "(tokens, *, grid=None, num_prefix_tokens=0)",
}
FROM_A_MODEL = {
    "capture": "(model, *layers)",
    "class_activation": "(model, images, *, labels=None, top=1, layers=None, to_map=None)",
    "find_layers": "(model, images, *, to_map=None)",
    "find_stages": "(model, images, *, to_map=None)",
    "gap_cam": "(features, weight, labels)",
    "grad_cam": "(activation, scores, *, to_map=None)",
    "load_classifier": "(spec='efficientnet-lite0')",
}
RECORDS = {
    "ClassActivation": "(logits, labels, cam, features)",
    "Classifier": "(model, preprocess, class_names, name)",
    "ConfSeg": "(confident, foreground, background)",
    "Gaussian": "(mean, covariance)",
    "Layers": "(features, cam, head)",
    "Preprocess": "(size=(224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),"
    " interpolation='bilinear')",
}
# Public names that are not in wsolrefine itself, by module.
OTHERS = {
    "viz": {"overlay", "draw_boxes", "contact_sheet", "plot_curves", "plot_bars"},
    "metrics": {*metrics.__all__},
    "data": {*data.__all__},
    "losses": {*losses.__all__},
    "nn": {*nn.__all__},
    "recipes": {*recipes.__all__},
}
# A page holds all of one idea.
SHARED_PAGES = {f"wsolrefine.{part}" for part in ("metrics", "data", "losses", "nn", "recipes")}
PUBLIC = dict.fromkeys((*SIGNATURES, *FROM_A_MODEL, *RECORDS), "wsolrefine") | {
    name: f"wsolrefine.{module}" for module, names in OTHERS.items() for name in sorted(names)
}


def test_the_public_names_are_exactly_these():
    assert wsolrefine.__all__ == sorted({*SIGNATURES, *FROM_A_MODEL, *RECORDS})
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", wsolrefine.__version__)


@pytest.mark.parametrize(("name", "expected"), (SIGNATURES | FROM_A_MODEL | RECORDS).items())
def test_signature(name, expected):
    signature = inspect.signature(getattr(wsolrefine, name))
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    assert str(inspect.Signature(bare)) == expected


@pytest.mark.parametrize("name", PUBLIC)
def test_has_a_docstring_a_page_and_a_line_in_the_changelog(name):
    found = getattr(import_module(PUBLIC[name]), name)
    documentation = inspect.getdoc(found)
    assert documentation
    writes_files = name in ("contact_sheet", "save_trained")
    if inspect.isfunction(found) and not writes_files:
        assert ">>> " in documentation
    pages = {page: page.read_text("utf-8") for page in (ROOT / "docs").rglob("*.md")}
    entry = re.compile(rf"^::: {re.escape(PUBLIC[name])}\.{name}$", re.M)
    own = [page for page, text in pages.items() if entry.search(text)]
    assert len(own) == 1
    if inspect.isclass(found) and issubclass(found, (Metric, Dataset)):
        assert ">>> " in documentation
        assert f"`{name}`" in README
    if inspect.isfunction(found) and PUBLIC[name] not in SHARED_PAGES:
        assert own[0].stem == name
        assert f"]({name}.md)" in pages[ROOT / "docs/functions/index.md"]
        assert f"functions/{name}.md" in (ROOT / "mkdocs.yml").read_text("utf-8")
        assert f"`{name}`" in README
    assert f"`{name}`" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_picture_is_shown_and_small():
    pictures = {path.name for path in (ROOT / "docs/img").iterdir()}
    text = README + "".join(page.read_text("utf-8") for page in (ROOT / "docs").rglob("*.md"))
    assert pictures == {Path(link).name for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)}
    sizes = [path.stat().st_size for path in (ROOT / "docs/img").iterdir()]
    assert max(sizes) < 60_001
    assert sum(sizes) < 1_500_000


# What the README and the pages say ----------------------------------------------------------------


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def test_the_readme_has_the_two_commands():
    demo, test = blocks(README, "bash")
    assert demo == (
        "python -m venv .venv && . .venv/bin/activate"
        ' && pip install -c constraints.txt ".[demo]" && wsolrefine demo\n'
    )
    assert test == 'pip install -c constraints.txt -e ".[test]" && python -m pytest -n auto\n'
    assert README.index(demo) < README.index(test) < README.index("```python")


EXPECTED = {"resnet": (2, 28, 28), "vit": (2, 14, 14), "either": (2, 1, 28, 28)}


@pytest.mark.parametrize("model", EXPECTED)
def test_the_code_of_the_readme_runs(model):
    cnn, transformer, either, _, to_box = blocks(README, "python")
    code = {"resnet": cnn, "vit": transformer, "either": either}[model]
    # The small transformer of the tests has 3 blocks where timm's has 12.
    code = code.replace("blocks.10", "blocks.1").replace("blocks.11", "blocks.2")
    network = zoo.seeded(zoo.ViT if model == "vit" else zoo.ResNet)
    images = torch.rand(2, 3, 224, 224)
    names = {"torch": torch, "F": F, "model": network, "images": images}
    exec(code, names)
    assert names["refined"].shape == EXPECTED[model]
    if model != "either":
        exec(to_box, names | {"largest_box": wsolrefine.largest_box}, names)
        assert names["boxes"].shape == (2, 1, 4)


def test_the_lines_for_other_libraries_run():
    _, _, _, lines, _ = blocks(README, "python")
    cam, features = torch.rand(2, 7, 7), torch.rand(2, 4, 14, 14)
    names = {"torch": torch, "scg": wsolrefine.scg, "minmax": wsolrefine.minmax}
    names |= {"features": features, "grayscale_cam": cam.numpy(), "attribution": cam[:, None] - 0.5}
    names |= {"labels": torch.tensor([0, 1]), "scores": None, "extractor": lambda *_: [cam]}
    shapes = []
    for line in re.findall("^refined.*$", lines, re.M):
        exec(line, names)
        shapes.append(tuple(names["refined"].shape))
    assert shapes == [(2, 14, 14), (2, 14, 14), (2, 1, 14, 14)]


@pytest.mark.parametrize("command", ["demo", "refine", "evaluate", "train"])
def test_the_page_of_the_command_line_lists_every_option(command):
    typer = pytest.importorskip("typer")
    app = import_module("wsolrefine.cli").app
    page = (ROOT / "docs/command-line.md").read_text("utf-8")
    section = page.split(f"## wsolrefine {command}\n")[1].split("\n## ")[0]
    parameters = typer.main.get_command(app).commands[command].params
    real = {option for p in parameters for option in p.opts if option.startswith("-")}
    listed = set(re.findall(r"`(--?[a-z-]+)`", section.replace("--help", "")))
    assert listed == real
