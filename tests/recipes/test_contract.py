"""What every recipe promises, on unlike backbones, without a trainer."""

import copy
import inspect
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate
from torch.testing import assert_close
from torch.utils.data import DataLoader

from tests.support.backbones import BACKBONES, SIDE, Plain, efficientnet, objects, one_thread  # noqa: F401
from tests.support.small_recipes import CLASSES, SMALL, quiet_trainer, small, tensors
from tests.support.zoo import seeded
from wsolrefine import Localization, Localizer, Preprocess, recipes
from wsolrefine.functional.components import largest_component
from wsolrefine.nn import stage_channels

IMAGES, LABELS, _ = objects(4)
PAPER = dict(recipes.Ornet.PAPER)
every_recipe = pytest.mark.parametrize("name", SMALL)
every_backbone = pytest.mark.parametrize("kind", BACKBONES)
PHASES = [
    *(("Spa", 0), ("Spa", 1), ("Ornet", 0), ("Ornet", 1), ("Ornet", 2), ("Csoa", 0)),
    *(("SemEdges", 0), ("SemEdges", 1), ("Spol", 0), ("Spol", 1), ("Distill", 0)),
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
    found = recipe(IMAGES)
    assert type(found) is Localization
    assert found.logits.shape == (4, CLASSES)
    assert found.coarse.shape == (4, 1, *grid)
    assert found.maps.shape == found.masks.shape == (4, 1, SIDE, SIDE)
    for maps in (found.coarse, found.maps):
        assert maps.isfinite().all()
        assert 0 <= maps.min() <= maps.max() <= 1
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
    # Untrained, some factor of SPOL's products is zero with attention, and so is its CAM.
    recipe = small(name, **({"attention": False} if name == "Spol" else {})).eval()
    if name == "SemEdges":  # untrained, its class maps are below 0, and no CAM shows that
        recipe.classes.bias.data += 1
    predicted, other = recipe(IMAGES).logits.argmax(1), 1 - recipe(IMAGES).logits.argmax(1)
    assert_close(tensors(recipe(IMAGES)), tensors(recipe(IMAGES, predicted)), rtol=0, atol=0)
    assert_close(recipe(IMAGES).logits, recipe(IMAGES, other).logits, rtol=0, atol=0)
    of_classes = name != "Distill"  # whose maps know of no class
    found = [recipe.class_maps(IMAGES).maps, recipe.class_maps(IMAGES, other).maps]
    assert torch.equal(*found) is not of_classes


def own_map(recipe):
    if recipe.name == "ornet":
        return recipe.generate(recipe.backbone(IMAGES)).probability
    return recipe.segmentation_network(recipe.segmentation_backbone(IMAGES)).fused[:, 0].sigmoid()


@pytest.mark.parametrize("name", ["Ornet", "Spol"])
def test_without_the_cam_the_map_is_the_same_for_all_classes(name):
    recipe = small(name, with_cam=False).eval()
    found = [recipe.class_maps(IMAGES, label).maps for label in (0, 1)]
    assert torch.equal(*found)
    assert torch.equal(found[0][:, 0], own_map(recipe))


def test_spol_without_segmentation_shows_the_map_of_the_class():
    recipe = small("Spol", segmentation_epochs=0, attention=False).eval()
    zeros, ones = torch.zeros_like(LABELS), torch.ones_like(LABELS)
    found = [recipe.class_maps(IMAGES, labels).maps for labels in (zeros, ones)]
    assert not torch.equal(*found)
    assert recipe.threshold == recipe.settings.cam_threshold
    assert not hasattr(recipe, "segmentation_network")


@every_recipe
def test_evaluation_treats_images_apart_and_changes_nothing(name):
    # Untrained, ORNet's map is nearly constant, and its min-max enlarges the rounding of floats.
    recipe = small(name).double().eval()
    before, images = state_of(recipe), IMAGES.double()
    whole = recipe(images, LABELS)
    for i in range(4):
        alone = recipe(images[i : i + 1], LABELS[i : i + 1])
        assert_close(alone.logits, whole.logits[i : i + 1])
        # A pixel on the crest of an edge may go either way by rounding.
        apart = (alone.coarse[0] - whole.coarse[i]).abs() > 1e-4
        assert apart.float().mean() <= (0.01 if name == "SemEdges" else 0)
    assert_close(state_of(recipe), before, rtol=0, atol=0)
    assert_close(images, IMAGES.double(), rtol=0, atol=0)


@every_recipe
def test_hyper_parameters_build_it_again(name):
    key = {"Csoa": "map_threshold", "Spol": "segmentation_threshold"}.get(name, "threshold")
    recipe = small(name, **{key: 0.42})
    channels = stage_channels(recipe.backbone, IMAGES)
    other = getattr(recipes, name)(seeded(Plain, seed=1), channels, CLASSES, **dict(recipe.hparams))
    other.load_state_dict(recipe.state_dict())
    assert other.threshold == recipe.threshold == 0.42
    assert other.epochs == recipe.epochs
    assert_close(tensors(other(IMAGES)), tensors(recipe(IMAGES)), rtol=0, atol=0)


@every_recipe
def test_every_keyword_is_a_hyper_parameter_or_a_module(name):
    """A checkpoint holds all that is needed, and no module."""
    recipe = small(name)
    keywords = {
        key
        for key, parameter in inspect.signature(type(recipe)).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert keywords - set(recipe.hparams) <= {"evaluator", "head", "embedding", "classifier"}
    assert set(recipe.hparams) <= keywords
    assert all(f"{key}:" in inspect.getdoc(type(recipe)) for key in keywords)


# A recipe is a localizer --------------------------------------------------------------------------


def localizing(name, **settings):
    """Build a recipe whose masks are neither empty nor full."""
    recipe = small(name, **settings)
    if name == "SemEdges":  # untrained, its class maps are below 0, and no CAM shows that
        recipe.classes.bias.data += 1
    recipe.threshold = middle(recipe, IMAGES)
    return recipe


def middle(recipe, images):
    maps = recipe.class_maps(images).maps
    return float(maps.max() / 2 if edges(recipe.name) else maps.median())


def edges(name):
    return name in ("SemEdges", "sem_edges")


def the_same(found, other):
    assert_close(tensors(found), tensors(other), rtol=0, atol=0)


@every_recipe
def test_a_recipe_is_a_localizer(name):
    recipe = localizing(name)
    recipe.class_names = ["red", "blue"]
    found = recipe(IMAGES)
    assert isinstance(recipe, recipes.Recipe)
    assert isinstance(recipe, Localizer)
    assert recipe.regions is not edges(name)
    assert found.method == recipe.name
    assert found.threshold == recipe.threshold
    assert found.class_names == recipe.class_names
    assert found.images is IMAGES
    assert torch.equal(found.labels, found.logits.argmax(1, keepdim=True))
    assert_close(found.scores, found.logits.softmax(1).amax(1, keepdim=True))
    assert_close(tuple(recipe.class_maps(IMAGES)), (found.logits, found.labels, found.coarse))


@every_recipe
def test_several_classes_are_those_of_a_call_for_each(name):
    recipe = localizing(name, num_classes=3)
    found = recipe(IMAGES, top=2)
    assert torch.equal(found.labels, found.logits.topk(2).indices)
    assert_close(found.scores, found.logits.softmax(1).topk(2).values)
    the_same(recipe(IMAGES, found.labels), found)
    for k in range(2):
        one = recipe(IMAGES, found.labels[:, k])
        assert torch.equal(one.logits, found.logits)
        for key in ("labels", "scores", "maps", "masks", "boxes", "coarse"):
            assert torch.equal(getattr(one, key)[:, 0], getattr(found, key)[:, k]), key
    the_same(recipe(IMAGES, 2), recipe(IMAGES, torch.full((4,), 2)))


def boxes_of(masks):
    """Return the boxes around masks ``(B, K, H, W)``, one pixel after the other."""
    boxes = torch.zeros(*masks.shape[:2], 4)
    for i, k in np.ndindex(*masks.shape[:2]):
        if masks[i, k].any():
            y, x = masks[i, k].nonzero().T
            boxes[i, k] = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1])
    return boxes


