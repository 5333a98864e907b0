"""The recipes under Lightning: phases, frozen parts, checkpoints, an interrupted run."""

import copy
import inspect

import pytest
import torch
from torch.testing import assert_close

from tests.support.backbones import efficientnet, objects, one_thread  # noqa: F401
from tests.support.small_recipes import SMALL, fit, loader, small, tensors
from wsolrefine import recipes

every_recipe = pytest.mark.parametrize("name", SMALL)
# Two epochs a phase; interrupted within a phase, and where one ends.
LONG = {
    "Spa": {"epochs": 3, "warmup_epochs": 1},
    "Ornet": {"head_epochs": 1, "generator_epochs": 2, "refinement_epochs": 2},
    "Csoa": {"epochs": 3},
    "SemEdges": {"classifier_epochs": 2, "edge_epochs": 2},
    "Spol": {"cam_epochs": 2, "segmentation_epochs": 2},
    "Distill": {"epochs": 3},
}


def state_of(recipe):
    return {key: value.clone() for key, value in recipe.state_dict().items()}


class Watch:
    """Make a callback that keeps the weights and statistics at the end of each epoch."""

    def __new__(cls):
        from lightning import Callback

        class Watching(Callback):
            def __init__(self):
                self.states = []

            def on_train_start(self, trainer, module):
                self.states.append(state_of(module))

            def on_train_epoch_end(self, trainer, module):
                self.states.append(state_of(module))

        return Watching()


def moved(before, after):
    return {key for key in before if not torch.equal(before[key], after[key])}


def parts(keys):
    return {key.split(".")[0] for key in keys}


FROZEN = {
    "Spa": [set()] * 3,
    "Csoa": [set()] * 3,
    # What has not begun, then what is done.
    "Ornet": [{"backbone", "generator"}] + [{"backbone", "head"}] * 4,
    "SemEdges": [{"edges"}] * 2 + [{"backbone", "classes"}] * 2,
    "Spol": [{"segmentation_backbone", "segmentation_network"}] * 2
    + [{"backbone", "cam_network"}] * 2,
    "Distill": [{"backbone"}] * 3,
}


@every_recipe
def test_each_phase_changes_its_own_parts_and_leaves_the_others_bit_for_bit(name):
    recipe, watch = small(name, **LONG[name]), Watch()
    assert recipe.epochs == len(FROZEN[name])
    fit(recipe, recipe.epochs, callbacks=[watch])
    everything = {key.split(".")[0] for key in recipe.state_dict()}
    for epoch, frozen in enumerate(FROZEN[name]):
        changed = parts(moved(*watch.states[epoch : epoch + 2]))
        assert changed == everything - frozen, epoch


@every_recipe
def test_a_run_that_was_interrupted_ends_with_the_same_weights(name, tmp_path):
    """From a checkpoint alone: the recipe is built from what it says, in a new process' stead."""
    whole = small(name, **LONG[name])
    fit(whole, whole.epochs)
    for stop in sorted({1, whole.epochs - 2, whole.epochs - 1}):
        first = small(name, **LONG[name])
        path = tmp_path / f"{stop}.ckpt"
        fit(first, stop).save_checkpoint(path)
        said = torch.load(path, weights_only=True)["hyper_parameters"]
        assert said == dict(whole.hparams)
        second = small(name, seed=1, **said)
        assert moved(state_of(second), state_of(first))
        fit(second, whole.epochs, checkpoint=path)
        assert_close(state_of(second), state_of(whole), rtol=0, atol=0)
        assert second.epochs == whole.epochs


@every_recipe
def test_one_epoch_on_the_offline_classifier(name, tmp_path):
    backbone = copy.deepcopy(efficientnet())
    recipe = small(name, backbone)
    trainer = fit(recipe, 1, loader(4))
    assert torch.isfinite(trainer.callback_metrics["loss"])
    assert all(value.isfinite().all() for value in recipe.state_dict().values())
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    saved = torch.load(tmp_path / "one.ckpt", weights_only=True)
    other = small(name, copy.deepcopy(efficientnet()), seed=1, **saved["hyper_parameters"])
    other.load_state_dict(saved["state_dict"])
    images = objects(2)[0]
    assert_close(tensors(other(images)), tensors(recipe(images)), rtol=0, atol=0)


