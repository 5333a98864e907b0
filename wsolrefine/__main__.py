"""``python -m wsolrefine``: the command where its script is not on the search path."""

from __future__ import annotations

from wsolrefine.cli import app

if __name__ == "__main__":
    app()