def check_masks_and_boxes(name, found):
    """Compare with what the definition says: the largest component, but all of the edges."""
    size = found.maps.shape[2:]
    enlarged = interpolate(found.coarse, size, mode="bilinear", align_corners=False)
    assert_close(found.maps, enlarged)
    above = found.maps > found.threshold
    assert above.any((2, 3)).all()
    assert not above.all((2, 3)).any()
    if edges(name):
        assert found.parts == "all"
        assert torch.equal(found.masks, above)
        assert not found.boxes.any()
        return
    assert found.parts == "largest"
    assert torch.equal(found.masks, largest_component(above))
    assert_close(found.boxes, boxes_of(found.masks), check_dtype=False, rtol=0, atol=0)


@every_recipe
def test_masks_are_the_largest_component_and_boxes_lie_around_them(name):
    # With the CAM, whose grid is coarse here, the mask would be one component.
    recipe = localizing(name, **({"with_cam": False} if name in ("Ornet", "Spol") else {}))
    largest = recipe(IMAGES)
    check_masks_and_boxes(name, largest)
    check_masks_and_boxes(name, recipe(IMAGES, size=(48, 40)))
    recipe.parts = "all"
    found = recipe(IMAGES)
    assert torch.equal(found.masks, found.maps > recipe.threshold)
    assert torch.equal(found.masks, largest.masks) is edges(name)