def test_a_given_evaluator_keeps_weights_and_statistics():
    from tests.recipes.test_contract import Classifier

    evaluator = Classifier()
    before = copy.deepcopy(evaluator.state_dict())
    recipe = small("Ornet", evaluator=evaluator, evaluate_at="pixels", head_epochs=0)
    fit(recipe, recipe.epochs)
    assert_close(dict(evaluator.state_dict()), dict(before), rtol=0, atol=0)


@pytest.mark.parametrize("name", SMALL)
def test_learning_rates_follow_the_paper(name):
    """New layers learn faster than pretrained ones; schedules start again in each phase."""
    from lightning import Callback

    rates = []

    class Rates(Callback):
        def on_train_epoch_start(self, trainer, module):
            rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])

    recipe = small(name, **LONG[name], learning_rate=0.01, backbone_learning_rate=0.002)
    fit(recipe, recipe.epochs, callbacks=[Rates()])
    pretrained, new = zip(*rates, strict=True)
    factors = {
        "Ornet": [1, 1, 0.5, 0.33, 0.165],  # a tenth in the paper
        "SemEdges": [1, 0.1] * 2,
        "Csoa": [1, 0.95, 0.95**2],
        "Distill": [1, 0.75, 0.25],
    }.get(name, [1] * recipe.epochs)
    assert pretrained == pytest.approx([0.002 * factor for factor in factors])
    assert new == pytest.approx([0.01 * factor for factor in factors])


@pytest.mark.parametrize(("sgd", "kind"), [(False, torch.optim.Adam), (True, torch.optim.SGD)])
def test_edges_are_learned_on_the_schedule_of_the_paper(sgd, kind):
    """Sec. 4.1.3: five epochs, a tenth of the rate after the second; ten times the rate on top."""
    rates = {"learning_rate": 0.01, "backbone_learning_rate": 0.001} if sgd else {}
    recipe = small("SemEdges", classifier_epochs=0, edge_epochs=5, sgd=sgd, **rates)
    found = recipe.configure_optimizers()
    optimizer, schedule = found["optimizer"], found["lr_scheduler"]
    assert type(optimizer) is kind
    below, top = ({id(p) for p in group["params"]} for group in optimizer.param_groups)
    assert {id(p) for p in recipe.edges.adapt.parameters()} <= below
    assert {id(p) for p in recipe.edges.read.parameters()} <= top
    if sgd:
        assert [optimizer.defaults[key] for key in ("momentum", "weight_decay")] == [0.9, 5e-4]
    seen = []
    for _ in range(5):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    slow = 0.001 if sgd else 0.0001
    factors = [1, 1, 0.1, 0.1, 0.1]
    assert seen == [pytest.approx([slow * factor, 10 * slow * factor]) for factor in factors]


def test_the_edge_head_of_the_recipe_is_the_paper_s():
    parameters = inspect.signature(recipes.SemEdges).parameters
    paper = {"edge_epochs": 5, "edge_stages": 4, "width": 128, "edge_size": (160, 160)}
    assert paper == {key: parameters[key].default for key in paper}
    recipe = recipes.SemEdges(torch.nn.Identity(), [4, 8, 8, 8, 16], 2)
    assert [adapt[0].weight.shape[:2] for adapt in recipe.edges.adapt] == [
        (128, 4),
        *[(128, 8)] * 3,
    ]
    assert recipe.edges.size == (160, 160)
    fewer = recipes.SemEdges(torch.nn.Identity(), [4, 8], 2, sem_stage=-1)
    assert len(fewer.edges.adapt) == 2


@every_recipe
def test_the_optimizer_has_every_parameter_once(name):
    recipe = small(name)
    optimizer = recipe.configure_optimizers()
    optimizer = optimizer["optimizer"] if isinstance(optimizer, dict) else optimizer
    slow, fast = ([id(p) for p in group["params"]] for group in optimizer.param_groups)
    assert sorted(slow + fast) == sorted(id(p) for p in recipe.parameters())
    assert {id(p) for p in recipe.backbone.parameters()} <= set(slow)
