"""The whole way on a GPU gives what it gives on the CPU."""

import copy

import pytest
import torch
from torch.testing import assert_close

from tests.support.small_localizers import build, images, photograph, tensors
from wsolrefine import Classifier, Localizer
from wsolrefine.localization.methods import METHODS

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


@pytest.mark.parametrize("name", ["plain", "resnet", "vit"])
@pytest.mark.parametrize("method", METHODS)
def test_a_gpu_finds_the_same(name, method):
    """In double precision: a GPU rounds the sums of a network in another way."""
    model, batch = build(name).double(), images(dtype=torch.float64)
    here = tensors(Localizer(model, refine=method)(batch))
    there = tensors(Localizer(copy.deepcopy(model).cuda(), refine=method)(batch.cuda()))
    assert {tensor.device.type for tensor in there.values()} == {"cuda"}
    assert_close({key: tensor.cpu() for key, tensor in there.items()}, here, rtol=0, atol=1e-6)


def test_photographs_go_to_the_device_of_the_model():
    classifier = Classifier(build().cuda(), lambda image: images(1)[0], None, "plain")
    found = Localizer(classifier, refine="cam")(photograph(90, 60))
    assert found.boxes.device.type == "cuda"