@every_recipe
def test_boxes_of_pil_images_are_in_their_own_pixels(name):
    image_module = pytest.importorskip("PIL.Image")
    recipe = localizing(name)
    recipe.preprocess = Preprocess((SIDE, SIDE))
    pixels = [(image.permute(1, 2, 0) * 255).byte().numpy() for image in IMAGES.clamp(0, 1)]
    photographs = [
        image_module.fromarray(image).resize(size, image_module.Resampling.BILINEAR)
        for image, size in zip(pixels, [(70, 50), (20, 90), (32, 32), (64, 64)], strict=True)
    ]
    prepared = torch.stack([recipe.preprocess(image) for image in photographs])
    recipe.threshold = middle(recipe, prepared)
    found = recipe(photographs)
    together = recipe(prepared)
    assert len(found) == 4
    for i, (one, image) in enumerate(zip(found, photographs, strict=True)):
        assert one.images is image
        assert one.masks.shape == (1, 1, image.height, image.width)
        assert torch.equal(one.coarse[0], together.coarse[i])
        check_masks_and_boxes(name, one)
    # One image alone, and labels for each, or for all.
    alone = recipe(photographs[0], LABELS[:1])
    assert alone.maps.shape == (1, 1, 50, 70)
    assert torch.equal(alone.labels, LABELS[:1, None])
    assert [one.labels.item() for one in recipe(photographs, LABELS)] == LABELS.tolist()
    assert [one.labels.item() for one in recipe(photographs, 1)] == [1] * 4


@every_phase
def test_a_call_is_in_evaluation_mode_and_leaves_every_mode_and_gradient_as_it_was(name, epoch):
    recipe = localizing(name, seed=1)
    recipe.eval()
    expected = recipe(IMAGES)
    recipe.train()
    recipe.prepare(epoch)
    modes = [module.training for module in recipe.modules()]
    trainable = [parameter.requires_grad for parameter in recipe.parameters()]
    before = state_of(recipe)
    found = recipe(IMAGES)
    the_same(found, expected)
    assert not any(value.requires_grad for value in tensors(found).values())
    assert [module.training for module in recipe.modules()] == modes
    assert [parameter.requires_grad for parameter in recipe.parameters()] == trainable
    assert torch.is_grad_enabled()
    assert_close(state_of(recipe), before, rtol=0, atol=0)
    with torch.inference_mode():
        the_same(recipe(IMAGES), expected)
    assert [module.training for module in recipe.modules()] == modes


