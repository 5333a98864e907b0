"""The run of ``evaluate``: choose thresholds, compute results, write files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.text import Text

from wsolrefine.cli.console import list_problems, output_console, printable, stop
from wsolrefine.cli.evaluate.boundaries import edge_protocol, evaluate_edges
from wsolrefine.cli.evaluate.counts import Rule
from wsolrefine.cli.evaluate.dataset import Data
from wsolrefine.cli.evaluate.loop import Unusable, count_split
from wsolrefine.cli.evaluate.output import EVALUATION, FILES, write
from wsolrefine.cli.evaluate.protocol import Protocol, protocol
from wsolrefine.cli.evaluate.results import Results, choose_thresholds, compute_results
from wsolrefine.cli.evaluate.score_maps import ModelMaps, Sources
from wsolrefine.cli.evaluate.table import show
from wsolrefine.cli.files import FolderInUse, termination_as_interrupt
from wsolrefine.cli.journal import check_names


class Pace(NamedTuple):
    """Images processed at once, and threads that read and count; None: one a core, at most 4."""

    batch_size: int
    workers: int | None


class Evaluated(NamedTuple):
    """The outcome of a run."""

    protocol: Protocol
    results: Results
    curves: Results


def run(
    data: Data, sources: Sources, rule: Rule, pace: Pace, out: Path, given: Mapping[str, Any]
) -> None:
    """Evaluate, print the results and write them, or stop.

    Args:
        data: what to evaluate.
        sources: where the score maps come from.
        rule: how boxes are counted.
        pace: how many images are processed at once.
        out: folder of the results.
        given: all options, to be written to the results file.

    """
    try:
        out.mkdir(parents=True, exist_ok=True)  # fails early if this is impossible
    except OSError as error:
        stop(f"--out: cannot create the folder {out}: {error.strerror or error}", 1)
    check_names(out, EVALUATION, FILES)  # now, and not after an hour
    source = sources.split
    try:
        with termination_as_interrupt():
            if isinstance(source, ModelMaps) and not source.localizer.regions:
                found = _evaluate_edges(data, source, pace)
            else:
                found = _evaluate(data, sources, rule, pace)
            console = output_console()
            other = data.threshold_split.name if data.threshold_split else None
            show(console, found.protocol, found.results, other)
            paths = write(out, given, *found)
    except KeyboardInterrupt:
        stop("stopped; nothing was written", 130)
    except Unusable as error:
        list_problems(error.problems)
        more = "" if error.complete else " (there may be more)"
        stop(f"no results, because results over a subset would be inflated{more}", 1)
    except FolderInUse:
        stop(f"another run is writing to {out}: wait for it, or choose another --out", 1)
    except OSError as error:
        stop(f"cannot write to {out} ({error.strerror or error})", 1)
    except (RuntimeError, TypeError, ValueError) as error:
        stop(error, 1)
    for path in paths:
        console.print(Text.assemble("Wrote ", printable(path, console)), soft_wrap=True)


def _evaluate(data: Data, sources: Sources, rule: Rule, pace: Pace) -> Evaluated:
    """Count the images, choose the thresholds, and compute the results at these thresholds."""
    thresholds, chosen = rule.thresholds, None
    if data.threshold_split is not None:
        # The errors on this split are not reported, so they are not counted.
        quick = rule._replace(errors_at=[])
        counts, _ = count_split(data.threshold_split, sources.threshold_split, quick, *pace)
        chosen = choose_thresholds(counts, thresholds)
        if chosen.single is not None:
            rule = rule._replace(errors_at=[thresholds[chosen.single]])
    counts, sizes = count_split(data.split, sources.split, rule, *pace)
    chosen = chosen or choose_thresholds(counts, thresholds)
    results, curves = compute_results(counts, thresholds, chosen, rule.errors_at)
    return Evaluated(protocol(data, sources, rule, counts, sizes), results, curves)


def _evaluate_edges(data: Data, source: ModelMaps, pace: Pace) -> Evaluated:
    """Match edges with the outlines of the masks."""
    results, curves, (images, size) = evaluate_edges(data.split, source, *pace)
    return Evaluated(edge_protocol(data, source, images, size), results, curves)
