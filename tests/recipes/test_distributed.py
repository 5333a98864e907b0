"""Two processes with half a batch each take the step of one process with the whole batch.

That holds where a loss is a mean over images, which leaves out what looks at the batch as a whole:
batch norm in training mode, the pairs of CoAug, the balance of edges and other pixels.
"""

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.support.backbones import objects, one_thread  # noqa: F401
from tests.support.processes import join, run_two
from tests.support.small_recipes import small
from wsolrefine.recipes import Ornet

ROOT = Path(__file__).parents[2]
IMAGES, LABELS, _ = objects(6)
PAPER = {**Ornet.PAPER, "evaluator_epochs": 1, "generator_epochs": 1, "refinement_epochs": 1}
# Recipe, epoch, settings without what looks at the batch or draws random numbers.
CASES = {
    "Spa": ("Spa", 1, {}),
    "Ornet head": ("Ornet", 0, {}),
    "Ornet generator": ("Ornet", 1, {}),
    "Ornet refinement": ("Ornet", 2, {"erasing": False}),
    "Ornet evaluator": ("Ornet", 0, PAPER),
    "Ornet of the paper": ("Ornet", 1, PAPER),
    "Ornet refinement of the paper": ("Ornet", 2, {**PAPER, "erasing": False}),
    "Csoa": ("Csoa", 1, {"coaug": False}),
    "SemEdges": ("SemEdges", 0, {}),
    "Spol": ("Spol", 0, {}),
    "Spol segmentation": ("Spol", 1, {}),
    "Distill": ("Distill", 0, {}),
}


class Loss(nn.Module):
    """What DistributedDataParallel wraps: its forward is the loss."""

    def __init__(self, recipe, epoch):
        super().__init__()
        self.recipe, self.epoch = recipe, epoch

    def forward(self, images, labels):
        return self.recipe.loss(images, labels, epoch=self.epoch)


def built(name):
    recipe, epoch, settings = CASES[name]
    return Loss(small(recipe, **settings).eval(), epoch)


def gradients(module):
    return {
        name.removeprefix("module."): p.grad
        for name, p in module.named_parameters()
        # A parameter that no process used has zeros there, and none here.
        if p.grad is not None and p.grad.any()
    }


def run_rank(rank, folder):
    """Take each step with this process' images, and save the gradients."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    folder = Path(folder)
    join(rank, folder)
    own = slice(3) if rank == 0 else slice(3, None)
    results = {}
    for name in CASES:
        module = nn.parallel.DistributedDataParallel(built(name), find_unused_parameters=True)
        module(IMAGES[own], LABELS[own]).backward()
        results[name] = gradients(module)
    torch.save(results, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return run_two("tests.recipes.test_distributed", tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", CASES)
def test_two_processes_take_the_step_of_one(ranks, name):
    module = built(name)
    module(IMAGES, LABELS).backward()
    expected = gradients(module)
    assert expected
    assert_close(ranks[0][name], ranks[1][name], rtol=0, atol=0)
    assert_close(ranks[0][name], expected, rtol=1e-4, atol=1e-6)