@every_recipe
def test_a_call_that_fails_leaves_every_mode_as_it_was(name):
    recipe = small(name)
    recipe.prepare(0)
    modes = [module.training for module in recipe.modules()]
    with pytest.raises(ValueError, match="labels"):
        recipe(IMAGES, CLASSES)
    assert [module.training for module in recipe.modules()] == modes


@every_recipe
def test_activate_is_in_the_current_mode_with_gradients(name):
    recipe = localizing(name)
    expected = recipe.class_maps(IMAGES, LABELS)
    recipe.eval()
    logits, maps_of = recipe.activate(IMAGES)
    assert_close(logits.detach(), expected.logits, rtol=0, atol=0)
    assert_close(maps_of(LABELS).detach(), expected.maps[:, 0], rtol=0, atol=0)
    maps_of(LABELS).square().sum().backward(retain_graph=True)
    assert any(p.grad is not None and p.grad.any() for p in recipe.parameters())
    recipe.zero_grad()
    logits.square().sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in recipe.parameters())
    before = state_of(recipe)
    recipe.train()
    recipe.activate(IMAGES)
    after = state_of(recipe)
    assert any(not torch.equal(before[key], after[key]) for key in before)  # batch norm


@every_recipe
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copy_gives_the_same_results(name, copied):
    recipe = localizing(name)
    recipe.preprocess, recipe.class_names = Preprocess((SIDE, SIDE)), ["red", "blue"]
    expected = recipe(IMAGES, top=2)
    other = copied(recipe)
    assert other.preprocess == recipe.preprocess
    assert other.class_names == recipe.class_names
    assert [m.training for m in other.modules()] == [m.training for m in recipe.modules()]
    the_same(other(IMAGES, top=2), expected)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    the_same(recipe(IMAGES, top=2), expected)


@every_recipe
def test_double_precision_stays_double(name):
    recipe = localizing(name)
    found, exact = recipe(IMAGES), copy.deepcopy(recipe).double()(IMAGES.double())
    for key in ("scores", "maps", "coarse", "logits"):
        assert getattr(exact, key).dtype == torch.float64
    assert_close(exact.logits.float(), found.logits)
    if not edges(name):
        assert_close(exact.coarse.float(), found.coarse, rtol=1e-4, atol=1e-4)
        return
    # Many pixels of untrained edges lie on crests that go either way by rounding: as they were
    # before they were thinned.
    recipe.eval()
    soft = []
    for one, images in ((recipe, IMAGES), (copy.deepcopy(recipe).double(), IMAGES.double())):
        features = one.backbone(images)
        soft.append(one.probability(features, one.maps(features, found.labels[:, 0]), (SIDE, SIDE)))
    assert_close(soft[1].float(), soft[0], rtol=1e-4, atol=1e-4)


@every_recipe
def test_a_trainer_predicts(name):
    """Lightning's own ``predict_step`` calls the recipe with a batch of images."""
    recipe = localizing(name)
    modes = [module.training for module in recipe.modules()]
    with quiet_trainer() as trainer:
        found = trainer.predict(recipe, DataLoader(IMAGES, batch_size=2))
    assert len(found) == 2
    for batch, one in zip(IMAGES.split(2), found, strict=True):
        assert type(one) is Localization
        the_same(one, recipe(batch))
    assert [module.training for module in recipe.modules()] == modes
    the_same(pickle.loads(pickle.dumps(recipe))(IMAGES), recipe(IMAGES))


# What gradients reach -----------------------------------------------------------------------------

