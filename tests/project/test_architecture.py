"""Who may import whom, what an import costs, and what must not be in the repository."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import HEAVY, run_python

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "wsolrefine"

# Who may import whom ------------------------------------------------------------------------------

FLOORS = (
    {"_options", "_layout", "_command", "_files", "_shards"},
    {"_check"},
    {"functional"},
    {"losses", "metrics", "activation", "data", "viz", "models"},
    {"nn"},  # a backbone is a model whose layers are captured
    {"localization"},
    {"__init__"},
    {"recipes"},
    {"scale"},
    {"export"},
    {"cli"},
    {"__main__"},
)
"""From the ground: a room may import those of every floor below its own, and none beside it."""


def imports(path):
    """Yield the names of what a file imports from this package, at any level of the file."""
    package = ["wsolrefine", *path.relative_to(PACKAGE).with_suffix("").parts][:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            modules = [f"{source}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (module for module in modules if module.split(".")[0] == "wsolrefine")


def room(module):
    """Return the room of ``wsolrefine.part...``; what is no part is a public name of __init__."""
    part = (*module.split("."), "__init__")[1]
    if not (PACKAGE / part).is_dir() and not (PACKAGE / f"{part}.py").is_file():
        part = "__init__"
    return part


def floor(name):
    return next(i for i, rooms in enumerate(FLOORS) if name in rooms)


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_imports_go_downwards(path):
    here = room(".".join(["wsolrefine", *path.relative_to(PACKAGE).with_suffix("").parts]))
    assert any(here in rooms for rooms in FLOORS), f"{path.name}: say here on which floor it is"
    others = {module for module in imports(path) if room(module) != here}
    assert not {module for module in others if floor(room(module)) >= floor(here)}


def test_an_arrow_upwards_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    for name in ("models.py", "functional/scg.py", "losses/area.py", "metrics/boxes.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "functional/scg.py").write_text("def f():\n    from wsolrefine import models")
    with pytest.raises(AssertionError):
        test_imports_go_downwards(tmp_path / "functional/scg.py")
    (tmp_path / "functional/scg.py").write_text("from ..models import Classifier")
    with pytest.raises(AssertionError):
        test_imports_go_downwards(tmp_path / "functional/scg.py")
    (tmp_path / "functional/scg.py").write_text("from wsolrefine import sem")
    with pytest.raises(AssertionError):
        test_imports_go_downwards(tmp_path / "functional/scg.py")
    (tmp_path / "losses/area.py").write_text("import wsolrefine.metrics.boxes")
    with pytest.raises(AssertionError):
        test_imports_go_downwards(tmp_path / "losses/area.py")
    (tmp_path / "losses/area.py").write_text(
        "from wsolrefine.functional.scg import scg\nimport torch"
    )
    test_imports_go_downwards(tmp_path / "losses/area.py")


OUTSIDE = [path for folder in ("benchmarks", "docs", "examples") for path in
           sorted((ROOT / folder).rglob("*.py"))]  # fmt: skip


def names_the_command(path):
    """Tell whether a file imports ``wsolrefine.cli``, or names it in text to import it by."""
    return re.search(r"wsolrefine(\.|\s+import\s+)cli\b", path.read_text("utf-8")) is not None


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_outside_the_command_uses_it(path):
    assert not names_the_command(path)


def test_a_use_of_the_command_is_seen(tmp_path):
    for line in ("from wsolrefine.cli.options import refuse", "from wsolrefine import cli",
                 "import_module('wsolrefine.cli')"):  # fmt: skip
        (tmp_path / "script.py").write_text(line)
        assert names_the_command(tmp_path / "script.py")
    (tmp_path / "script.py").write_text("from wsolrefine import clip, localize")
    assert not names_the_command(tmp_path / "script.py")


# What the import costs ----------------------------------------------------------------------------


def test_the_import_loads_torch_and_nothing_else_heavy():
    # What torch itself loads where it is installed is not ours.
    loaded = "set(m.partition('.')[0] for m in sys.modules)"
    code = f"import torch; before = {loaded}\nimport wsolrefine; print(*({loaded} - before))"
    assert HEAVY.isdisjoint(run_python(code).split())


def test_what_needs_opencv_says_how_to_install_it():
    code = """
import sys; sys.modules["cv2"] = None
import torch, wsolrefine as w
try:
    w.gppl_released(torch.rand(1, 5, 6))
except ImportError as error:
    print(error)
"""
    printed = run_python(code)
    assert printed.startswith("gppl_released needs OpenCV: pip install 'wsolrefine[opencv]'")


def test_the_core_works_where_cv2_is_broken(tmp_path):
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object')")
    code = """
import torch, wsolrefine as w
cam, features = torch.rand(1, 5, 6), torch.rand(1, 3, 5, 6)
print(w.largest_box(w.scg(w.gppl(cam), features) > 0.25).shape)
try:
    w.gppl_released(cam)
except ImportError as error:
    print(error)
"""
    printed = run_python(code, tmp_path)
    assert printed == "torch.Size([1, 4])\nlibGL.so.1: cannot open shared object"


# What must not be in the repository ---------------------------------------------------------------


def tracked_files():
    """Return the files that git would commit; in an unpacked archive, all files that it holds."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return [path for path in PACKAGE.rglob("*.py") if path.is_file()]
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_holds_a_path_of_somebodys_machine():
    machine = re.compile(rb"/(?:work|root|home|Users|tmp|mnt|opt)/[\w.]")
    found = [p.relative_to(ROOT) for p in tracked_files() if machine.search(p.read_bytes())]
    assert not found


def test_nothing_large_is_kept():
    large = {p.relative_to(ROOT): size for p in tracked_files() if (size := p.stat().st_size) > 3e6}
    assert not large
