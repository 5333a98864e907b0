"""The metrics in other people's training: torchmetrics' wrappers, and Lightning's loggers."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torchmetrics
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.testing import assert_close
from torch.utils.data import DataLoader
from torchmetrics import MetricCollection, MetricTracker
from torchmetrics.wrappers import BootStrapper, MinMaxMetric, MultioutputWrapper, Running

from tests.metrics.test_distributed import CASES, box_inputs, every_metric, mask_inputs
from tests.support.small_recipes import HARMLESS
from wsolrefine.metrics import (
    BoundaryScore,
    LocalizationRates,
    MaxBoxAcc,
    MaxBoxAccV2,
    PeakIoU,
    PxAP,
    thresholds_of,
)

pyplot = pytest.importorskip("matplotlib.pyplot")
ROOT = Path(__file__).parents[2]
STEPS = thresholds_of(0.1)
SCALAR = [name for name in CASES if name.startswith(("MaxBoxAcc", "PxAP"))]
every_scalar = pytest.mark.parametrize("name", SCALAR)
every_dictionary = pytest.mark.parametrize("name", [name for name in CASES if name not in SCALAR])
BACKGROUND = torch.rand(2, 6, 7), torch.zeros(2, 6, 7).long()


def value(name, *batches):
    metric = CASES[name].metric()
    for batch in batches:
        metric.update(*batch)
    return metric.compute()


def equal(one, other):
    assert_close(one, other, rtol=0, atol=0, equal_nan=True)


# Lightning ----------------------------------------------------------------------------------------


class Validated(LightningModule):
    """A network of one weight; each validation batch is maps, masks and boxes of its own."""

    def __init__(self, batches, metrics):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.batches = batches
        for name, metric in metrics.items():
            setattr(self, name, metric)
        self.seen = []

    def training_step(self, batch):
        return (self.weight * batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        return DataLoader(torch.ones(2, 1))

    def val_dataloader(self):
        return DataLoader(range(len(self.batches)), batch_size=1)


def fit(module, folder, *, epochs=1, callbacks=()):
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=folder,
        logger=CSVLogger(folder),
        callbacks=list(callbacks),
        enable_checkpointing=bool(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    trainer.fit(module)
    return trainer


lightning = pytest.mark.filterwarnings(*(f"ignore:{message}" for message in HARMLESS))


class LogsMetrics(Validated):
    def validation_step(self, batch):
        maps, boxes, sizes, masks = self.batches[int(batch)]
        self.boxes.update(maps, boxes, sizes)
        self.pixels(maps, masks)
        self.log("boxes", self.boxes)
        self.log("pixels", self.pixels, on_step=True, on_epoch=True)


def validation_batches(seeds=(0, 1)):
    batches = []
    for seed in seeds:
        maps, boxes, sizes = box_inputs(seed, 3)
        masks = torch.randint(0, 2, maps.shape, generator=torch.Generator().manual_seed(seed))
        batches.append((maps, boxes, sizes, masks))
    return batches


@lightning
def test_lightning_logs_a_metric(tmp_path):
    batches = validation_batches()
    module = LogsMetrics(batches, {"boxes": MaxBoxAcc(), "pixels": PxAP()})
    trainer = fit(module, tmp_path, epochs=2)
    boxes, pixels = MaxBoxAcc(), PxAP()
    for maps, true, sizes, masks in batches:
        boxes.update(maps, true, sizes)
        pixels.update(maps, masks)
    logged = trainer.callback_metrics
    # Of the last epoch alone: the first one's counts were reset.
    equal(logged["boxes"], boxes.compute())
    equal(logged["pixels_epoch"], pixels.compute())


class LogsDictionary(Validated):
    def validation_step(self, batch):
        maps, _, _, masks = self.batches[int(batch)]
        self.peak.update(maps, masks)
        self.collection.update(maps, masks)
        self.log_dict(self.collection)

    def on_validation_epoch_end(self):
        self.log_dict(self.peak.compute())
        self.peak.reset()


@lightning
def test_lightning_logs_a_dictionary_and_a_collection(tmp_path):
    batches = validation_batches()
    pixels = MetricCollection([PxAP()], prefix="val_")
    trainer = fit(LogsDictionary(batches, {"peak": PeakIoU(), "collection": pixels}), tmp_path)
    peak = PeakIoU()
    for maps, _, _, masks in batches:
        peak.update(maps, masks)
    logged = trainer.callback_metrics
    assert {*peak.compute(), "val_PxAP"} <= logged.keys()
    for name, expected in peak.compute().items():
        equal(logged[name], expected)


class LogsOneOfSeveral(Validated):
    def validation_step(self, batch):
        maps, _, _, masks = self.batches[int(batch)]
        self.peak.update(maps, masks)
        self.log("peak_iou", self.percent)


@lightning
def test_lightning_logs_one_scalar_of_a_dictionary(tmp_path):
    batches = validation_batches()
    peak = PeakIoU()
    module = LogsOneOfSeveral(batches, {"peak": peak, "percent": 100 * peak["peak_iou"]})
    trainer = fit(module, tmp_path)
    alone = PeakIoU()
    for maps, _, _, masks in batches:
        alone.update(maps, masks)
    expected = 100 * alone.compute()["peak_iou"]
    equal(trainer.callback_metrics["peak_iou"], expected)


class Improves(Validated):
    """The map is right in the second epoch of three."""

    def validation_step(self, batch):
        masks = torch.zeros(1, 4, 4).long()
        masks[:, 1:3, 1:3] = 1
        right = self.current_epoch == 1
        self.pixels.update((masks if right else 1 - masks).float(), masks)
        self.log("PxAP", self.pixels)


@lightning
def test_a_checkpoint_is_kept_by_a_metric(tmp_path):
    keep = ModelCheckpoint(tmp_path / "kept", "{epoch}", monitor="PxAP", mode="max", save_top_k=1)
    fit(Improves([0], {"pixels": PxAP()}), tmp_path, epochs=3, callbacks=[keep])
    assert Path(keep.best_model_path).name == "epoch=1.ckpt"
    assert keep.best_model_score == 1


@lightning
def test_an_epoch_goes_on_after_a_batch_without_an_object(tmp_path):
    (maps, boxes, sizes, masks), other = validation_batches()
    batches = [(maps, boxes, sizes, masks), (maps, boxes, sizes, 0 * masks), other]
    module = LogsMetrics(batches, {"boxes": MaxBoxAcc(), "pixels": PxAP()})
    trainer = fit(module, tmp_path)
    pixels = PxAP()
    for some in batches:
        pixels.update(some[0], some[3])
    logged = trainer.callback_metrics["pixels_epoch"].double()
    equal(logged, pixels.compute())
    assert logged.isfinite()


# A batch of its own -------------------------------------------------------------------------------


def test_a_batch_of_background_is_nan_and_loses_no_count():
    for metric in (PxAP(), PeakIoU(), PeakIoU(aggregate="mean")):
        metric(*mask_inputs(0, 3))
        objects = metric.counts[0].clone()
        out = metric(*BACKGROUND)
        assert all(one.isnan() for one in (out.values() if isinstance(out, dict) else [out]))
        equal(metric.counts[0], objects)
        alone = metric.clone()
        alone.reset()
        alone.update(*mask_inputs(0, 3))
        alone.update(*BACKGROUND)
        equal(metric.compute(), alone.compute())


def test_edges_without_a_boundary_are_nan_and_lose_no_count():
    metric = BoundaryScore(thresholds=STEPS[1:])
    edges, boundaries = CASES["BoundaryScore"].inputs(0, 2)
    metric(edges, boundaries)
    before = metric.compute()
    assert all(one.isnan() for one in metric(0 * edges, boundaries & False).values())
    equal(metric.compute(), before)


@every_metric
def test_a_refused_batch_loses_no_count(name):
    case = CASES[name]
    metric = case.metric()
    first, second = case.inputs(0, 3), case.inputs(1, 3)
    metric(*first)
    wrong_kinds = [(second[0][:2], *second[1:]), (second[0], None, *second[2:])]
    for wrong in wrong_kinds:
        for call in (metric, metric.forward, metric.update):
            with pytest.raises((TypeError, ValueError)):
                call(*wrong)
            assert metric.update_called
            equal(metric.compute(), value(name, first))
    metric(*second)
    equal(metric.compute(), value(name, first, second))


@every_metric
def test_a_metric_of_nothing_is_nan(name):
    metric = CASES[name].metric()
    with pytest.warns(UserWarning, match="was called before the ``update`` method"):
        out = metric.compute()
    assert all(one.isnan() for one in (out.values() if isinstance(out, dict) else [out]))
    details = metric.details()
    assert type(details) is CASES[name].result
    assert details[0].isnan()


@every_metric
def test_what_is_printed_is_short(name):
    assert len(str(value(name, CASES[name].inputs(0, 4)))) < 260


# Wrappers of torchmetrics -------------------------------------------------------------------------


@every_scalar
def test_metrics_are_tracked_over_epochs(name):
    case = CASES[name]
    tracker = MetricTracker(case.metric(), maximize=True)
    values = []
    for seed in (1, 0, 2):
        tracker.increment()
        tracker.update(*case.inputs(seed, 6))
        values.append(value(name, case.inputs(seed, 6)))
    best, at = tracker.best_metric(return_step=True)
    assert best == max(values)
    assert at == values.index(max(values))
    equal(tracker.compute_all(), torch.stack(values))


@every_dictionary
def test_metrics_of_several_scalars_are_tracked_in_a_collection(name):
    case = CASES[name]
    tracker = MetricTracker(MetricCollection([case.metric()]), maximize=True)
    values = []
    for seed in (1, 0):
        tracker.increment()
        tracker.update(*case.inputs(seed, 6))
        values.append(value(name, case.inputs(seed, 6)))
    best, at = tracker.best_metric(return_step=True)
    assert best == {key: max(one[key].item() for one in values) for key in values[0]}
    assert set(at.values()) <= {0, 1}


def test_the_tracker_asks_metrics_what_is_better():
    assert all(MetricTracker(metric).maximize for metric in (MaxBoxAcc(), MaxBoxAccV2(), PxAP()))


@every_scalar
def test_the_range_of_a_metric_is_kept(name):
    case = CASES[name]
    metric = MinMaxMetric(case.metric())
    values = []
    for seed in (0, 1, 2):
        metric.update(*case.inputs(seed, 4))
        values.append(value(name, *(case.inputs(one, 4) for one in range(seed + 1))))
        found = metric.compute()
    equal(found, {"raw": values[-1], "min": min(values), "max": max(values)})


@every_metric
def test_a_running_metric_is_that_of_the_last_batches(name):
    case = CASES[name]
    metric = Running(case.metric(), window=2)
    batches = [case.inputs(seed, 3) for seed in range(5)]
    for i, batch in enumerate(batches):
        if i % 2:
            metric.update(*batch)
        else:
            equal(metric(*batch), value(name, batch))
    equal(metric.compute(), value(name, *batches[3:]))


@pytest.mark.parametrize("name", ["PxAP", "MaxBoxAcc", "MaxBoxAccV2 half-open"])
def test_images_are_drawn_again(name):
    """The bootstrap picks rows of tensors: of boxes too, if each image has as many."""
    case = CASES[name]
    inputs = list(case.inputs(0, 8))
    if case.inputs is box_inputs:
        inputs[1] = torch.tensor([[[1.0, 1, 30, 30]], [[20.0, 20, 23, 23]]]).repeat(4, 1, 1)
    torch.manual_seed(0)
    metric = BootStrapper(case.metric(), num_bootstraps=4, raw=True)
    metric.update(*inputs)
    found = metric.compute()
    assert found["raw"].shape == (4,)
    assert found["mean"].isfinite()
    assert found["raw"].unique().numel() > 1


def test_several_maps_of_an_image_are_measured_apart():
    maps, masks = (
        torch.stack([one, other], 1)
        for one, other in zip(mask_inputs(0, 4), mask_inputs(1, 4), strict=True)
    )
    metric = MultioutputWrapper(PxAP(), num_outputs=2, output_dim=1, remove_nans=False)
    metric.update(maps, masks)
    found = metric.compute()
    equal(found, torch.stack([value_of(PxAP(), mask_inputs(seed, 4)) for seed in (0, 1)]))


def value_of(metric, *batches):
    for batch in batches:
        metric.update(*batch)
    return metric.compute()


def test_metrics_are_added_and_scaled():
    boxes, pixels = MaxBoxAcc(thresholds=STEPS), PxAP(thresholds=STEPS)
    percent, both, ratio = boxes * 100, boxes + pixels, (boxes - pixels) / 2
    maps, true, sizes = box_inputs(0, 4)
    masks = torch.randint(0, 2, maps.shape, generator=torch.Generator().manual_seed(0))
    boxes.update(maps, true, sizes)
    pixels.update(maps, masks)
    one, other = boxes.compute(), pixels.compute()
    equal(percent.compute(), 100 * one)
    equal(both.compute(), one + other)
    equal(ratio.compute(), (one - other) / 2)
    assert (boxes > 2).compute() == (one > 2)


@every_dictionary
def test_one_scalar_of_several_is_a_metric_too(name):
    case = CASES[name]
    metric = case.metric()
    expected = value(name, case.inputs(0, 4))
    scalars = {key: metric[key] * 2 for key in expected}
    metric.update(*case.inputs(0, 4))
    for key, scalar in scalars.items():
        equal(scalar.compute(), 2 * expected[key])


def test_a_prefix_names_the_scalars_of_a_collection():
    found = MetricCollection(
        {"boxes": MaxBoxAcc(), "peak": PeakIoU(), "mean": PeakIoU(aggregate="mean")}, prefix="val/"
    )
    maps, true, sizes = box_inputs(0, 3)
    masks = torch.ones(maps.shape).long()
    found.update(maps=maps, boxes=true, image_sizes=sizes, masks=masks)
    names = ("peak_iou", "peak_threshold", "average_precision")
    expected = {f"val/{which}_{name}" for which in ("peak", "mean") for name in names}
    assert set(found.compute()) == expected | {"val/boxes"}


def test_metrics_of_the_same_settings_are_counted_once():
    collection = MetricCollection({"one": PxAP(), "same": PxAP(), "other": PxAP(ignore_index=7)})
    collection.update(*mask_inputs(0, 3))
    groups = sorted(sorted(group) for group in collection.compute_groups.values())
    assert groups == [["one", "same"], ["other"]]
    equal(collection["same"].details().precision, collection["one"].details().precision)


SETTINGS = {
    "MaxBoxAcc": [{"thresholds": STEPS}, {"thresholds": STEPS, "half_open": True}],
    "PxAP": [{"thresholds": STEPS}, {"thresholds": STEPS, "ignore_index": 3}],
    "PeakIoU": [{}, {"aggregate": "mean"}],
    "LocalizationAccuracy": [{"hit": ">"}, {"hit": ">="}],
    "LocalizationErrors": [{}, {"inclusive": True}],
    "BoundaryScore": [{"thresholds": STEPS}, {"thresholds": STEPS, "suppress": False}],
}


@pytest.mark.skipif(
    tuple(map(int, torchmetrics.__version__.split(".")[:2])) < (1, 7), reason="merge_state is new"
)
@pytest.mark.parametrize("name", SETTINGS)
def test_counts_are_merged_only_with_those_of_the_same_settings(name):
    import wsolrefine.metrics

    case = next(case for key, case in CASES.items() if key.split()[0] == name)
    make = getattr(wsolrefine.metrics, name)
    one, other, different = (make(**SETTINGS[name][i]) for i in (0, 0, 1))
    batches = case.inputs(0, 3), case.inputs(1, 4)
    one.update(*batches[0])
    other.update(*batches[1])
    different.update(*batches[1])
    for wrong in (different, different.metric_state):
        with pytest.raises(
            ValueError, match=r"^incoming_state.*: expected a metric of the same class"
        ):
            one.merge_state(wrong)
    for wrong in ({}, {"settings": one.settings}):
        with pytest.raises(ValueError, match=r"^incoming_state: expected states settings, "):
            one.merge_state(wrong)
    for wrong in (3, None, {**other.metric_state, "settings": [1]}):
        with pytest.raises(TypeError, match=r"^incoming_state.*: expected a "):
            one.merge_state(wrong)
    one.merge_state(other)
    equal(one.compute(), value_of(make(**SETTINGS[name][0]), *batches))
    one.merge_state(other.metric_state)
    equal(one.compute(), value_of(make(**SETTINGS[name][0]), *batches, batches[1]))
    several = make(**SETTINGS[name][0])
    several(*batches[0])  # forward adds up the state of the settings too
    several(*batches[1])
    last = make(**SETTINGS[name][0])
    last.update(*batches[0])
    last.merge_state(several.metric_state)
    equal(last.compute(), value_of(make(**SETTINGS[name][0]), *batches, batches[0]))


@pytest.mark.parametrize("name", SETTINGS)
def test_states_are_loaded_only_into_a_metric_of_the_same_settings(name):
    import wsolrefine.metrics

    case = next(case for key, case in CASES.items() if key.split()[0] == name)
    make = getattr(wsolrefine.metrics, name)
    one, other, different = (make(**SETTINGS[name][i]) for i in (0, 0, 1))
    for metric in (one, other, different):
        metric.persistent(True)
        metric.update(*case.inputs(0, 3))
    one(*case.inputs(1, 2))
    before, saved = different.compute(), one.state_dict()
    with pytest.raises(ValueError, match=r"^state_dict\['.*'\]: expected .* of the same class and"):
        different.load_state_dict(dict(saved))
    with pytest.raises(ValueError, match=r"^state_dict\['val\..*'\]: expected "):
        torch.nn.ModuleDict({"val": different}).load_state_dict(
            {f"val.{key}": state for key, state in saved.items()}
        )
    equal(different.compute(), before)
    with pytest.raises(TypeError, match=r"^state_dict\['settings'\]: expected dtype torch.int64"):
        other.load_state_dict({key: state.double() for key, state in saved.items()})
    other.load_state_dict(dict(saved))
    equal(other.compute(), one.compute())


@every_metric
def test_counts_stay_whole_in_any_dtype(name):
    case = CASES[name]
    metric = case.metric()
    metric.update(*case.inputs(0, 4))
    for other in (metric.half(), metric.bfloat16(), metric.set_dtype(torch.float16)):
        assert all(getattr(other, state).dtype == torch.int64 for state in other._defaults)
    equal(metric.compute(), value(name, case.inputs(0, 4)))


# Plots --------------------------------------------------------------------------------------------


@pytest.fixture
def figures():
    yield
    pyplot.close("all")


@every_metric
@pytest.mark.usefixtures("figures")
def test_results_are_drawn(name):
    case = CASES[name]
    metric = case.metric()
    metric.update(*case.inputs(0, 4))
    figure, axes = metric.plot()
    figure.canvas.draw()
    assert axes.get_title()
    assert axes.get_ylabel()
    assert axes.lines or axes.patches
    own = pyplot.subplots()
    assert metric.plot(ax=own[1]) == own
    assert metric.plot(metric.details(), ax=own[1]) == own
    figure, axes = metric.plot(metric.compute())
    assert axes.lines
    figure, axes = metric.plot([metric.compute(), metric.compute()])
    figure.canvas.draw()
    assert axes.get_xlabel() == "Step"


@pytest.mark.usefixtures("figures")
def test_the_curve_and_its_best_point_are_drawn():
    metric = MaxBoxAccV2(thresholds=STEPS)
    metric.update(*box_inputs(0, 8))
    details = metric.details()
    _, axes = metric.plot()
    lines = axes.lines
    assert len(lines) == 6  # for each IoU a curve and a point
    for i, (line, point) in enumerate(zip(lines[::2], lines[1::2], strict=True)):
        assert line.get_xdata().tolist() == STEPS
        assert line.get_ydata().tolist() == details.curve[i].tolist()
        assert point.get_xdata() == details.best_thresholds[i]
        assert point.get_ydata() == details.accuracies[i]
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names[0] == f"IoU 0.3: {details.accuracies[0]:.3f} at {details.best_thresholds[0]:g}"


@every_metric
@pytest.mark.usefixtures("figures")
@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_results_of_nothing_are_drawn_empty(name):
    figure, _ = CASES[name].metric().plot()
    figure.canvas.draw()


@pytest.mark.usefixtures("figures")
def test_a_collection_is_drawn():
    collection = MetricCollection([PxAP(), MaxBoxAcc()])
    maps, true, sizes = box_inputs(0, 3)
    collection.update(maps=maps, boxes=true, image_sizes=sizes, masks=torch.ones_like(maps).long())
    assert len(collection.plot()) == 2
    assert collection.plot(together=True)[1].lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"val": "x"}, "val: expected the result of a metric, or a list of its results, got str"),
        ({"val": []}, "val: expected the result .* got \\[\\]"),
        ({"val": [torch.rand(()), {}]}, "val: expected the result .* got list"),
        ({"val": torch.rand(2)}, "val: expected the result .* got Tensor"),
        ({"val": LocalizationRates(*torch.rand(3))}, "val: .* got LocalizationRates"),
        ({"ax": 1}, "ax: expected axes of matplotlib or None, got int"),
        (
            {"ax": SimpleNamespace(plot=print)},
            "ax: expected axes of matplotlib or None, got Simple",
        ),
    ],
)
@pytest.mark.usefixtures("figures")
def test_what_cannot_be_drawn_is_refused(arguments, message):
    metric = PxAP()
    metric.update(*mask_inputs(0, 2))
    with pytest.raises(TypeError, match=f"^{message}"):
        metric.plot(**arguments)


def test_without_matplotlib_plots_say_what_to_install(monkeypatch):
    metric = PxAP()
    metric.update(torch.rand(1, 2, 2), torch.ones(1, 2, 2).long())
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)  # as where it is not installed
    with pytest.raises(ImportError, match=r"^PxAP\.plot needs matplotlib: pip install matplotlib$"):
        metric.plot()
