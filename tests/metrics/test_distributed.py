"""What every metric promises: counts that add up over batches, copies and processes."""

import copy
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from torchmetrics import Metric, MetricCollection

from tests.support.processes import join, run_two
from tests.support.strategies import SEEDS, generator
from wsolrefine import metrics
from wsolrefine.metrics import (
    BoundaryResult,
    BoundaryScore,
    BoxAccuracy,
    ErrorRates,
    LocalizationAccuracy,
    LocalizationErrors,
    LocalizationRates,
    MaxBoxAcc,
    MaxBoxAccV2,
    PeakIoU,
    PeakIoUResult,
    PixelPrecision,
    PxAP,
    thresholds_of,
)

ROOT = Path(__file__).parents[2]


def box_inputs(seed, images):
    """Smooth maps, ragged true boxes in images of several sizes, and these sizes."""
    g = generator(seed)
    maps = torch.nn.functional.avg_pool2d(torch.rand(images, 11, 12, generator=g), 3, 1, 1)
    boxes = []
    for i in range(images):
        start = torch.rand(i % 3, 2, generator=g) * 15
        boxes.append(torch.cat([start, start + 1 + 25 * torch.rand(i % 3, 2, generator=g)], 1))
    return maps / maps.amax(), boxes, torch.randint(20, 40, (images, 2), generator=g)


def mask_inputs(seed, images):
    """Maps that prefer the object, and masks with ignored pixels."""
    g = generator(seed)
    masks = torch.tensor([0, 1, 255])[torch.randint(0, 3, (images, 6, 7), generator=g)]
    masks[:, 0, 0] = 1
    return (0.7 * torch.rand(masks.shape, generator=g) + 0.3 * (masks == 1)), masks


def edge_inputs(seed, images):
    """Soft edges, and boundaries that some of them run beside."""
    g = generator(seed)
    boundaries = torch.rand(images, 9, 11, generator=g) > 0.7
    boundaries[:, 4] = True
    return (boundaries.roll(1, 1) + torch.rand(boundaries.shape, generator=g)) / 2, boundaries


def class_inputs(seed, images):
    """Boxes of three predicted classes each, some near the ragged true ones, and the classes."""
    g = generator(seed)
    start = 4 * torch.rand(images, 3, 2, generator=g)
    boxes = torch.cat([start, start + 2 + 4 * torch.rand(images, 3, 2, generator=g)], 2)
    labels = torch.rand(images, 5, generator=g).argsort(1)[:, :3]
    noise = torch.rand(images, 3, 4, generator=g) - 0.5  # a true box keeps a pixel
    true = [some[: 1 + i % 3] for i, some in enumerate(boxes.flip(1) + noise)]
    return boxes, labels, true, torch.randint(0, 5, (images,), generator=g)


def first_class_inputs(seed, images):
    boxes, labels, true, target_labels = class_inputs(seed, images)
    target_labels[::2] = labels[::2, 0]
    return boxes[:, 0], labels[:, 0], true, target_labels


class Case(NamedTuple):
    metric: Callable[..., Metric]
    inputs: Callable
    result: type


STEPS = thresholds_of(0.1)
BOXES, BOXES_V2 = (partial(metric, thresholds=STEPS) for metric in (MaxBoxAcc, MaxBoxAccV2))
CASES = {
    "MaxBoxAcc": Case(BOXES, box_inputs, BoxAccuracy),
    "MaxBoxAcc half-open": Case(partial(BOXES, half_open=True), box_inputs, BoxAccuracy),
    "MaxBoxAccV2": Case(BOXES_V2, box_inputs, BoxAccuracy),
    "MaxBoxAccV2 half-open": Case(partial(BOXES_V2, half_open=True), box_inputs, BoxAccuracy),
    "PxAP": Case(partial(PxAP, thresholds=STEPS), mask_inputs, PixelPrecision),
    "PeakIoU pooled": Case(PeakIoU, mask_inputs, PeakIoUResult),
    "PeakIoU mean": Case(partial(PeakIoU, aggregate="mean"), mask_inputs, PeakIoUResult),
    "LocalizationAccuracy": Case(
        partial(LocalizationAccuracy, hit=">="), class_inputs, LocalizationRates
    ),
    "BoundaryScore": Case(
        partial(BoundaryScore, thresholds=STEPS, tolerance=0.1), edge_inputs, BoundaryResult
    ),
    "LocalizationErrors": Case(LocalizationErrors, first_class_inputs, ErrorRates),
}
every_metric = pytest.mark.parametrize("name", CASES)


