"""A command whose messages cannot be printed does its work, and says by its exit code how it went."""

import os
import subprocess
import sys

import pytest
import typer
from PIL import Image

from tests.cli.test_wrong_values import MODEL
from tests.support.processes import ROOT
from wsolrefine.cli import console

STREAMS = """
import os, sys
sys.argv = ["wsolrefine"]
import wsolrefine._command
for number in (0, 1, 2):
    os.fstat(number)
assert os.open(os.devnull, os.O_RDONLY) > 2
for stream in (sys.stdout, sys.stderr):
    print("text", file=stream, flush=True)
os.write(2, b"text of a library")
"""


class Full:
    """A stream on a full disk."""

    encoding = "utf-8"

    def fileno(self):
        return 2

    def isatty(self):
        return False

    def write(self, text):
        raise OSError(28, "No space left on device")

    def flush(self):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("stream", [Full(), None])
def test_messages_that_cannot_be_printed_stop_nothing(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    done = []
    with console.progress_bar("refining", 2) as advance:
        for _ in range(2):
            advance(1)
            done.append(1)
    console.list_problems([("a.png", "expected an image")])
    with pytest.raises(typer.Exit) as stopped:
        console.stop("--out: expected a folder", 2)
    assert len(done) == stopped.value.exit_code == 2


def started(script, *arguments):
    return subprocess.run(
        ["sh", "-c", script, "sh", sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        stdin=subprocess.DEVNULL,
    ).returncode


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
def test_no_file_takes_the_number_of_a_closed_stream():
    assert started('exec "$@" 0<&- 1>&- 2>&-', "-c", STREAMS) == 0
    assert started('exec "$@" 1</dev/null 2</dev/null', "-c", STREAMS) == 0


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
def test_refine_with_a_standard_error_that_is_not_open_for_writing(tmp_path):
    Image.linear_gradient("L").resize((20, 20)).save(tmp_path / "a.png")
    command = "-m", "wsolrefine", "refine", tmp_path / "a.png", "--model", MODEL
    # A script that is started with 2>&- is opened with that number by the shell, for reading.
    assert started('exec "$@" 2</dev/null', *command, "--out", tmp_path / "out") == 0
    assert (tmp_path / "out/masks/a.png").exists()
