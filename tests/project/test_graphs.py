"""The table of docs/graphs.md is what the checks behind its cells find."""

import pytest
import torch

from tests.support import graphs

RECORD = graphs.read_record()
# Minutes together: compilers, exporters.
SLOW = {"ONNX", "compile", "dynamic"}
# Of the slow columns, what every run checks: a loop, a product, a top-k.
SAMPLE = {
    ("ONNX", "sem"),
    ("ONNX", "largest_box"),
    ("dynamic", "scg"),
    ("dynamic", "sem"),
    ("dynamic", "connected_components"),
}
DEVICES = {"CUDA": [pytest.mark.cuda], "CUDA graph": [pytest.mark.cuda], "MPS": []}
WITH = RECORD["export"]["versions"]["torch"].split("+")[0]


def older(version):
    numbers = [tuple(map(int, each.split("+")[0].split(".")[:2])) for each in (version, WITH)]
    return numbers[0] < numbers[1]


exporters = pytest.mark.skipif(
    older(torch.__version__), reason=f"the table is that of torch {WITH}"
)


def cells():
    for column in graphs.CHECKS:
        for function in graphs.FUNCTIONS:
            quick = column not in SLOW or (column, function.name) in SAMPLE
            marks = DEVICES.get(column, [] if quick else [pytest.mark.slow])
            yield pytest.param(column, function, marks=marks, id=f"{column}-{function.name}")


def test_the_table_of_the_page_is_that_of_the_record():
    """So an edit by hand fails: python -m tests.support.graphs --write writes both."""
    assert graphs.shown() == graphs.table(RECORD)


def test_every_cell_that_needs_no_device_was_checked():
    names = [function.name for function in graphs.FUNCTIONS]
    for column in graphs.CHECKS.keys() - DEVICES.keys():
        assert list(RECORD[column]["cells"]) == names


def test_a_check_that_fails_is_a_no(monkeypatch, capsys):
    (function,) = (each for each in graphs.FUNCTIONS if each.name == "minmax")

    def broken(cam):
        return cam + float(cam.sum())

    wrong = graphs.Function("minmax", broken, function.shapes, gradient=0)
    for column in ("export", "vmap"):
        assert graphs.outcome(wrong, column) == graphs.NO
    assert "Traceback" in capsys.readouterr().err


@exporters
# torch's own, when it loads its rules for jvp, or its compiler.
@pytest.mark.filterwarnings("ignore:.torch.jit.script(_method)?. is deprecated:DeprecationWarning")
@pytest.mark.parametrize(("column", "function"), [*cells()])
def test_the_cell_is_what_its_check_finds(column, function):
    if reason := graphs.lacking(column):
        pytest.skip(reason)
    if column in DEVICES and column not in RECORD:
        assert graphs.CHECKS[column](function) != graphs.NO
        return
    assert graphs.outcome(function, column) == RECORD[column]["cells"][function.name]


@exporters
@pytest.mark.parametrize("function", graphs.FUNCTIONS, ids=lambda function: function.name)
def test_what_compiles_does_so_without_a_compiler(function):
    """The same graphs without inductor, which takes minutes and a C++ compiler."""
    if RECORD["compile"]["cells"][function.name] != graphs.YES:
        pytest.skip("does not compile")
    graphs.check_compile(function, "aot_eager")
