"""Check that nothing of the built documentation is cut off: python docs/widths.py SITE

Every page is opened in Chromium at 1366 and 390 pixels. Printed is what is wider than the window
or than a parent that does not scroll; then the exit code is 1.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTHS = (1366, 390)
SCRIPT = """() => {
  const wide = [];
  const page = document.scrollingElement;
  if (page.scrollWidth > innerWidth) wide.push(`page ${page.scrollWidth}`);
  for (const part of document.querySelectorAll('article :is(table, pre, img, code, p, h1, h2)')) {
    const box = part.getBoundingClientRect();
    if (!box.width || box.right <= innerWidth + 1) continue;
    let parent = part;
    while (parent && !/auto|scroll/.test(getComputedStyle(parent).overflowX))
      parent = parent.parentElement;
    if (!parent) wide.push(`${part.tagName.toLowerCase()} ${part.textContent.trim().slice(0, 60)}`);
  }
  return wide;
}"""


def main() -> None:
    site = Path(sys.argv[1]).resolve()
    path = shutil.which("chromium") or shutil.which("google-chrome")
    found: list[str] = []
    pages = sorted(site.rglob("*.html"))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for width in WIDTHS:
            page = browser.new_page(viewport={"width": width, "height": 900})
            for file in pages:
                page.goto(file.as_uri(), wait_until="load")
                name = f"{file.relative_to(site)} at {width} pixels"
                found += [f"{name}: {line}" for line in page.evaluate(SCRIPT)]
        browser.close()
    print("\n".join(found) or f"{len(pages)} pages, nothing is cut off")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
