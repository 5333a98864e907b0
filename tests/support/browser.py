"""A real browser without a window, for pages that the commands write."""

import contextlib
import shutil
from importlib.util import find_spec

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""Commands of browsers that Playwright drives."""


def installed():
    """Return the path of a browser; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def browser():
    if find_spec("playwright") is None:
        pytest.skip("pages are not tested: the package playwright is not installed")
    if installed() is None:
        pytest.skip(f"pages are not tested: there is no browser ({', '.join(NAMES)})")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without its sandbox, which needs rights that containers often do not give.
        running = playwright.chromium.launch(executable_path=installed(), args=["--no-sandbox"])
        with contextlib.closing(running):
            yield running


@pytest.fixture
def visit(browser):
    """Open a file; an error, a message in the console or a request elsewhere fails the test."""
    pages, wrong = [], []

    def heard(text):
        if "willReadFrequently" not in text:  # advice for tests that look at pixels
            wrong.append(f"console: {text}")

    def visit(path, width=1366, height=768, **options):
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        pages.append(page)
        page.set_default_timeout(20_000)
        page.on("console", lambda message: heard(message.text))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        here = path.parent.as_uri() + "/"
        page.on(
            "request",
            lambda request: (
                request.url.startswith(("data:", here)) or wrong.append(f"request: {request.url}")
            ),
        )
        page.goto(path.as_uri())
        return page

    yield visit
    for page in pages:
        page.close()
    assert wrong == []