def part(inputs, some):
    return tuple(argument[some] for argument in inputs)


def computed(case, *batches, metric=None):
    metric = case.metric() if metric is None else metric
    for batch in batches:
        metric.update(*batch)
    return metric.details()


def scalars(case, *batches):
    """Return what is logged."""
    metric = case.metric()
    for batch in batches:
        metric.update(*batch)
    return metric.compute()


def assert_equal(one, other):
    assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def assert_same(out, expected):
    """Equal to the last bit, but for the order in which a mean over images is summed."""
    assert type(out) is type(expected)
    for name in expected._fields:
        one, other = (getattr(result, name).cpu() for result in (out, expected))
        assert_close(one, other, rtol=1e-15, atol=1e-15, equal_nan=True)


@every_metric
@given(seed=SEEDS, images=st.integers(1, 4), cut=st.integers(0, 4))
def test_batches_add_up(name, seed, images, cut):
    """One batch, two, one with no image, and the sums of the states of two copies."""
    case = CASES[name]
    inputs = case.inputs(seed, images)
    first, second = part(inputs, slice(0, cut)), part(inputs, slice(cut, None))
    whole = computed(case, inputs)
    assert_same(computed(case, first, second), whole)
    assert_same(computed(case, second, first), whole)
    ranks = [case.metric(), case.metric()]
    for rank, batch in zip(ranks, (first, second), strict=True):
        rank.update(*batch)
    merged = case.metric()
    merged.update(*part(inputs, slice(0, 0)))
    for state in merged._defaults:
        total = getattr(ranks[0], state) + getattr(ranks[1], state)
        assert total.dtype == merged._defaults[state].dtype
        setattr(merged, state, total)
    assert_same(merged.details(), whole)


@every_metric
def test_forward_gives_the_batch_and_adds_it(name):
    case = CASES[name]
    first, second = case.inputs(0, 4), case.inputs(1, 3)
    metric = case.metric()
    assert_equal(metric(*first), scalars(case, first))
    assert_equal(metric(*second), scalars(case, second))
    assert_same(metric.details(), computed(case, first, second))


@every_metric
def test_reset_forgets(name):
    case = CASES[name]
    first, second = case.inputs(0, 4), case.inputs(1, 3)
    metric = case.metric()
    computed(case, first, metric=metric)
    metric.reset()
    assert_same(computed(case, second, metric=metric), computed(case, second))


@every_metric
def test_copies_go_their_own_way(name):
    case = CASES[name]
    first, second = case.inputs(0, 4), case.inputs(1, 3)
    metric = case.metric()
    metric.update(*first)
    for other in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), metric.clone()):
        assert_same(other.details(), computed(case, first))
        assert_same(computed(case, second, metric=other), computed(case, first, second))
    assert_same(metric.details(), computed(case, first))


@every_metric
def test_states_are_saved_where_asked_for(name):
    case = CASES[name]
    first, second = case.inputs(0, 4), case.inputs(1, 3)
    metric = case.metric()
    assert not metric.state_dict()
    metric.persistent(True)
    metric.update(*first)
    other = case.metric()
    other.persistent(True)
    other.load_state_dict(metric.state_dict())
    assert_same(computed(case, second, metric=other), computed(case, first, second))


