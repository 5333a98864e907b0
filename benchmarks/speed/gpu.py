"""On a GPU: calls as they are, replayed from a CUDA graph, and compiled, in three precisions.

On small inputs a call is as slow as the CPU starts its operations; a CUDA graph starts them all at
once, so its ratio is that of the GPU's own work. Inputs and floors are those of the other parts.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.speed import conv_crf as crf
from benchmarks.speed import label_spreading as spreading
from benchmarks.speed import pamr as averages
from benchmarks.speed import scg as correlation
from benchmarks.speed.timing import median_ratio, time_in_turn
from wsolrefine import connected_components, conv_crf, label_spreading, pamr, scg

Call = Callable[[], object]
PRECISIONS = ("float32", "TF32", "bfloat16")
SCG = [*correlation.SHAPES, (64, 512, 28), (16, 512, 56)]
CRF = [*crf.CASES, (32, 2, 224, 11)]
PAMR = [*averages.SHAPES, (32, 4, 224)]
MASKS = [(8, 112), (32, 224), (8, 1024)]  # masks, side
DIRECT_LIMIT = 2**32  # bytes of the N x N matrices up to which the direct form is run


class Case(NamedTuple):
    """A call, and the calls that it is compared with."""

    name: str
    shape: tuple[int, ...]
    precision: str
    call: Call
    others: dict[str, Call]
    recorded: dict[str, Call] | None = None  # of the others, what a CUDA graph can hold; None: all
    replays: bool = True
    compiles: bool = False


def scg_cases() -> Iterator[Case]:
    for shape in SCG:
        cam, features = correlation.inputs(*shape, "cuda")
        for precision in PRECISIONS:
            dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
            given, layer = cam.to(dtype), features.to(dtype)
            others: dict[str, Call] = {"closed": partial(correlation.floor_closed, layer)}
            if shape[0] * shape[2] ** 4 * 4 <= DIRECT_LIMIT:
                others["direct"] = partial(correlation.floor_direct, layer)
            compiles = shape == SCG[-1] or (shape == SCG[0] and precision == "float32")
            call = partial(scg, given, layer)
            yield Case("scg", shape, precision, call, others, compiles=compiles)


def label_spreading_cases() -> Iterator[Case]:
    for batch, network, maps, side in spreading.CASES:
        given = spreading.inputs(batch, network, maps, "cuda")
        others: dict[str, Call] = {
            solve: partial(spreading.floor, *given, side=side, solve=solve)
            for solve in ("products", "cholesky")
        }
        call = partial(label_spreading, *given, size=(side, side))
        sizes = (batch, maps, side, side)
        products = {"products": others["products"]}  # of Cholesky's decomposition there is no graph
        yield Case("label_spreading", sizes, "float32", call, others, recorded=products)


def pamr_cases() -> Iterator[Case]:
    for shape in PAMR:
        given = averages.inputs(*shape, "cuda")
        others: dict[str, Call] = {"floor": partial(averages.floor, *given)}
        compiles = shape == averages.SHAPES[-1]
        yield Case("pamr", shape, "float32", partial(pamr, *given), others, compiles=compiles)


def conv_crf_cases() -> Iterator[Case]:
    for case in CRF:
        batch, labels, side, kernel_size = case
        given = crf.inputs(batch, labels, side, "cuda")
        others: dict[str, Call] = {"plain": partial(crf.plain, *given, kernel_size)}
        call = partial(conv_crf, *given, kernel_size=kernel_size)
        yield Case("conv_crf", case, "float32", call, others, compiles=case == CRF[-1])


def component_cases() -> Iterator[Case]:
    for batch, side in MASKS:
        torch.manual_seed(0)
        coarse = torch.rand(batch, 1, side // 8, side // 8, device="cuda")
        mask = F.interpolate(coarse, size=(side, side), mode="bicubic")[:, 0] > 0.5
        others: dict[str, Call] = {"on the CPU": partial(_on_cpu, mask)}
        call = partial(connected_components, mask)
        yield Case("connected_components", (batch, side, side), "bool", call, others, replays=False)


def _on_cpu(mask: Tensor) -> Tensor:
    return connected_components(mask.cpu()).cuda()


CASES = (scg_cases, label_spreading_cases, pamr_cases, conv_crf_cases, component_cases)


def bench_gpu(least_runs: int, device: str) -> list[dict[str, object]]:
    if device != "cuda":
        print("gpu: needs --device cuda")
        return []
    # Milliseconds of a batch. A ratio is that to the cheapest of the others.
    print("on a GPU, milliseconds      shape               |     call    other  ratio  other")
    rows = []
    for cases in CASES:
        for case in cases():
            with _precision(case.precision), torch.inference_mode():
                rows.append(_row(case, least_runs))
            if not least_runs:
                break
    return rows


@contextmanager
def _precision(name: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if name == "TF32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _row(case: Case, least_runs: int) -> dict[str, object]:
    row: dict[str, object] = {
        "function": case.name,
        "shape": [*case.shape],
        "precision": case.precision,
    }
    ways: dict[str, tuple[Call, dict[str, Call]]] = {"call": (case.call, case.others)}
    if case.replays:
        held = case.others if case.recorded is None else case.recorded
        others = {name: replay_of(other) for name, other in held.items()}
        ways["replayed"] = (replay_of(case.call), others)
    if case.compiles and least_runs:
        torch.compiler.reset()
        ways["compiled"] = (torch.compile(case.call, fullgraph=True), case.others)
    for way, (call, others) in ways.items():
        times = time_in_turn({"": call, **others}, least_runs, "cuda")
        ms = {name: 1e3 * statistics.median(values) for name, values in times.items()}
        cheapest = min(others, key=ms.__getitem__)
        ratio = median_ratio(times[""], times[cheapest])
        row[way] = {
            "milliseconds": ms[""],
            "next to": cheapest,
            "its milliseconds": ms[cheapest],
            "ratio": ratio,
            "runs": len(times[""]),
        }
        shown = f"{case.name}, {case.precision}, {way}"
        print(
            f"{shown:<40} {'x'.join(map(str, case.shape)):>15} | {ms['']:8.3f} {ms[cheapest]:8.3f} "
            f"{ratio:6.2f}  {cheapest}",
            flush=True,
        )
    return row


def replay_of(call: Call) -> Call:
    """Return the replay of a CUDA graph of a call."""
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        call()  # libraries start here, which cannot be recorded
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()

    def replay() -> object:
        graph.replay()
        return result  # holds the memory of the result

    return replay
