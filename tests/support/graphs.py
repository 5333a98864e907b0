"""What each function can be part of: the table of docs/graphs.md, and a check behind each cell.

    python -m tests.support.graphs --write                 # all cells that this machine can check
    python -m tests.support.graphs --write --columns CUDA "CUDA graph"  # on a machine with a card

A cell says what its check found. Cells of devices that the machine lacks keep what was found before.
The results are in graphs.json, with the versions that they were found with.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils._pytree import tree_leaves, tree_map

import wsolrefine as W
from tests.support.devices import never_waiting
from tests.support.strategies import generator

ROOT = Path(__file__).parents[2]
RECORD = Path(__file__).with_name("graphs.json")
PAGE = ROOT / "docs/graphs.md"
START, END = "<!-- table of tests.support.graphs -->", "<!-- end -->"
YES, NO, NONE, WAITS, UNKNOWN = "yes", "no", "-", "yes, waits", "not measured"


@dataclass(frozen=True)
class Function:
    """A row of the table.

    Attributes:
        call: takes the tensors.
        shapes: their shapes without the batch, for a grid of H x W: "K", "C", 3, "H", "4H" and so on.
        mask: inputs are boolean.
        gradient: the input that the result is differentiable in; None if there is none.
        floats: the result holds floating-point numbers.
        waits: on a GPU, the CPU waits for values.
    """

    name: str
    call: Callable[..., object]
    shapes: tuple[tuple[object, ...], ...]
    mask: bool = False
    gradient: int | None = None
    floats: bool = True
    waits: bool = False

    def inputs(
        self, batch: int, height: int, width: int, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, ...]:
        sides = {"K": 2, "C": 8, "H": height, "W": width, "4H": 4 * height, "4W": 4 * width}
        g = generator(batch + height)
        tensors = []
        for shape in self.shapes:
            size = [sides.get(side, side) for side in shape]
            values = torch.rand(batch, *size, generator=g, dtype=torch.float64)
            tensors.append(values > 0.5 if self.mask else values.to(dtype))
        return tuple(tensors)


def map_to_box(cam: Tensor) -> Tensor:
    return W.largest_box(W.minmax(cam) > 0.4)


CAM, FEATURES, PHOTO = ("H", "W"), ("C", "H", "W"), (3, "4H", "4W")
FUNCTIONS = [
    Function("scg", W.scg, (CAM, FEATURES), gradient=1),
    Function("sem", lambda c, f: W.sem(c, f, num_seeds=8), (CAM, FEATURES), gradient=1),
    Function("label_spreading", W.label_spreading, (CAM, FEATURES, PHOTO), gradient=0),
    Function("pamr", lambda m, i: W.pamr(m, i, dilations=(1, 4)), (CAM, PHOTO), gradient=0),
    Function(
        "conv_crf",
        lambda u, i: W.conv_crf(u, i, kernel_size=5),
        (("K", "H", "W"), (3, "H", "W")),
        gradient=0,
    ),
    Function("gppl", W.gppl, (CAM,), gradient=0),
    Function("minmax", W.minmax, (CAM,), gradient=0),
    Function("confseg", lambda c: tuple(W.confseg(c)), (CAM,), floats=False),
    Function("pseudo_label", W.pseudo_label, (CAM,), floats=False),
    Function(
        "connected_components", W.connected_components, (CAM,), mask=True, floats=False, waits=True
    ),
    Function("union_box", W.union_box, (CAM,), mask=True, floats=False),
    Function("largest_box", W.largest_box, (CAM,), mask=True, floats=False, waits=True),
    Function("minmax, threshold, largest_box", map_to_box, (CAM,), floats=False, waits=True),
]
SMALL, LARGE = (3, 6, 8), (2, 9, 11)  # batch, height, width


class Wrapped(torch.nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.call = function.call

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(tree_leaves(self.call(*inputs)))


def same(actual: object, expected: object, tolerance: float = 1e-5) -> None:
    for one, two in zip(tree_leaves(actual), tree_leaves(expected), strict=True):
        assert one.dtype == two.dtype
        assert_close(one, two, rtol=0, atol=tolerance if two.is_floating_point() else 0)


# The checks. Each raises unless its cell is YES; one that does not apply returns NONE. -------------


def check_export(function: Function) -> str:
    inputs = function.inputs(*SMALL)
    program = torch.export.export(Wrapped(function), inputs)
    same(program.module()(*inputs), function.call(*inputs))
    return YES


def check_dynamic(function: Function) -> str:
    """Export once, then run with another batch and another grid."""
    inputs = function.inputs(*SMALL)
    axes = [(0, tensor.ndim - 2, tensor.ndim - 1) for tensor in inputs]
    shapes = tuple(dict.fromkeys(each, torch.export.Dim.DYNAMIC) for each in axes)
    program = torch.export.export(Wrapped(function), inputs, dynamic_shapes=(shapes,))
    for sizes in (SMALL, LARGE, (1, *SMALL[1:])):
        others = function.inputs(*sizes)
        same(program.module()(*others), function.call(*others))
    return YES


def check_onnx(function: Function) -> str:
    """Run in ONNX Runtime, with other batches than the one of the export."""
    import onnxruntime

    inputs = function.inputs(*SMALL)
    shapes = tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs)
    # The exporter warns of its own deprecated calls.
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        path = Path(folder, "graph.onnx")
        program = torch.onnx.export(
            Wrapped(function), inputs, dynamic_shapes=(shapes,), dynamo=True, verbose=False
        )
        program.save(path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (3, 1, 5):
        others = function.inputs(batch, *SMALL[1:])
        fed = zip(session.get_inputs(), others, strict=True)
        found = session.run(None, {each.name: tensor.numpy() for each, tensor in fed})
        same(list(map(torch.from_numpy, found)), function.call(*others))
    return YES


def check_compile(function: Function, backend: str = "inductor") -> str:
    """Compare in double precision: the compiler adds in another order."""
    torch.compiler.reset()
    inputs = function.inputs(*SMALL, torch.float64)
    compiled = torch.compile(function.call, fullgraph=True, backend=backend)
    same(compiled(*inputs), function.call(*inputs), 1e-9)
    return YES


def check_vmap(function: Function) -> str:
    def single(*image: Tensor) -> object:
        return tree_map(lambda leaf: leaf[0], function.call(*(each[None] for each in image)))

    inputs = function.inputs(*SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of operations that vmap calls once for each image
        found = torch.func.vmap(single)(*inputs)
    same(found, function.call(*inputs))
    return YES


def check_grad(function: Function) -> str:
    """Compare grad with autograd, jvp with grad, and hessian with a difference of gradients."""
    n = function.gradient
    if n is None:
        return NONE
    inputs = function.inputs(1, 3, 4, torch.float64)
    weights = torch.rand_like(tree_leaves(function.call(*inputs))[0])

    def loss(tensor: Tensor) -> Tensor:
        return (weights * function.call(*inputs[:n], tensor, *inputs[n + 1 :])).sum()

    given = inputs[n]
    gradient = torch.func.grad(loss)(given)
    leaf = given.clone().requires_grad_()
    loss(leaf).backward()
    same(gradient, leaf.grad, 1e-9)
    direction = torch.rand(given.shape, generator=generator(1), dtype=given.dtype) - 0.5
    same(torch.func.jvp(loss, (given,), (direction,))[1], (gradient * direction).sum(), 1e-9)
    hessian = torch.func.hessian(loss)(given).reshape(given.numel(), given.numel())
    step = 1e-6 * direction
    difference = torch.func.grad(loss)(given + step) - torch.func.grad(loss)(given - step)
    curvature = (hessian @ direction.flatten()).reshape(given.shape)
    assert_close(curvature, difference / 2e-6, rtol=1e-3, atol=1e-4)
    return YES


def check_half(function: Function) -> str:
    """Compare with the rounded result of single precision."""
    if function.mask or not function.floats:
        return NONE
    for dtype in (torch.float16, torch.bfloat16):
        inputs = function.inputs(*SMALL, dtype)
        single = function.call(*(tensor.float() for tensor in inputs))
        step = torch.finfo(dtype).eps
        for one, two in zip(tree_leaves(function.call(*inputs)), tree_leaves(single), strict=True):
            assert_close(one, two.to(dtype), rtol=step, atol=step / 8)
    return YES


def check_cpu(function: Function) -> str:
    """Compare single with double precision."""
    inputs = function.inputs(*SMALL)
    double = function.call(*(t if function.mask else t.double() for t in inputs))
    for one, two in zip(tree_leaves(function.call(*inputs)), tree_leaves(double), strict=True):
        assert one.device.type == "cpu"
        assert_close(one, two.to(one.dtype), rtol=1e-4, atol=1e-4)
    return YES


def check_cuda(function: Function) -> str:
    """Compare with the CPU, and see that the CPU never waits for the GPU."""
    inputs = function.inputs(*SMALL)
    on_gpu = [tensor.cuda() for tensor in inputs]
    same(tree_map(Tensor.cpu, function.call(*on_gpu)), function.call(*inputs))
    if function.waits:
        return WAITS
    with never_waiting():
        function.call(*on_gpu)
    return YES


def check_cuda_graph(function: Function) -> str:
    """Record on one batch, replay on another."""
    if function.waits:
        return NONE
    inputs = [tensor.cuda() for tensor in function.inputs(*SMALL)]
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        function.call(*inputs)  # libraries start here, which cannot be recorded
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function.call(*inputs)
    others = [tensor.flip(0) for tensor in function.inputs(*SMALL)]
    for tensor, other in zip(inputs, others, strict=True):
        tensor.copy_(other)
    graph.replay()
    same(tree_map(Tensor.cpu, result), function.call(*others))
    return YES


def check_mps(function: Function) -> str:
    inputs = function.inputs(*SMALL)
    result = function.call(*(tensor.to("mps") for tensor in inputs))
    same(tree_map(Tensor.cpu, result), function.call(*inputs))
    return YES


CHECKS: dict[str, Callable[[Function], str]] = {
    "export": check_export,
    "dynamic": check_dynamic,
    "ONNX": check_onnx,
    "compile": check_compile,
    "vmap": check_vmap,
    "grad": check_grad,
    "half": check_half,
    "CPU": check_cpu,
    "CUDA": check_cuda,
    "CUDA graph": check_cuda_graph,
    "MPS": check_mps,
}


def lacking(column: str) -> str | None:
    """Return what this machine lacks for a column; None if it can be checked."""
    if column == "ONNX":
        missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if not has(name)]
        return f"{', '.join(missing)} not installed" if missing else None
    if column == "compile":
        return None if shutil.which("c++") or shutil.which("g++") else "no C++ compiler"
    if column.startswith("CUDA"):
        return None if torch.cuda.is_available() else "no CUDA card"
    if column == "MPS":
        return None if torch.backends.mps.is_available() else "no MPS device"
    return None


def has(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


def outcome(function: Function, column: str) -> str:
    try:
        return CHECKS[column](function)
    except Exception:
        traceback.print_exc()
        return NO


def versions(column: str) -> dict[str, str]:
    found = {"torch": torch.__version__}
    if column == "ONNX":
        from importlib.metadata import version

        found |= {name: version(name) for name in ("onnx", "onnxscript", "onnxruntime")}
    if column.startswith("CUDA"):
        found["card"] = torch.cuda.get_device_name()
    return found


def read_record() -> dict[str, dict[str, dict[str, str]]]:
    return json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {}


def table(record: dict[str, dict[str, dict[str, str]]]) -> str:
    """Return the table in Markdown, and below it what it was found with."""
    lines = [f"| function | {' | '.join(CHECKS)} |", "|---" * (len(CHECKS) + 1) + "|"]
    for function in FUNCTIONS:
        names = function.name.split(", ")
        linked = [
            f"[`{name}`](functions/{name}.md)" if hasattr(W, name) else name for name in names
        ]
        found = [
            record.get(column, {}).get("cells", {}).get(function.name, UNKNOWN) for column in CHECKS
        ]
        lines.append(f"| {', '.join(linked)} | {' | '.join(found)} |")
    lines.append("")
    for column in CHECKS:
        if column in record:
            known = ", ".join(f"{k} {v}" for k, v in record[column]["versions"].items())
            lines.append(f"- {column}: {known}")
    return "\n".join(lines)


def shown() -> str:
    """Return the table as the page has it."""
    page = PAGE.read_text("utf-8")
    return page[page.index(START) + len(START) : page.index(END)].strip()


def write(columns: list[str]) -> None:
    record = read_record()
    torch.set_warn_always(True)
    for column in columns:
        if reason := lacking(column):
            sys.stderr.write(f"{column}: {reason}, kept as recorded\n")
            continue
        cells = {}
        for function in FUNCTIONS:
            cells[function.name] = outcome(function, column)
            sys.stderr.write(f"{column}: {function.name}: {cells[function.name]}\n")
        record[column] = {"versions": versions(column), "cells": cells}
        RECORD.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    page = PAGE.read_text("utf-8")
    before, after = page[: page.index(START) + len(START)], page[page.index(END) :]
    PAGE.write_text(f"{before}\n\n{table(record)}\n\n{after}", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--write", action="store_true", help="write graphs.json and the page")
    parser.add_argument("--columns", nargs="+", choices=list(CHECKS), default=list(CHECKS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.write:
        write(options.columns)
    else:
        sys.stdout.write(table(read_record()) + "\n")


if __name__ == "__main__":
    main()