SHALLOW = {"backbone.stages.0", "backbone.stages.1"}
TO_14 = SHALLOW | {"backbone.stages.2"}  # all but the last stage
WHOLE = TO_14 | {"backbone.stages.3"}
REACHED = {
    ("Spa", 0): TO_14 | {"head"},
    ("Spa", 1): TO_14 | {"head"},
    ("Ornet", 0): {"head"},
    ("Ornet", 1): {"generator"},
    ("Ornet", 2): {"generator"},
    ("Csoa", 0): TO_14 | {"head", "auxiliary_head"},
    ("SemEdges", 0): WHOLE | {"classes"},
    ("SemEdges", 1): {"edges"},
    ("Spol", 0): WHOLE | {"cam_network"},
    ("Spol", 1): {"segmentation_backbone", "segmentation_network"},
    ("Distill", 0): {"student", "head"},
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


ORNET = {"generator_epochs": 1, "refinement_epochs": 1}
OWN = WHOLE | {"generator", "head"}


@pytest.mark.parametrize(
    ("settings", "phases"),
    [
        (PAPER | {"evaluator_epochs": 1}, [{"evaluator"}, OWN, SHALLOW | {"generator"}]),
        (PAPER | {"evaluator_epochs": 0}, [OWN, {"generator"}]),
        (PAPER | {"evaluator_epochs": 0, "evaluate_at": "features"}, [OWN, {"generator"}]),
        ({"head_epochs": 0}, [{"generator", "head"}, {"generator"}]),
        ({"evaluate_at": "pixels"}, [{"head"}, {"generator"}, {"generator"}]),
        ({"train_backbone": True}, [{"head"}, WHOLE | {"generator"}, {"generator"}]),
    ],
)
def test_what_the_phases_of_ornet_train(settings, phases):
    recipe = small("Ornet", **settings | ORNET)
    assert recipe.epochs == len(phases)
    for epoch, parts in enumerate(phases):
        recipe.train()
        recipe.zero_grad()
        recipe.prepare(epoch)
        recipe.loss(IMAGES, LABELS, epoch=epoch).backward()
        assert reached(recipe) == parts


def test_the_head_is_trained_on_a_backbone_that_does_not_change():
    """Also if stage one trains it, and in training mode."""
    recipe = small("Ornet", train_backbone=True)
    recipe.prepare(0)
    before = state_of(recipe)
    recipe.loss(IMAGES, LABELS, epoch=0)
    assert_close(state_of(recipe), before, rtol=0, atol=0)
    assert all(module.training for module in recipe.backbone.modules())


@pytest.mark.parametrize("bias", [True, False])
def test_a_given_head_is_copied_and_never_trained(bias):
    given = nn.Linear(16, CLASSES, bias=bias)
    recipe = small("Ornet", head=given)
    assert recipe.epochs == 2
    for epoch in (0, 1):
        recipe.prepare(epoch)
        recipe.loss(IMAGES, LABELS, epoch=epoch).backward()
        assert reached(recipe) == {"generator"}
    assert not reached(given)
    features = recipe.eval().backbone(IMAGES)[-1]
    assert_close(recipe(IMAGES).logits, given(features.mean((2, 3))).detach())
    assert not recipe.user_modules()  # a file can hold the copy


def test_a_given_evaluator_is_never_trained():
    evaluator = seeded(Classifier).train()
    before = state_of(evaluator)
    recipe = small("Ornet", evaluator=evaluator, **PAPER | ORNET)
    assert recipe.epochs == 2
    for epoch, parts in enumerate([OWN, SHALLOW | {"generator"}]):
        recipe.zero_grad()
        recipe.prepare(epoch)
        recipe.loss(IMAGES, LABELS, epoch=epoch).backward()
        assert reached(recipe) == parts
    assert_close(state_of(evaluator), before, rtol=0, atol=0)
    assert_close(recipe.eval()(IMAGES).logits, evaluator.eval()(IMAGES))


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


@pytest.mark.parametrize("name", ["SemEdges", "Spol", "Ornet", "Distill"])
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
            "Ornet": {"generator"},
            "Distill": {"student"},
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
    with torch.autocast("cpu", dtype):
        found = recipe.eval()(IMAGES, LABELS)
    assert found.logits.isfinite().all()
    for maps in (found.coarse, found.maps):
        assert 0 <= maps.min() <= maps.max() <= 1


@pytest.mark.parametrize("epoch", [0, 1])
def test_edges_of_maps_that_autocast_leaves_in_full_precision(epoch):
    """A layer norm's output: the class maps of it are in half precision, the features are not."""
    recipe = small("SemEdges", "tokens")
    recipe.prepare(epoch)
    with torch.autocast("cpu", torch.bfloat16):
        assert recipe.backbone(IMAGES)[-1].dtype == torch.float32
        assert recipe.loss(IMAGES, LABELS, epoch=epoch).isfinite()
        assert recipe.eval()(IMAGES).coarse.isfinite().all()


def test_spa_refines_maps_that_autocast_leaves_in_full_precision():
    recipe = small("Spa", "tokens").eval()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert recipe.backbone(IMAGES)[-1].dtype == torch.float32
        assert recipe(IMAGES).coarse.isfinite().all()


@every_phase
def test_a_batch_of_one_trains_or_says_why_not(name, epoch):
    """SPOL's attention normalizes one value a channel and image: a batch needs two images."""
    recipe = small(name)
    recipe.prepare(epoch)
    if name == "Spol":
        with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
            recipe.loss(IMAGES[:1], LABELS[:1], epoch=epoch)
        recipe = small(name, attention=False)
    recipe.loss(IMAGES[:1], LABELS[:1], epoch=epoch).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in recipe.parameters())
    assert recipe.eval()(IMAGES[:1]).coarse.isfinite().all()


