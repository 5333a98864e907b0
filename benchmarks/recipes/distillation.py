"""Distillation: maps of a training-free method, and what small networks learn from them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from lightning import LightningModule, seed_everything
from torch import Tensor, nn
from torch.utils.data import Dataset

from benchmarks.common import show_progress
from benchmarks.recipes.cache import kept_maps
from benchmarks.recipes.features import Features, batches, normalized
from benchmarks.recipes.groups import CLASSES
from benchmarks.recipes.measured import Row, located, results_of_maps
from benchmarks.recipes.run import Run
from benchmarks.recipes.splits import Split, first
from benchmarks.speed.timing import median_ratio, time_in_turn
from wsolrefine import Localizer, Preprocess, load_classifier
from wsolrefine.localization.class_maps import ClassMaps
from wsolrefine.recipes import Distill

TEACHERS = ("scg", "accurate")
STUDENTS: dict[str, dict[str, Any]] = {
    "an activation generator": {},
    "an MFF-Net": {"student": "mff", "width": 128, "learning_rate": 0.002},
}
EPOCHS, BATCH = 8, 8
TIMED, RUNS = 8, 5  # images in the batch that is timed, and least number of times


class Taught(NamedTuple):
    """What a teacher found in the images of a split, for the classes that it predicts."""

    logits: Tensor  # (N, 1000)
    maps: Tensor  # (N, 1, h, w)


def taught(teacher: Localizer, split: Split, preprocess: Preprocess) -> Taught:
    """Return the teacher's maps of all images of a split, in half precision."""
    found = []
    for indices in batches(len(split.labels)):
        one = teacher.class_maps(normalized(split.images[indices], preprocess))
        found.append((one.logits.half(), one.maps.half()))
        show_progress(f"maps of {teacher.method}", indices[-1] + 1, len(split.labels))
    return Taught(*(torch.cat(some) for some in zip(*found, strict=True)))


def lessons_of(teacher: Localizer, run: Run, name: str) -> Taught:
    """Return the teacher's maps of a split, or of as many training images as students see."""
    count = run.options.distill_train if name == "train" else None
    split, options = first(run.splits[name], count), run.options

    def make() -> Taught:
        return taught(teacher, split, run.preprocess)

    title = f"{teacher.method}-{name}-{len(split.labels)}"
    return Taught(*kept_maps(options.source, title, make, options.cache))


class Lessons(Dataset[Any]):
    """Features of images, and what the teacher found in them, each several times."""

    def __init__(self, features: Features, found: Taught, times: int) -> None:
        self.features, self.found, self.times = features, found, times

    def __len__(self) -> int:
        return len(self.found.maps) * self.times

    def __getitems__(self, indices: list[int]) -> tuple[list[Tensor], ClassMaps]:
        indices = [index % len(self.found.maps) for index in indices]
        logits, maps = (some[indices].float() for some in self.found)
        stages, _ = self.features.__getitems__(indices)
        return stages, ClassMaps(logits, logits.argmax(1, keepdim=True), maps)


class Student(LightningModule):
    """The recipe, on features and maps computed once."""

    def __init__(self, recipe: Distill) -> None:
        super().__init__()
        self.recipe = recipe

    def on_train_epoch_start(self) -> None:
        self.recipe.prepare(self.current_epoch)

    def training_step(self, batch: Sequence[Any], batch_index: int) -> Tensor:
        return self.recipe.distillation_loss(*batch)

    def configure_optimizers(self) -> Any:
        return self.recipe.configure_optimizers()


def rows(run: Run, seed: int) -> Iterator[Row]:
    """Yield the rows of each teacher and of its students.

    A teacher has the same maps with every seed.
    """
    for method in TEACHERS:
        teacher = Localizer(load_classifier(), refine=method)
        start = time.perf_counter()
        if method not in run.taught:
            run.taught[method] = {name: lessons_of(teacher, run, name) for name in run.splits}
        found = run.taught[method]
        maps = {name: some.maps[:, 0].float() for name, some in found.items()}
        seconds = time.perf_counter() - start
        yield row(run, f"{method}, the teacher", maps, teacher, seconds)
        for title, settings in STUDENTS.items():
            seed_everything(seed, verbose=False)
            settings = {"epochs": EPOCHS, **settings}
            recipe = Distill(nn.Identity(), run.channels, CLASSES, train_head=True, **settings)
            lessons = Lessons(run.features["train"], found["train"], run.options.distill_times)
            seconds = run.train(Student(recipe), lessons, epochs=EPOCHS, seed=seed, batch=BATCH)
            maps = {name: located(recipe, run.features[name])[1] for name in maps}
            whole = Distill(run.backbone, run.channels, CLASSES, **settings)
            whole.student.load_state_dict(recipe.student.state_dict())
            yield row(run, f"{method}, distilled into {title}", maps, whole, seconds)


def row(run: Run, name: str, maps: dict[str, Tensor], localizer: Localizer, seconds: float) -> Row:
    """Return a row with its cost; classes are not measured, because they are ImageNet's."""
    run.shown.setdefault(name, maps["test"])
    images = normalized(run.splits["test"].images[:TIMED], run.preprocess)
    cost = forwards(localizer, run.backbone.model, images)
    return name, {**results_of_maps(maps, run.splits), "forwards": cost, "seconds": seconds}


def forwards(localizer: Localizer, model: nn.Module, images: Tensor) -> float:
    """Return the time from images to maps as a multiple of one run of the model, in one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def forward() -> None:
        with torch.inference_mode():
            model(images)

    calls = {"forward": forward, "maps": lambda: localizer.class_maps(images)}
    times = time_in_turn(calls, RUNS, "cpu")
    torch.set_num_threads(threads)
    return median_ratio(times["maps"], times["forward"])