@every_metric
def test_metric_and_inputs_may_be_on_different_devices(name, device):
    case = CASES[name]
    inputs = case.inputs(0, 4)
    moved = [
        [box.to(device) for box in argument] if isinstance(argument, list) else argument.to(device)
        for argument in inputs
    ]
    expected = computed(case, inputs)
    for metric, given_inputs in (
        (case.metric().to(device), moved),
        (case.metric().to(device), inputs),
        (case.metric(), moved),
    ):
        result = computed(case, given_inputs, metric=metric)
        assert_same(result, expected)
        assert all(value.device == metric.device for value in result)


@every_metric
def test_scalars_are_logged_and_details_are_tuples(name):
    case = CASES[name]
    inputs = case.inputs(0, 4)
    result = computed(case, inputs)
    assert type(result) is case.result
    assert all(isinstance(value, torch.Tensor) for value in result)
    out = scalars(case, inputs)
    for value in out.values() if isinstance(out, dict) else [out]:
        assert value.shape == ()
        assert value.dtype == torch.float64
    if isinstance(out, dict):
        assert out.items() <= result._asdict().items()
        assert all(re.fullmatch("[a-z][a-z0-9_]+", key) for key in out)
    else:
        assert_equal(out, result[0])
    assert len(str(out)) < 250
    metric = case.metric()
    assert not metric.is_differentiable
    assert metric.higher_is_better is (name != "LocalizationErrors")
    assert metric.full_state_update is False


def test_metrics_work_in_a_collection():
    """Each takes of the named arguments what is its own."""
    g = generator(2)
    maps, boxes, sizes = box_inputs(0, 6)
    masks = torch.randint(0, 2, maps.shape, generator=g)
    named = {name: case for name, case in CASES.items() if case.inputs in (box_inputs, mask_inputs)}
    collection = MetricCollection({name: case.metric() for name, case in named.items()})
    for some in (slice(0, 2), slice(2, 6)):
        batch = {"maps": maps, "boxes": boxes, "image_sizes": sizes, "masks": masks}
        collection.update(**{key: value[some] for key, value in batch.items()})
    results = collection.compute()
    for name, case in named.items():
        inputs = (maps, boxes, sizes) if case.inputs is box_inputs else (maps, masks)
        expected = scalars(case, inputs)
        if isinstance(expected, dict):
            # Two of the collection have these names.
            expected = {f"{name}_{key}": value for key, value in expected.items()}
        else:
            expected = {name: expected}
        assert_equal({key: results[key] for key in expected}, expected)
        assert_same(collection[name].details(), computed(case, inputs))


IOUS = (0.3, 0.5, 0.7)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (partial(BOXES, ious=IOUS), partial(BOXES_V2, ious=IOUS)),
        (partial(BOXES, ious=IOUS), partial(BOXES, ious=(0.2, 0.5, 0.7))),
        (BOXES, partial(MaxBoxAcc, thresholds=[step + 0.01 for step in STEPS])),
        (BOXES, partial(BOXES, half_open=True)),
    ],
    ids=["largest and all", "ious", "thresholds", "half-open"],
)
def test_metrics_that_agree_at_first_stay_apart_in_a_collection(one, other):
    """A collection updates metrics as one from then on if their states are equal after a batch."""
    collection = MetricCollection({"one": one(), "other": other()})
    clear = torch.zeros(1, 40, 40)
    clear[0, 5:35, 5:35] = 1
    collection.update(clear, [torch.tensor([[5, 5, 35, 35]])])
    maps, boxes, sizes = box_inputs(3, 40)
    collection.update(maps, boxes, sizes)
    results = collection.compute()
    for name, metric in (("one", one()), ("other", other())):
        metric.update(clear, [torch.tensor([[5, 5, 35, 35]])])
        metric.update(maps, boxes, sizes)
        assert_equal(results[name], metric.compute())
        assert_same(collection[name].details(), metric.details())


