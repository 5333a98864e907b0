"""The page of ``wsolrefine app``, in a real browser, and the code that it shows."""

import ast
import contextlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
import torch
from PIL import Image

from tests.support import photographs
from tests.support.browser import browser  # noqa: F401
from tests.support.command import run_command
from tests.support.processes import ROOT
from wsolrefine.cli.browser_app.choices import Choices, python_code
from wsolrefine.cli.browser_app.finding import Finder
from wsolrefine.cli.browser_app.pictures import draw
from wsolrefine.data import read_image

NAME = "efficientnet-lite0"
COFFEE = photographs.FOLDER / "coffee.png"
CUP, LAYERS = 968, ("_blocks.4", "_blocks.10")


def executed(code, monkeypatch, folder=photographs.FOLDER):
    """Run the code of the page in the folder of the photograph; return the box that it prints."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("wsolrefine.load_classifier", photographs.classifier)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), photographs.shared(monkeypatch):
        exec(code, {})
    return ast.literal_eval(printed.getvalue())


# What is found ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finder():
    return Finder({NAME: photographs.classifier()}, torch.device("cpu"))


@pytest.mark.parametrize(
    "choices",
    [
        Choices(NAME, None, "fast", (), 0.4),
        Choices(NAME, CUP, "scg", LAYERS, 0.2),
        Choices(NAME, CUP, "cam", (), 0.6),
    ],
)
def test_the_code_finds_the_box_of_the_page(finder, choices, monkeypatch):
    found = finder(str(COFFEE), choices)
    box = executed(python_code(choices, COFFEE.name), monkeypatch)
    assert found.refined.boxes[0, 0].tolist() == box
    assert found.cam.labels.tolist() == found.refined.labels.tolist()
    assert found.layers == (() if choices.method == "cam" else LAYERS)


def test_only_what_differs_is_written():
    code = python_code(Choices("timm:resnet50", 3, "scg", ("a", "b"), 0.3), 'it\'s "x".jpg', "cuda")
    assert 'load_classifier("timm:resnet50")' in code
    assert (
        'Localizer(classifier, refine="scg", threshold=0.3, layers=["a", "b"]).to("cuda")' in code
    )
    call = next(n for n in ast.walk(ast.parse(code)) if getattr(n, "func", None) and n.args
                and getattr(n.func, "attr", "") == "open")  # fmt: skip
    assert call.args[0].value == 'it\'s "x".jpg'


def test_pictures_are_small_and_show_box_and_mask(finder, tmp_path):
    Image.new("RGB", (2000, 500), "navy").save(tmp_path / "wide.png")
    found = finder(str(tmp_path / "wide.png"), Choices(NAME, CUP, "cam", (), 0.5))
    cam, map, mask, box = draw(read_image(tmp_path / "wide.png"), found)
    assert {picture.shape for picture in (cam, map, mask, box)} == {(160, 640, 3)}
    x0, y0, x1, y1 = (found.refined.boxes[0, 0] * 640 / 2000).int().tolist()
    inside = mask[y0:y1, x0:x1]
    assert (inside == (0, 0, 128)).all(-1).mean() > 0.5
    assert (mask == (0, 0, 128)).all(-1).sum() <= (x1 - x0 + 2) * (y1 - y0 + 2)
    drawn = (box == (80, 255, 80)).all(-1).nonzero()
    assert abs(drawn[1].min() - x0) <= 3
    assert abs(drawn[0].max() - y1) <= 3


# The page -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(browser, tmp_path_factory):  # noqa: F811
    """Start the command; yield the address that it prints, and end it as Ctrl-C does."""
    folder = tmp_path_factory.mktemp("app")
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(folder),
        "GRADIO_SERVER_NAME": "0.0.0.0",  # neither this nor what follows is read
        "GRADIO_ANALYTICS_ENABLED": "True",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    arguments = ["app", "--port", "0", "--device", "cpu", "--no-browser", "-q"]
    with subprocess.Popen(
        [sys.executable, "-m", "wsolrefine", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment,
    ) as process:
        yield process.stdout.readline().strip()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, "", "")
    assert list(folder.iterdir()) == []  # photographs are removed


class Page:
    """The page in the browser, and which other machines it asked for something."""

    def __init__(self, page, address):
        self.page, self.foreign, self.errors = page, [], []
        self.host = urlsplit(address).netloc
        page.on("requestfinished", self._note)
        page.on("requestfailed", self._note)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.policy = page.goto(address).headers["content-security-policy"]

    def _note(self, request):
        parts = urlsplit(request.url)
        stopped = request.failure == "csp"  # by the browser, before it asks
        if parts.scheme.startswith("http") and parts.netloc != self.host and not stopped:
            self.foreign.append(request.url)

    def drop(self, path):
        self.page.set_input_files("#photograph input[type=file]", path)

    def choose(self, name, start):
        """Choose the first entry of a list that starts with this text."""
        self.page.click(f"#{name} input")
        self.page.click(f"ul[role=listbox] li[aria-label^='{start}']")

    def code(self):
        lines = "lines => lines.map(line => line.textContent).join('\\n')"
        return self.page.eval_on_selector_all("#code .cm-line", lines)

    def until(self, text):
        """Wait until the code has this text; return the code and the box."""
        script = """text => [...document.querySelectorAll('#code .cm-line')]
            .some(line => line.textContent.includes(text))"""
        self.page.wait_for_function(script, arg=text, timeout=120_000)
        box = self.page.input_value("#found-box :is(input, textarea)")
        return self.code(), [float(number) for number in box.split()]


@pytest.fixture(scope="module")
def page(browser, address):  # noqa: F811
    context = browser.new_context(viewport={"width": 1366, "height": 900})
    yield Page(context.new_page(), address)
    context.close()


def test_code_and_box_follow_the_choices(page, monkeypatch):
    page.drop(COFFEE)
    code, box = page.until('open("coffee.png")')
    assert 'refine="balanced", threshold=0.42)' in code
    assert executed(code, monkeypatch) == box
    for name in ("cam", "map", "mask", "box"):
        assert page.page.is_visible(f"#{name} img")
    assert page.page.input_value("#found-class :is(input, textarea)").startswith("espresso, ")

    page.choose("method", "scg")
    code, box = page.until('refine="scg", threshold=0.34)')
    assert executed(code, monkeypatch) == box

    page.choose("class", "cup, ")  # with its probability
    code, box = page.until(f"labels={CUP}")
    assert page.page.input_value("#found-class :is(input, textarea)").startswith("cup, ")
    assert executed(code, monkeypatch) == box

    page.choose("layers", LAYERS[1])
    page.page.keyboard.press("Escape")
    code, box = page.until(f'layers=["{LAYERS[1]}"]')
    assert page.page.input_value("#found-layers :is(input, textarea)") == LAYERS[1]
    page.page.fill("#threshold input[type=number]", "0.61")
    page.page.keyboard.press("Enter")
    code, box = page.until("threshold=0.61")
    assert executed(code, monkeypatch) == box


def test_a_file_that_is_no_image_is_named(page, tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    page.page.click("#photograph button[aria-label='Clear']")
    page.page.wait_for_selector("#photograph input[type=file]", state="attached")
    page.drop(tmp_path / "notes.txt")
    page.page.wait_for_selector("text=notes.txt: ", timeout=120_000)
    assert page.code() == ""
    assert page.page.input_value("#found-box :is(input, textarea)") == ""


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_cut_off(page):
    for width in (1366, 390):
        page.page.set_viewport_size({"width": width, "height": 800})
        page.page.wait_for_timeout(200)
        assert page.page.evaluate("document.scrollingElement.scrollWidth") <= width
    assert page.foreign == []
    assert "http" not in page.policy
    assert page.errors == []


# The command --------------------------------------------------------------------------------------


def test_what_stops_the_command(monkeypatch):
    monkeypatch.setattr("wsolrefine.cli.loading.load_classifier", photographs.classifier)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = run_command("app", "--port", port, "--device", "cpu", code=2)
    assert f"--port: expected a free port, or 0 for any, got {port} (" in said
    said = run_command("app", "--host", "192.0.2.1", "--port", 0, "--device", "cpu", code=2)
    assert "--host: expected an address of this machine, got 192.0.2.1 (" in said
    assert "--port" in run_command("app", "--port", 65536, code=2)
    assert "--device: expected cpu, cuda" in run_command("app", "--device", "abacus", code=2)
    monkeypatch.undo()
    assert "--model nothing: " in run_command("app", "--model", "nothing", code=2)


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("wsolrefine.cli.browser_app.command.find_spec", lambda name: None)
    said = run_command("app", code=1)
    assert re.search(r"app needs the package gradio: pip install 'wsolrefine\[app\]'", said)


def test_what_is_printed(monkeypatch):
    served = []
    monkeypatch.setattr("wsolrefine.cli.loading.load_classifier", photographs.classifier)
    monkeypatch.setattr("wsolrefine.cli.browser_app.page.build_page", lambda finder: finder)
    monkeypatch.setattr(
        "wsolrefine.cli.browser_app.server.serve",
        lambda page, socket, url, **options: served.append((url, options["browser"])),
    )
    said = run_command("app", "--port", 0, "--device", "cpu")
    assert said == f"{served[0][0]} (Ctrl-C ends it)\n"
    assert served[0][1]
    said = run_command("app", "--port", 0, "--host", "0.0.0.0", "--no-browser", "--device", "cpu")
    assert "Note: other machines can use the page, without a password" in said
    assert not served[1][1]
