"""One model in several threads at the same time: each gets what it would get alone."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.support.zoo import seeded
from wsolrefine import Localizer, capture, class_activation, find_layers
from wsolrefine.activation.modes import evaluation
from wsolrefine.nn import FeatureList

IMAGES = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
TIMEOUT = 60


class Meeting(nn.Module):
    """A network whose passes of two threads wait for each other, before and after its body."""

    def __init__(self, linear):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1))
        self.drop, self.fc, self.linear = nn.Dropout(0.9), nn.Linear(16, 4), linear
        self.barrier = threading.Barrier(1)

    def forward(self, x):
        self.barrier.wait(TIMEOUT)
        x = self.body(x)
        self.barrier.wait(TIMEOUT)
        x = self.drop(x.mean((2, 3)))
        return self.fc(x if self.linear else x.tanh())


def in_two_threads(model, function):
    """Return what a function gives for two batches, one after the other and at the same time."""
    alone = [function(images) for images in IMAGES]
    model.barrier = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(function, IMAGES))
    model.barrier = threading.Barrier(1)
    return alone, together


@pytest.mark.parametrize("linear", [True, False])
def test_the_maps_are_those_of_the_own_images(linear):
    model = seeded(Meeting, linear).train()
    localizer = Localizer(model)
    localizer(IMAGES[0])
    alone, together = in_two_threads(model, lambda images: localizer(images, 1).maps)
    assert_close(together, alone, rtol=0, atol=0)
    assert not torch.equal(*alone)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("linear", [True, False])
def test_layers_and_activations_are_found_in_threads(linear):
    model = seeded(Meeting, linear)
    alone, together = in_two_threads(model, lambda images: find_layers(model, images))
    assert together == alone
    alone, together = in_two_threads(model, lambda images: class_activation(model, images))
    assert_close(together, alone, rtol=0, atol=0)


def test_features_are_those_of_the_own_images():
    model = seeded(Meeting, True).eval()
    backbone = FeatureList(model, ["body.0", "body"])
    alone, together = in_two_threads(model, backbone)
    assert_close(together, alone, rtol=0, atol=0)

    backbone = FeatureList(model, ["body.0", "body"])  # whose first passes meet too
    model.barrier = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        assert_close(list(pool.map(backbone, IMAGES)), alone, rtol=0, atol=0)


def test_capture_sees_no_pass_of_another_thread():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    with capture(model, "0") as outputs, ThreadPoolExecutor(1) as pool:
        expected = model[0](IMAGES[0])
        assert pool.submit(model, IMAGES[1]).result().shape[1] == 8
        assert_close(outputs["0"], expected)


def test_a_hook_that_another_thread_is_attaching_is_no_error():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    with capture(model, "0"), ThreadPoolExecutor(1) as pool:
        # torch attaches a hook first, and says afterwards that it takes keywords.
        model[0]._forward_hooks_with_kwargs.clear()
        assert pool.submit(model, IMAGES[0]).result().shape[1] == 8


def test_replicas_in_threads_share_hooks_but_not_features():
    backbone = FeatureList(seeded(Meeting, True).eval(), ["body"])
    alone = [backbone(images)[0] for images in IMAGES]
    replica = backbone._replicate_for_data_parallel()
    assert replica.model.body._forward_hooks is backbone.model.body._forward_hooks
    backbone.model.barrier = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda one, images: one(images)[0], [backbone, replica], IMAGES))
    assert_close(together, alone)


def test_layers_that_run_in_threads_of_their_own_are_refused():
    model = nn.DataParallel(seeded(Meeting, True))
    model.device_ids = [0, 1]
    message = r"^model: expected one that runs in this thread .* DataParallel on 2 devices$"
    for function in (find_layers, class_activation):
        with pytest.raises(ValueError, match=message):
            function(model, IMAGES[0])
    with pytest.raises(ValueError, match=message), capture(nn.Sequential(model), "0.module"):
        pass


def test_a_call_that_runs_the_model_in_another_thread_is_refused():
    model = seeded(Meeting, True)
    with ThreadPoolExecutor(1) as pool:

        def call(model, images):
            return pool.submit(model, images).result()

        with pytest.raises(ValueError, match=r"got none of no layers in this thread$"):
            find_layers(model, IMAGES[0], call=call)


@pytest.mark.parametrize("last", [0, 1])
def test_the_last_to_end_puts_the_model_back_into_its_mode(last):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout().eval()).train()
    model[1].eval()
    blocks = [evaluation(model), evaluation(model)]
    for block in blocks:
        block.__enter__()
    blocks[1 - last].__exit__(None, None, None)
    assert [module.training for module in model.modules()] == [False, False, False]
    blocks[last].__exit__(None, None, None)
    assert [module.training for module in model.modules()] == [True, True, False]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="needs torch 2.6")
def test_the_last_to_end_lets_a_compiled_model_run_compiled_again():
    runs = []

    def backend(graph, inputs):
        return lambda *values: runs.append(0) or graph(*values)

    model = torch.compile(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), backend=backend)
    model(IMAGES[0])
    blocks = [capture(model, "_orig_mod.0"), capture(model, "_orig_mod.0")]
    _, outputs = (block.__enter__() for block in blocks)
    blocks[0].__exit__(None, None, None)
    model(IMAGES[0])
    assert outputs["_orig_mod.0"].shape[1] == 8
    assert len(runs) == 1
    blocks[1].__exit__(None, None, None)
    model(IMAGES[0])
    assert len(runs) == 2
