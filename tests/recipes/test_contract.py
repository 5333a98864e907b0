"""What every recipe promises, on unlike backbones, without a trainer."""

import copy
import inspect

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.support.backbones import BACKBONES, SIDE, Plain, efficientnet, objects, one_thread  # noqa: F401
from tests.support.small_recipes import CLASSES, SMALL, small
from tests.support.zoo import seeded
from wsolrefine import recipes
from wsolrefine.nn import stage_channels
from wsolrefine.recipes import Localization

IMAGES, LABELS, _ = objects(4)
every_recipe = pytest.mark.parametrize("name", SMALL)
every_backbone = pytest.mark.parametrize("kind", BACKBONES)
PHASES = [
    *(("Spa", 0), ("Spa", 1), ("Ornet", 0), ("Ornet", 1), ("Ornet", 2), ("Csoa", 0)),
    *(("SemEdges", 0), ("SemEdges", 1), ("Spol", 0), ("Spol", 1)),
]
every_phase = pytest.mark.parametrize(("name", "epoch"), PHASES)


def state_of(module):
    return copy.deepcopy(dict(module.state_dict()))


@every_recipe
@every_backbone
def test_shapes_and_ranges_with_unlike_backbones(name, kind):
    recipe = small(name, kind).eval()
    stages = [tuple(maps.shape[2:]) for maps in recipe.backbone(IMAGES)]
    grid = {"Csoa": stages[-2], "SemEdges": (SIDE, SIDE)}.get(name, stages[-3])
    with torch.no_grad():
        found = recipe(IMAGES)
    assert type(found) is Localization
    assert found.logits.shape == (4, CLASSES)
    assert found.maps.shape == (4, *grid)
    assert found.maps.isfinite().all()
    assert 0 <= found.maps.min() <= found.maps.max() <= 1
    assert 0 < recipe.threshold < 1


@every_phase
@every_backbone
def test_the_loss_is_a_finite_number_with_unlike_backbones(name, epoch, kind):
    recipe = small(name, kind)
    recipe.prepare(epoch)
    loss = recipe.loss(IMAGES, LABELS, epoch=epoch)
    assert loss.shape == ()
    assert loss.isfinite()
    assert loss > 0 or (name, epoch) == ("SemEdges", 1)  # where no boundary was found


@every_recipe
def test_without_labels_the_predicted_class_is_shown(name):
    recipe = small(name).eval()
    if name == "SemEdges":  # untrained, its class maps are below 0, and no CAM shows that
        recipe.classes.bias.data += 1
    predicted, other = recipe(IMAGES).logits.argmax(1), 1 - recipe(IMAGES).logits.argmax(1)
    assert_close(recipe(IMAGES), recipe(IMAGES, predicted), rtol=0, atol=0)
    assert_close(recipe(IMAGES).logits, recipe(IMAGES, other).logits, rtol=0, atol=0)
    of_classes = name in ("Spa", "Csoa", "SemEdges")  # the others' map knows of no class
    assert torch.equal(recipe(IMAGES).maps, recipe(IMAGES, other).maps) is not of_classes


def test_spol_without_segmentation_shows_the_map_of_the_class():
    recipe = small("Spol", segmentation_epochs=0, attention=False).eval()
    zeros, ones = torch.zeros_like(LABELS), torch.ones_like(LABELS)
    assert not torch.equal(recipe(IMAGES, zeros).maps, recipe(IMAGES, ones).maps)
    assert recipe.threshold == recipe.settings.cam_threshold
    assert not hasattr(recipe, "segmentation_network")


@every_recipe
def test_evaluation_treats_images_apart_and_changes_nothing(name):
    recipe = small(name).eval()
    before, images = state_of(recipe), IMAGES.clone()
    with torch.no_grad():
        whole = recipe(images, LABELS)
        for i in range(4):
            alone = recipe(images[i : i + 1], LABELS[i : i + 1])
            assert_close(alone.logits, whole.logits[i : i + 1])
            # A pixel on the crest of an edge may go either way by rounding.
            apart = (alone.maps[0] - whole.maps[i]).abs() > 1e-4
            assert apart.float().mean() <= (0.01 if name == "SemEdges" else 0)
    assert_close(state_of(recipe), before, rtol=0, atol=0)
    assert_close(images, IMAGES, rtol=0, atol=0)


