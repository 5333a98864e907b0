"""The tutorial prints what its page says, up to rounding and other versions of torch."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from tests.support import photographs
from tests.support.command import run_command

PAGE = (Path(__file__).parents[2] / "docs/tutorial.md").read_text("utf-8")
NUMBER = r"\d+(?:\.\d+)?"
EVALUATE = (
    "evaluate -d wsolevaluation --metadata lists --root photographs "
    "--model efficientnet-lite0 --out evaluation"
)


def same(printed, shown):
    lines = [
        [line.rstrip() for line in text.strip().splitlines() if line.strip(" ─━")]
        for text in (printed, shown)
    ]
    words = [re.sub(NUMBER, "#", "\n".join(each)) for each in lines]
    assert words[0] == words[1]
    numbers = [[float(n) for n in re.findall(NUMBER, "\n".join(each))] for each in lines]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.03, abs=0.03)


def test_what_the_tutorial_prints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("wsolrefine.load_classifier", photographs.classifier)
    names, printed, compared = {}, "", 0
    with photographs.shared(monkeypatch):
        for language, code in re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.M | re.S):
            if language == "text":
                same(printed, code)
                compared += 1
            elif language == "python":
                output = io.StringIO()
                with contextlib.redirect_stdout(output):
                    exec(code, names)
                printed = output.getvalue()
            elif "evaluate" in code:
                assert code == f"wsolrefine {EVALUATE}\n"
                printed = run_command(*EVALUATE.split(), "--device", "cpu")
                printed = printed[printed.index("data set") :]
    assert compared == 5
    assert (tmp_path / "coffee.png").is_file()