# Odd images ---------------------------------------------------------------------------------------


@every_recipe
def test_constant_images_give_finite_maps(name):
    recipe = small(name).eval()
    for value in (0.0, 1.0):
        found = recipe(torch.full_like(IMAGES, value))
        assert found.coarse.isfinite().all()
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
    spoiled, clean = recipe(images, LABELS), recipe(IMAGES, LABELS)
    for i in (0, 2, 3):
        assert_close(spoiled.coarse[i], clean.coarse[i])
        assert_close(spoiled.maps[i], clean.maps[i])
        assert torch.equal(spoiled.boxes[i], clean.boxes[i])
        assert_close(spoiled.logits[i], clean.logits[i])


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("Spa", {"stage": -5}, "stage: expected an index of 4 stages, got -5"),
        ("Spa", {"scg_stages": (-2, 4)}, "scg_stages: expected an index of 4 stages, got 4"),
        ("Csoa", {"auxiliary_stage": 4}, "auxiliary_stage: expected an index of 4 stages, got 4"),
        ("SemEdges", {"sem_stage": 9}, "sem_stage: expected an index of 4 stages, got 9"),
        ("SemEdges", {"edge_stages": 0}, "edge_stages: expected an integer from 1 to 1000, got 0"),
        (
            "SemEdges",
            {"edge_size": (0, 8)},
            r"edge_size: expected \(height, width\), two integers >= 1, got \(0, 8\)",
        ),
        ("Spol", {"stages": 5}, "stages: expected an integer from 1 to 4, got 5"),
        ("Spol", {"fusion": "mean"}, "fusion: expected 'multiplication', 'addition' or"),
        (
            "Distill",
            {"student_stages": (0, 4)},
            "student_stages: expected an index of 4 stages, got 4",
        ),
        ("Ornet", {"reads": (-3, 4)}, "reads: expected an index of 4 stages, got 4"),
        ("Ornet", {"multiplies": 4}, "multiplies: expected an index of 4 stages, got 4"),
        (
            "Ornet",
            {"layer": None},
            "layer: expected a name, because the backbone is a Plain, got None",
        ),
        ("Ornet", {"layer": "stage.1"}, r"got 'stage\.1' \(close: 'stages\.1'\)"),
        (
            "Ornet",
            {"evaluator": nn.Identity()},
            "evaluate_at: expected 'pixels' with an evaluator, got 'features'",
        ),
        (
            "Ornet",
            {"evaluator_epochs": 1},
            "evaluate_at: expected 'pixels' with an evaluator, got 'features'",
        ),
        (
            "Ornet",
            {"head": nn.Linear(16, 3)},
            "head: expected 16 inputs and 2 outputs, got 16 and 3",
        ),
    ],
)
def test_errors(name, settings, message):
    with pytest.raises(ValueError, match=message):
        small(name, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": nn.Identity()}, "head: expected an nn.Linear or None, got Identity"),
        ({"evaluator": print}, "evaluator: expected an nn.Module or None, got builtin"),
    ],
)
def test_modules_of_another_kind(settings, message):
    with pytest.raises(TypeError, match=f"^{message}"):
        small("Ornet", **settings)


