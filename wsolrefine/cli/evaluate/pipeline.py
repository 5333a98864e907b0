"""The run of ``evaluate``: thresholds from one split, results of another, files at the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from wsolrefine.cli.console import list_problems, plain, stop
from wsolrefine.cli.evaluate.boundaries import edge_protocol, evaluate_edges
from wsolrefine.cli.evaluate.counts import Rule
from wsolrefine.cli.evaluate.dataset import Data
from wsolrefine.cli.evaluate.loop import Unusable, count_split
from wsolrefine.cli.evaluate.output import write
from wsolrefine.cli.evaluate.protocol import Protocol, protocol
from wsolrefine.cli.evaluate.results import Results, choose, results_of
from wsolrefine.cli.evaluate.score_maps import ModelMaps, Sources
from wsolrefine.cli.evaluate.table import show
from wsolrefine.cli.files import termination_as_interrupt


class Evaluated(NamedTuple):
    """What a run found out."""

    protocol: Protocol
    results: Results
    curves: Results


def run(
    data: Data, sources: Sources, rule: Rule, batch_size: int, out: Path, given: Mapping[str, Any]
) -> None:
    """Evaluate, print the results and write them, or stop with the reason.

    Args:
        data: what is evaluated.
        sources: of the score maps.
        rule: how boxes are counted.
        batch_size: images worked on at once.
        out: folder of the results.
        given: all options, for the record.

    """
    try:
        out.mkdir(parents=True, exist_ok=True)  # is it writable? known before any work
    except OSError as error:
        stop(f"--out: cannot make the folder {out}: {error.strerror or error}", 1)
    source = sources.evaluated
    try:
        with termination_as_interrupt():
            if isinstance(source, ModelMaps) and not source.localizer.regions:
                found = _evaluate_edges(data, source, batch_size)
            else:
                found = _evaluate(data, sources, rule, batch_size)
            console = Console(highlight=False)
            other = data.chosen_on.name if data.chosen_on else None
            show(console, found.protocol, found.results, other)
            paths = write(out, given, *found)
    except KeyboardInterrupt:
        stop("stopped; nothing was written", 130)
    except Unusable as error:
        list_problems(error.problems)
        more = "" if error.complete else " (there may be more)"
        stop(f"no results: those of a subset would be inflated{more}", 1)
    except OSError as error:
        stop(f"cannot write to {out} ({error.strerror or error})", 1)
    except (RuntimeError, TypeError, ValueError) as error:
        stop(error, 1)
    for path in paths:
        console.print(Text.assemble("Wrote ", plain(path, console)), soft_wrap=True)


def _evaluate(data: Data, sources: Sources, rule: Rule, batch_size: int) -> Evaluated:
    """Count the images, choose the thresholds, and read the results at them."""
    steps, chosen = rule.thresholds, None
    if data.chosen_on is not None:
        # The errors on the other split are of no use, and their thresholds cost time.
        quick = rule._replace(errors_at=[])
        before, _ = count_split(data.chosen_on, sources.chosen_on, quick, batch_size)
        chosen = choose(before, steps)
        if chosen.single is not None:
            rule = rule._replace(errors_at=[steps[chosen.single]])
    counts, sizes = count_split(data.split, sources.evaluated, rule, batch_size)
    results, curves = results_of(counts, steps, chosen or choose(counts, steps), rule.errors_at)
    return Evaluated(protocol(data, sources, rule, counts, sizes), results, curves)


def _evaluate_edges(data: Data, source: ModelMaps, batch_size: int) -> Evaluated:
    """Match the edges, each of a map, with the outlines of the masks."""
    results, curves, (images, size) = evaluate_edges(data.split, source, batch_size)
    return Evaluated(edge_protocol(data, source, images, size), results, curves)
