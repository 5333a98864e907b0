"""What every benchmark records, and how it is written: origin, machine, JSON, Markdown tables.

And how many steps of it are done.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from wsolrefine import __version__

RESULTS = Path(__file__).parent / "results" / __version__
"""Where results are written unless ``--out`` names another folder."""

ORIGIN = ("version", "commit", "date")
MACHINE = ("machine", "python", "torch", "numpy", "opencv")


def origin() -> dict[str, str | None]:
    """Return what is measured and when: version and commit of the package, date (UTC).

    Call it when a run starts: later the files may be others than those that were loaded.
    """
    return {
        "version": __version__,
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def commit() -> str | None:
    """Return the commit that is checked out; None outside of a git repository.

    ``+changes`` follows if the package or the benchmarks differ from it.
    """
    # Results that an earlier benchmark has just written change nothing that is measured.
    measured = ("wsolrefine", "benchmarks", ":!benchmarks/results")
    head = _git("rev-parse", "--short=12", "HEAD")
    if head is None:
        return None
    return f"{head}+changes" if _git("status", "--porcelain", "--", *measured) else head


def _git(*arguments: str) -> str | None:
    root = Path(__file__).parents[1]
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def machine(device: str = "cpu") -> dict[str, str]:
    """Return what the benchmark runs on: hardware, and versions that change results."""
    hardware = f"{platform.machine()}, {os.cpu_count()} CPU cores"
    if device == "cuda":
        hardware = f"{torch.cuda.get_device_name()}, {hardware}"
    return {
        "machine": hardware,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record, making its folder; a run that is killed leaves the old file or the new."""
    with replacing(path) as unfinished:
        unfinished.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


def write_record(folder: Path, name: str, record: Mapping[str, Any], text: str) -> None:
    """Write NAME.json and, as Markdown, NAME.md."""
    write_json(folder / f"{name}.json", record)
    (folder / f"{name}.md").write_text(text, "utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; rename it to ``path`` at the end.

    If the body raises, ``path`` is unchanged and nothing is left. Each process has a path of its
    own, so that runs beside each other do not write into one file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def show_progress(text: str, done: int, total: int) -> None:
    """Print how much is done, over what was printed before."""
    end = "\n" if done == total else ""
    print(f"\r{text}: {done}/{total}", end=end, file=sys.stderr, flush=True)


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are aligned to the right."""
    cells = [head, ["---", *["--:"] * (len(head) - 1)], *lines]
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    padded = [
        " | ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    ]
    return "\n".join(f"| {line} |" for line in padded)


def in_words(record: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Return the entries of a record that are there: ``version 1.0, commit 0123abcd, ...``."""
    return ", ".join(f"{key} {record[key]}" for key in keys if record.get(key) is not None)