@every_recipe
def test_hyper_parameters_build_it_again(name):
    key = {"Csoa": "map_threshold", "Spol": "segmentation_threshold"}.get(name, "threshold")
    recipe = small(name, **{key: 0.42})
    channels = stage_channels(recipe.backbone, IMAGES)
    other = getattr(recipes, name)(seeded(Plain, seed=1), channels, CLASSES, **dict(recipe.hparams))
    other.load_state_dict(recipe.state_dict())
    assert other.threshold == recipe.threshold == 0.42
    assert other.epochs == recipe.epochs
    assert_close(other.eval()(IMAGES), recipe.eval()(IMAGES), rtol=0, atol=0)


@every_recipe
def test_every_keyword_is_a_hyper_parameter_or_a_module(name):
    """A checkpoint holds all that is needed, and no module."""
    recipe = small(name)
    keywords = {
        key
        for key, parameter in inspect.signature(type(recipe)).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert keywords - set(recipe.hparams) <= {"evaluator", "embedding", "classifier"}
    assert set(recipe.hparams) <= keywords
    assert all(f"{key}:" in inspect.getdoc(type(recipe)) for key in keywords)


# What gradients reach -----------------------------------------------------------------------------

SHALLOW = {"backbone.stages.0", "backbone.stages.1"}
TO_14 = SHALLOW | {"backbone.stages.2"}  # all but the last stage
WHOLE = TO_14 | {"backbone.stages.3"}
REACHED = {
    ("Spa", 0): TO_14 | {"head"},
    ("Spa", 1): TO_14 | {"head"},
    ("Ornet", 0): {"evaluator"},
    ("Ornet", 1): WHOLE | {"generator", "head"},
    ("Ornet", 2): SHALLOW | {"generator"},
    ("Csoa", 0): TO_14 | {"head", "auxiliary_head"},
    ("SemEdges", 0): WHOLE | {"classes"},
    ("SemEdges", 1): {"edges"},
    ("Spol", 0): WHOLE | {"cam_network"},
    ("Spol", 1): {"segmentation_backbone", "segmentation_network"},
}


def reached(recipe):
    names = [name for name, p in recipe.named_parameters() if p.grad is not None and p.grad.any()]
    return {".".join(name.split(".")[: 3 if name.startswith("backbone") else 1]) for name in names}


@every_phase
def test_gradients_reach_what_the_phase_trains_and_nothing_else(name, epoch):
    recipe = small(name, dropout=0.0) if name in ("Spa", "Csoa", "Spol") else small(name)
    recipe.prepare(epoch)
    recipe.loss(IMAGES, LABELS, epoch=epoch).backward()
    assert reached(recipe) == REACHED[name, epoch]


@pytest.mark.parametrize(("name", "epoch"), [("SemEdges", 1), ("Spol", 1)])
def test_pseudo_labels_are_constants_also_before_anything_is_frozen(name, epoch):
    recipe = small(name)
    recipe.loss(IMAGES, LABELS, epoch=epoch).backward()
    assert reached(recipe) == REACHED[name, epoch]


def test_a_given_evaluator_is_never_trained():
    evaluator = seeded(Classifier).train()
    before = state_of(evaluator)
    recipe = small("Ornet", evaluator=evaluator)
    assert recipe.epochs == 2
    for epoch, generator_too in ((0, True), (1, False)):
        recipe.zero_grad()
        recipe.prepare(epoch)
        recipe.loss(IMAGES, LABELS, epoch=epoch).backward()
        assert reached(recipe) == REACHED["Ornet", epoch + 1]
        assert bool(recipe.head.weight.grad is not None) is generator_too
    assert_close(state_of(evaluator), before, rtol=0, atol=0)


class Classifier(nn.Sequential):
    """Has statistics of its own that training would change."""

    def __init__(self, num_outputs=CLASSES):
        layers = [nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
        super().__init__(*layers, nn.Flatten(), nn.Linear(6, num_outputs))


def test_a_given_embedding_is_never_trained_but_passes_gradients_on():
    embedding = seeded(Classifier, 5).train()
    before = state_of(embedding)
    alone = small("Csoa", embedding=embedding, confseg=False, dropout=0.0)
    alone.prepare(0)
    alone.loss(IMAGES, LABELS, epoch=0).backward()
    assert reached(alone) == REACHED["Csoa", 0]
    assert_close(state_of(embedding), before, rtol=0, atol=0)
    other = small("Csoa", embedding=embedding, confseg=False, coaug=False, dropout=0.0)
    other.loss(IMAGES, LABELS, epoch=0).backward()
    assert not torch.equal(alone.head[1].weight.grad, other.head[1].weight.grad)


def test_a_given_classifier_scores_and_is_never_trained():
    classifier = seeded(Classifier)
    recipe = small("Spol", classifier=classifier)
    for epoch in (0, 1):
        recipe.prepare(epoch)
        recipe.loss(IMAGES, LABELS, epoch=epoch).backward()
    assert not reached(classifier)
    assert_close(recipe.eval()(IMAGES).logits, classifier(IMAGES))


def test_the_teacher_of_confseg_is_detached():
    """S_L supervises S_F: with the ConfSeg loss alone, only the first classifier moves."""
    with_it, without = (
        small("Csoa", coaug=False, confseg=on, dropout=0.0, width=8) for on in (True, False)
    )
    for recipe in (with_it, without):
        recipe.loss(IMAGES, LABELS, epoch=1).backward()
    gradients = [dict(recipe.named_parameters()) for recipe in (with_it, without)]
    for key, parameter in gradients[0].items():
        if key.startswith("head"):
            assert_close(parameter.grad, gradients[1][key].grad, rtol=0, atol=0)
    changed = [key for key in gradients[0] if key.startswith("auxiliary_head")]
    assert not torch.equal(gradients[0][changed[0]].grad, gradients[1][changed[0]].grad)


@pytest.mark.parametrize("name", ["SemEdges", "Spol", "Ornet"])
def test_what_is_frozen_stays_in_evaluation_mode_through_train(name):
    """Lightning puts every module back to training after a validation; the next epoch freezes."""
    recipe = small(name)
    last = len([phase for phase in PHASES if phase[0] == name]) - 1
    recipe.prepare(last)
    recipe.train()
    recipe.prepare(last)
    before = state_of(recipe)
    recipe.loss(IMAGES, LABELS, epoch=last)
    after = state_of(recipe)
    moved = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert (
        moved
        == {
            "SemEdges": {"edges"},
            "Spol": {"segmentation_backbone", "segmentation_network"},
            "Ornet": {"backbone", "generator", "shallow"},
        }[name]
    )


# Precision and batches of one ---------------------------------------------------------------------


@every_phase
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_step_in_half_precision_is_finite(name, epoch, dtype):
    recipe = small(name)
    recipe.prepare(epoch)
    with torch.autocast("cpu", dtype):
        loss = recipe.loss(IMAGES, LABELS, epoch=epoch)
    assert loss.isfinite()
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in recipe.parameters())
    with torch.autocast("cpu", dtype), torch.no_grad():
        found = recipe.eval()(IMAGES, LABELS)
    assert found.logits.isfinite().all()
    assert 0 <= found.maps.min() <= found.maps.max() <= 1


@pytest.mark.parametrize("epoch", [0, 1])
def test_edges_of_maps_that_autocast_leaves_in_full_precision(epoch):
    """A layer norm's output: the class maps of it are in half precision, the features are not."""
    recipe = small("SemEdges", "tokens")
    recipe.prepare(epoch)
    with torch.autocast("cpu", torch.bfloat16):
        assert recipe.backbone(IMAGES)[-1].dtype == torch.float32
        assert recipe.loss(IMAGES, LABELS, epoch=epoch).isfinite()
        assert recipe.eval()(IMAGES).maps.isfinite().all()


def test_spa_refines_maps_that_autocast_leaves_in_full_precision():
    recipe = small("Spa", "tokens").eval()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert recipe.backbone(IMAGES)[-1].dtype == torch.float32
        assert recipe(IMAGES).maps.isfinite().all()


@every_phase
def test_a_batch_of_one_trains_or_says_why_not(name, epoch):
    """SPOL's attention normalises one value a channel and image: a batch needs two images."""
    recipe = small(name)
    recipe.prepare(epoch)
    if name == "Spol":
        with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
            recipe.loss(IMAGES[:1], LABELS[:1], epoch=epoch)
        recipe = small(name, attention=False)
    recipe.loss(IMAGES[:1], LABELS[:1], epoch=epoch).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in recipe.parameters())
    assert recipe.eval()(IMAGES[:1]).maps.isfinite().all()