def test_precisions_that_agree_at_first_stay_apart_in_a_collection():
    settings = [{"thresholds": [0, 0.5]}, {"thresholds": [0, 0.7]}]
    settings += [{"thresholds": [0, 0.5], "ignore_index": 3}]
    collection = MetricCollection({str(i): PxAP(**some) for i, some in enumerate(settings)})
    alone = [PxAP(**some) for some in settings]
    for batch in (
        (torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[0, 1]]])),
        (torch.tensor([[[0.6, 0.9, 0.1, 0.8]]]), torch.tensor([[[0, 1, 1, 3]]])),
    ):
        collection.update(*batch)
        for metric in alone:
            metric.update(*batch)
    results = collection.compute()
    for i, metric in enumerate(alone):
        assert_equal(results[str(i)], metric.compute())
        assert_same(collection[str(i)].details(), metric.details())


# --- two processes ----------------------------------------------------------------------------------

IMAGES, SPLIT = 7, 3  # the second process has more images than the first


def run_rank(rank, folder):
    """Update each metric with this process' part, in two batches, and save what it computes."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    folder = Path(folder)
    join(rank, folder)
    results = {}
    for name, case in CASES.items():
        own = part(case.inputs(5, IMAGES), slice(SPLIT) if rank == 0 else slice(SPLIT, None))
        metric = case.metric()
        metric.update(*part(own, slice(0, 1)))
        early = metric.details()  # must not leave the other process' counts in this one
        metric.update(*part(own, slice(1, None)))
        results[name] = [tuple(early), tuple(metric.details()), metric.compute()]
    torch.save(results, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return run_two("tests.metrics.test_distributed", tmp_path_factory.mktemp("ranks"))


@every_metric
def test_two_processes_give_the_result_of_one(ranks, name):
    case = CASES[name]
    inputs = case.inputs(5, IMAGES)
    early = computed(case, part(inputs, slice(0, 1)), part(inputs, slice(SPLIT, SPLIT + 1)))
    whole = computed(case, inputs)
    for results in ranks:
        assert_same(case.result(*results[name][0]), early)
        assert_same(case.result(*results[name][1]), whole)
        assert_equal(results[name][2], scalars(case, inputs))


# --- without torchmetrics ---------------------------------------------------------------------------

WITHOUT = """
import sys
sys.modules["torchmetrics"] = None  # as where it is not installed
import inspect, torch
import wsolrefine.metrics as metrics
maps, masks = torch.eye(4)[None], torch.eye(4)[None].long()
boxes = [torch.tensor([[0, 0, 4, 4]])]
print(metrics.count_box_hits(maps, boxes, thresholds=[0.5], ious=[1.0]).item())
print(metrics.count_box_hits_half_open(maps, boxes, thresholds=[0.5], ious=[1.0]).item())
print(metrics.pixel_average_precision(metrics.count_scores(maps, masks)).average_precision.item())
print(metrics.peak_iou(metrics.count_gray_levels(maps, masks)).peak_iou.item())
for name in metrics.__all__:
    made = getattr(metrics, name)
    if inspect.isclass(made) and "update" in dir(made):
        try:
            made(**({"hit": ">="} if name == "LocalizationAccuracy" else {}))
        except ImportError as error:
            print(error)
"""


def test_without_torchmetrics_the_functions_work_and_metrics_say_what_to_install():
    command = [sys.executable, "-W", "error", "-c", WITHOUT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures, messages = done.stdout.splitlines()[:4], done.stdout.splitlines()[4:]
    assert figures == ["1", "1", "1.0", "1.0"]
    classes = [made for name in metrics.__all__ if isinstance(made := getattr(metrics, name), type)]
    assert sorted(messages) == sorted(
        f"{made.__name__} needs torchmetrics: pip install 'wsolrefine[metrics]'"
        for made in classes
        if issubclass(made, Metric)
    )
    assert messages
