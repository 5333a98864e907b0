"""The run of ``evaluate``: thresholds from one split, results of another, files at the end."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.text import Text

from wsolrefine import Localizer
from wsolrefine.cli.console import list_problems, plain, stop
from wsolrefine.cli.evaluate.boundaries import edge_protocol, evaluate_edges
from wsolrefine.cli.evaluate.counts import Rule
from wsolrefine.cli.evaluate.dataset import Split, evaluated_name, open_split
from wsolrefine.cli.evaluate.loop import Unusable, count_split
from wsolrefine.cli.evaluate.options import Hit, Labels, Options, check
from wsolrefine.cli.evaluate.output import write
from wsolrefine.cli.evaluate.protocol import Protocol, protocol
from wsolrefine.cli.evaluate.results import Results, choose, results_of
from wsolrefine.cli.evaluate.score_maps import MapFolder, ModelMaps, Source
from wsolrefine.cli.evaluate.table import show
from wsolrefine.cli.files import termination_as_interrupt
from wsolrefine.cli.loading import load_localizer, load_recipe_localizer, read_recipe
from wsolrefine.cli.options import Dataset, refuse
from wsolrefine.localization.methods import DEFAULT
from wsolrefine.metrics import thresholds_of

SIZE = 224


class Evaluated(NamedTuple):
    """What a run found out."""

    protocol: Protocol
    results: Results
    curves: Results


def run(options: Options) -> None:
    """Evaluate what the options name, print it and write it, or stop with the reason."""
    check(options)
    split = open_split(options, evaluated_name(options))
    other = _other(options, split)
    source = _source(options, split)
    try:
        options.out.mkdir(parents=True, exist_ok=True)  # is it writable? known before any work
    except OSError as error:
        stop(f"--out: cannot make the folder {options.out}: {error.strerror or error}", 1)
    try:
        with termination_as_interrupt():
            if isinstance(source, ModelMaps) and not source.localizer.regions:
                found = _evaluate_edges(options, split, source)
            else:
                found = _evaluate(options, split, other, source)
            console = Console(highlight=False)
            show(console, found.protocol, found.results, other.name if other else None)
            paths = write(options, *found)
    except KeyboardInterrupt:
        stop("stopped; nothing was written", 130)
    except Unusable as error:
        list_problems(error.problems)
        more = "" if error.complete else " (there may be more)"
        stop(f"no results: those of a subset would be inflated{more}", 1)
    except OSError as error:
        stop(f"cannot write to {options.out} ({error.strerror or error})", 1)
    except (RuntimeError, TypeError, ValueError) as error:
        stop(error, 1)
    for path in paths:
        console.print(Text.assemble("Wrote ", plain(path, console)), soft_wrap=True)


def _other(options: Options, split: Split) -> Split | None:
    """Open the split that chooses the thresholds, if it is another one."""
    name = options.threshold_from
    if name is None:
        return None
    if options.dataset is Dataset.wsolevaluation and not Path(name).is_dir():
        stop(f"--threshold-from: expected a folder of metadata, got {name}")
    same = name == split.name
    if options.dataset is Dataset.wsolevaluation:
        same = Path(name).resolve() == Path(split.name).resolve()
    if same:
        stop(f"--threshold-from: {name} is the evaluated split itself; leave the option out")
    other = open_split(options, name)
    if other.has_boxes != split.has_boxes or other.reader.has_masks != split.reader.has_masks:
        stop(f"--threshold-from: {name} and {split.name} do not both have boxes, or masks", 1)
    return other


def _source(options: Options, split: Split) -> Source:
    if options.maps is not None:
        return MapFolder(options.maps, options.normalize)
    localizer = _localizer(options)
    if not localizer.regions:
        _check_edges(options, split, localizer)
    outputs = localizer.num_classes
    same = outputs == split.classes
    if options.labels is Labels.true and not same:
        stop(
            f"--labels true: expected a classifier of the {split.classes} classes of the data set, "
            f"got one of {outputs}"
        )
    true = same and options.labels is not Labels.predicted
    return ModelMaps(localizer, options.size or SIZE, same_classes=same, true_class=true)


def _localizer(options: Options) -> Localizer:
    if options.recipe is not None:
        head = read_recipe(options.recipe, options.model)
        return load_recipe_localizer(head, options.model, options.device)
    assert options.model is not None
    return load_localizer(options.model, options.method or DEFAULT, options.layer, options.device)


def _check_edges(options: Options, split: Split, recipe: Localizer) -> None:
    """Stop where options or data have no use or no meaning for edges."""
    names = ("labels", "size", "hit", "threshold_from")
    refuse({name: getattr(options, name) for name in names}, f"{recipe.name} does not use it")
    if not split.reader.has_masks:
        stop(f"--recipe: {recipe.name} is measured on masks, of which {split.name} has none", 1)


def _evaluate(options: Options, split: Split, other: Split | None, source: Source) -> Evaluated:
    """Count the images, choose the thresholds, and read the results at them."""
    steps = thresholds_of(options.step)
    # An IoU above 0.5 is one of at least the next larger number.
    hit_iou = float(np.nextafter(0.5, 1)) if options.hit is Hit.above else 0.5
    true_class = isinstance(source, ModelMaps) and source.true_class
    rule = Rule(steps, hit_iou, steps, true_class)
    chosen = None
    if other is not None:
        folder = options.threshold_maps
        maps = MapFolder(folder, options.normalize) if folder is not None else source
        # The errors on the other split are of no use, and their thresholds cost time.
        before, _ = count_split(other, maps, rule._replace(errors_at=[]), options.batch_size)
        chosen = choose(before, steps)
        if chosen.single is not None:
            rule = rule._replace(errors_at=[steps[chosen.single]])
    counts, sizes = count_split(split, source, rule, options.batch_size)
    results, curves = results_of(counts, steps, chosen or choose(counts, steps), rule.errors_at)
    lines = protocol(options, split, other, source, rule, counts, sizes)
    return Evaluated(lines, results, curves)


def _evaluate_edges(options: Options, split: Split, source: ModelMaps) -> Evaluated:
    """Match the edges, each of a map, with the outlines of the masks."""
    results, curves, (images, size) = evaluate_edges(split, source, options.batch_size)
    folder = options.metadata if options.dataset is Dataset.wsolevaluation else options.root
    lines = edge_protocol(f"{options.dataset} ({folder})", split, source, images, size)
    return Evaluated(lines, results, curves)