# Odd images ---------------------------------------------------------------------------------------


@every_recipe
def test_constant_images_give_finite_maps(name):
    recipe = small(name).eval()
    for value in (0.0, 1.0):
        with torch.no_grad():
            found = recipe(torch.full_like(IMAGES, value))
        assert found.maps.isfinite().all()
        assert found.logits.isfinite().all()


@every_phase
def test_constant_images_can_be_trained_on(name, epoch):
    recipe = small(name)
    recipe.prepare(epoch)
    recipe.loss(torch.zeros_like(IMAGES), LABELS, epoch=epoch).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in recipe.parameters())


@every_recipe
def test_an_image_of_nan_spoils_no_other(name):
    recipe = small(name).eval()
    images = IMAGES.clone()
    images[1] = torch.nan
    with torch.no_grad():
        spoiled, clean = recipe(images, LABELS), recipe(IMAGES, LABELS)
    for i in (0, 2, 3):
        assert_close(spoiled.maps[i], clean.maps[i])
        assert_close(spoiled.logits[i], clean.logits[i])


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("Spa", {"stage": -5}, "stage: expected an index of 4 stages, got -5"),
        ("Spa", {"scg_stages": (-2, 4)}, "scg_stages: expected an index of 4 stages, got 4"),
        ("Csoa", {"auxiliary_stage": 4}, "auxiliary_stage: expected an index of 4 stages, got 4"),
        ("SemEdges", {"sem_stage": 9}, "sem_stage: expected an index of 4 stages, got 9"),
        ("SemEdges", {"edge_stages": 0}, "edge_stages: expected a number >= 1, got 0"),
        ("SemEdges", {"edge_size": (0, 8)}, r"size: expected two numbers >= 1, got \(0, 8\)"),
        ("Spol", {"stages": 5}, "stages: expected a number from 1 to 4, got 5"),
        ("Spol", {"fusion": "mean"}, "fusion: expected 'multiplication', 'addition' or"),
        ("Ornet", {"stage": 4}, "stage: expected an index of 4 stages, got 4"),
        ("Ornet", {"layer": None}, "layer: expected a name, for the backbone is a Plain, got None"),
        ("Ornet", {"layer": "stage.1"}, r"got 'stage\.1' \(close: 'stages\.1'\)"),
    ],
)
def test_errors(name, settings, message):
    with pytest.raises(ValueError, match=message):
        small(name, **settings)


def test_a_shared_classifier_is_not_copied():
    """The backbone handed in is the one trained; SPOL's and ORNet's second one is a copy."""
    backbone = efficientnet()
    assert small("Spa", backbone).backbone is backbone
    spol = small("Spol", backbone)
    assert spol.backbone is backbone
    shared = {id(p) for p in backbone.parameters()}
    assert shared.isdisjoint(id(p) for p in spol.segmentation_backbone.parameters())
    assert shared.isdisjoint(id(p) for p in small("Ornet", backbone).evaluator.parameters())
