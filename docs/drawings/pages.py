"""The page of ``wsolrefine report`` in a browser, and the picture of ``wsolrefine compare``."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from drawings import panels as p

NAMES = (p.MOTORCYCLE, p.CUP, p.CAT, "astronaut.png", "rocket.jpg")
METHODS = ("balanced", "scg", "cam")


def draw_report() -> None:
    with _report() as page:
        page.click("#classes summary")
        _save("report", page)


def draw_report_large() -> None:
    with _report() as page:
        page.click(".card >> nth=0")
        page.wait_for_selector("#stage:not([aria-busy])")
        page.fill("#threshold", "0.3")
        page.check("#show-stored")
        _save("report_large", page)


def draw_compare() -> None:
    """The picture of ``wsolrefine compare``, which needs no browser."""
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        _write_photographs((p.MOTORCYCLE, p.CUP, "rocket.jpg"))
        _run("compare", "photographs", "--methods", "scg,fast,balanced,accurate", "--out", "out")
        with Image.open("out/compare.png") as picture:
            shown = picture.convert("RGB")
    shown.thumbnail((1000, 1000))
    p.save_image("compare", shown)


@contextlib.contextmanager
def _report() -> Iterator[Any]:
    """Refine photographs with several methods; yield the open page of the report."""
    from playwright.sync_api import sync_playwright

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        _write_photographs(NAMES)
        for method in METHODS:
            _run("refine", "photographs", "--method", method, "--out", method)
        _run("report", *METHODS)
        with sync_playwright() as playwright:
            running = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
            page = running.new_page(viewport={"width": 1366, "height": 768})
            page.goto(Path(os.path.realpath("wsolrefine-report.html")).as_uri())
            yield page
            running.close()


def _write_photographs(names: Iterable[str]) -> None:
    """Copy the files as they are: a JPEG saved once more has another score."""
    Path("photographs").mkdir()
    for name in names:
        shutil.copy(p.photograph_path(name), "photographs")


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "wsolrefine", *arguments], check=True)


def _save(name: str, page: Any) -> None:
    shown = Image.open(BytesIO(page.screenshot())).convert("RGB")
    shown.thumbnail((1000, 1000))
    p.save_image(name, shown)