@pytest.mark.parametrize(
    ("images", "options", "error", "message"),
    [
        (IMAGES, {"labels": 2}, ValueError, "labels: expected class indices from 0 to 1, got 2"),
        (
            IMAGES,
            {"labels": torch.tensor([[0, 1], [1, 0], [0, -2], [0, 5]])},
            ValueError,
            "labels: expected class indices from 0 to 1, got -2",
        ),
        (
            IMAGES,
            {"labels": LABELS.int()},
            TypeError,
            "labels: expected dtype torch.int64, got torch.int32",
        ),
        (
            IMAGES,
            {"labels": LABELS.float()},
            TypeError,
            "labels: expected dtype torch.int64, got torch.float32",
        ),
        (
            IMAGES,
            {"labels": [0, 1, 0, 1]},
            TypeError,
            "labels[0]: expected a list of class indices, got int",
        ),
        (
            IMAGES,
            {"labels": LABELS[:3]},
            ValueError,
            "labels: expected shape (B,) or (B, K) with B=4 from images, got (3,)",
        ),
        (IMAGES, {"top": 0}, ValueError, "top: expected an integer from 1 to 2, got 0"),
        (IMAGES, {"top": 3}, ValueError, "top: expected an integer from 1 to 2, got 3"),
        (
            IMAGES.byte(),
            {},
            TypeError,
            "images: expected a floating-point dtype, got torch.uint8",
        ),
        (IMAGES[0], {}, ValueError, "images: expected shape (B, 3, H, W), got (3, 32, 32)"),
    ],
)
@pytest.mark.parametrize("name", [*SMALL, "Localizer"])
def test_errors_of_a_call_are_those_of_any_localizer(name, images, options, error, message):
    localizer = Localizer(seeded(Classifier)) if name == "Localizer" else small(name)
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        localizer(images, **options)
    if isinstance(localizer, recipes.Recipe):
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            localizer.class_maps(images, **options)


@every_recipe
def test_pil_images_need_a_preprocessing(name):
    image_module = pytest.importorskip("PIL.Image")
    with pytest.raises(ValueError, match=r"^preprocess: expected one for images .*, got None$"):
        small(name)(image_module.new("RGB", (40, 30)))


def test_a_shared_classifier_is_not_copied():
    """The backbone handed in is the one trained; SPOL's and ORNet's second one is a copy."""
    backbone = efficientnet()
    assert small("Spa", backbone).backbone is backbone
    spol = small("Spol", backbone)
    assert spol.backbone is backbone
    shared = {id(p) for p in backbone.parameters()}
    assert shared.isdisjoint(id(p) for p in spol.segmentation_backbone.parameters())
    paper = small("Ornet", backbone, **PAPER)
    assert shared.isdisjoint(id(p) for p in paper.evaluator.parameters())
