"""Distillation: what the student learns, from whom, and where the teacher is."""

import copy
import functools
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset

from tests.references.resize import resize
from tests.support import zoo
from tests.support.backbones import SIDE, Plain, Seeing, objects, one_thread, overlap  # noqa: F401
from tests.support.small_recipes import CLASSES, fit, localizer, small
from tests.support.zoo import seeded
from wsolrefine import Localizer
from wsolrefine.localization.class_maps import ClassMaps
from wsolrefine.nn import FeatureList
from wsolrefine.recipes import Distill, RecipeMetadata, load_recipe, save_recipe

IMAGES, LABELS, _ = objects(4)
UNSEEN, _, MASKS = objects(8, seed=1)
every_student = pytest.mark.parametrize("student", ["generator", "mff"])


class Colors(nn.Sequential):
    """A classifier of red and blue whose CAM is the object."""

    def __init__(self):
        convolution, linear = nn.Conv2d(3, 2, 1), nn.Linear(2, 2)
        with torch.no_grad():
            convolution.weight[:, :, 0, 0] = torch.tensor([[1.0, 0, -1], [-1, 0, 1]])
            linear.weight.copy_(20 * torch.eye(2))
            for layer in (convolution, linear):
                layer.bias.zero_()
        super().__init__(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)


def classifier():
    """Return a backbone of three stages, and the classifier around it."""
    model = seeded(zoo.MobileNetV2)
    return FeatureList(model, ["features.1", "features.3", "features.5"]), model


def on_a_classifier(**settings):
    """Return distillation on the classifier's own scores."""
    backbone, _ = classifier()
    channels = [one.shape[1] for one in backbone(IMAGES)]
    settings = {"teacher": "cam", "width": 8, "epochs": 1} | settings
    return seeded(Distill, backbone, channels, zoo.CLASSES, **settings).train()


# The loss -----------------------------------------------------------------------------------------


def soft_cross_entropy(probability, target):
    """Binary cross entropy, one pixel after the other."""
    total = 0.0
    for p, t in zip(probability.ravel(), target.ravel(), strict=True):
        total -= t * np.log(p) + (1 - t) * np.log(1 - p)
    return total / probability.size


def on_grid(maps, size):
    """Each map on another grid: means of its pixels where it is finer, else bilinear."""
    if maps.shape[1] > size[0] and maps.shape[2] > size[1]:
        high, wide = maps.shape[1] // size[0], maps.shape[2] // size[1]
        return maps.reshape(len(maps), size[0], high, size[1], wide).mean((2, 4))
    return np.stack([resize(one, size) for one in maps])


@functools.cache
def evaluated(student):
    return small("Distill", student=student).eval()


@every_student
@given(
    grid=st.sampled_from([(2, 2), (8, 8), (3, 5), (16, 16), (32, 24), (4, 20)]),
    seed=st.integers(0, 99),
)
def test_the_loss_is_the_cross_entropy_of_the_teacher_s_map(student, grid, seed):
    recipe = evaluated(student)
    maps = torch.rand(4, 1, *grid, generator=torch.Generator().manual_seed(seed))
    found = ClassMaps(torch.zeros(4, CLASSES), LABELS[:, None], maps)
    loss = recipe.distillation_loss(IMAGES, found)
    probability = recipe.class_maps(IMAGES).maps[:, 0].double().numpy()
    target = on_grid(maps[:, 0].double().numpy(), probability.shape[1:])
    scores = cross_entropy(recipe(IMAGES).logits, torch.full((4, CLASSES), 1 / CLASSES))
    expected = soft_cross_entropy(probability, target)
    assert_close(loss.item() - scores.item(), expected, rtol=1e-4, atol=1e-5)


def test_scores_learn_the_probabilities_of_the_teacher():
    recipe = small("Distill").eval()
    recipe.loss(IMAGES, epoch=0)
    wanted = recipe.teacher(IMAGES).logits.softmax(1)
    expected = -(wanted * recipe(IMAGES).logits.log_softmax(1)).sum(1).mean()
    assert_close(recipe._terms["cross_entropy"], expected)


def test_the_scores_of_a_frozen_classifier_are_not_trained():
    recipe = on_a_classifier()
    recipe.loss(IMAGES, epoch=0)
    assert [*recipe._terms] == ["binary_cross_entropy"]


def test_the_generator_reads_its_stages_on_the_finest_grid():
    recipe = small("Distill", student_stages=(-1, 1)).eval()
    stages = recipe.backbone(IMAGES)
    size = tuple(stages[1].shape[2:])
    deep = nn.functional.interpolate(stages[-1], size, mode="bilinear")
    expected = recipe.student.generator(torch.cat([deep, stages[1]], 1)).probability.sigmoid()
    assert_close(recipe.class_maps(IMAGES).maps[:, 0], expected)


def test_the_mff_net_reads_its_stages():
    recipe = small("Distill", student="mff", student_stages=(0, -1)).eval()
    stages = recipe.backbone(IMAGES)
    expected = recipe.student.network([stages[0], stages[-1]]).fused[:, 0].sigmoid()
    assert_close(recipe.class_maps(IMAGES).maps[:, 0], expected)


# Labels -------------------------------------------------------------------------------------------


def test_without_use_labels_the_teacher_maps_the_class_that_it_predicts():
    recipe = small("Distill")
    found = recipe.teach(IMAGES, LABELS)
    assert_close(tuple(found), tuple(recipe.teacher.class_maps(IMAGES)), rtol=0, atol=0)
    assert torch.equal(found.labels[:, 0], found.logits.argmax(1))
    losses = [small("Distill").loss(IMAGES, labels, epoch=0) for labels in (None, LABELS)]
    assert torch.equal(*losses)


def test_with_use_labels_it_maps_the_labels():
    recipe = small("Distill", use_labels=True)
    other = 1 - recipe.teacher(IMAGES).labels[:, 0]
    found = recipe.teach(IMAGES, other)
    assert_close(tuple(found), tuple(recipe.teacher.class_maps(IMAGES, other)), rtol=0, atol=0)
    assert not torch.equal(found.maps, recipe.teacher.class_maps(IMAGES).maps)
    message = "labels: expected int64 (B,), because use_labels is True, got None"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        recipe.loss(IMAGES, epoch=0)


@pytest.mark.parametrize("batches", [IMAGES, TensorDataset(IMAGES), TensorDataset(IMAGES, LABELS)])
def test_a_trainer_takes_batches_with_and_without_labels(batches):
    recipes = [small("Distill", epochs=1) for _ in range(2)]
    fit(recipes[0], 1, DataLoader(batches, batch_size=2))
    fit(recipes[1], 1, DataLoader(IMAGES, batch_size=2))
    assert_close(recipes[0].state_dict(), recipes[1].state_dict(), rtol=0, atol=0)


def test_maps_that_were_made_before_are_enough():
    recipe = small("Distill")
    kept = recipe.teach(IMAGES)
    recipe.teacher = None
    expected = small("Distill").loss(IMAGES, epoch=0)
    assert torch.equal(recipe.distillation_loss(IMAGES, kept), expected)


# Learning -----------------------------------------------------------------------------------------


@every_student
def test_the_student_learns_what_its_teacher_shows_on_other_images_too(student):
    """Colors are easy, so the map is nearly the teacher's on images that neither has seen."""
    teacher = Localizer(seeded(Colors), refine="cam")
    settings = {"student": student, "student_stages": (0, 1), "width": 16, "dropout": 0.0}
    settings |= {"epochs": 60, "learning_rate": 0.03}
    recipe = small("Distill", seeded(Seeing), teacher=teacher, **settings)
    images, _, _ = objects(16, seed=2)

    def distance():
        expected = teacher.class_maps(UNSEEN).maps
        return (recipe.class_maps(UNSEEN).maps - expected).abs().mean().item()

    before = distance()
    fit(recipe, recipe.epochs, DataLoader(images, batch_size=8))
    found = recipe(UNSEEN)
    assert distance() < 0.1 < before / 3
    assert (overlap(found.coarse[:, 0], MASKS, recipe.threshold) > 0.7).all()
    assert torch.equal(found.labels, teacher(UNSEEN).labels)


def test_a_backbone_that_learns():
    recipe = small("Distill", backbone_learning_rate=0.001, train_head=False, **own_scores())
    recipe.prepare(0)
    recipe.loss(IMAGES, epoch=0).backward()
    assert [*recipe._terms] == ["binary_cross_entropy", "cross_entropy"]
    weights = dict(recipe.backbone.named_parameters())
    assert weights["model.features.0.0.weight"].grad.any()
    assert weights["model.classifier.1.weight"].grad.any()
    frozen = on_a_classifier()
    frozen.prepare(0)
    frozen.loss(IMAGES, epoch=0).backward()
    assert all(p.grad is None for p in frozen.backbone.parameters())


def own_scores():
    return {
        "backbone": classifier()[0],
        "num_classes": zoo.CLASSES,
        "teacher": localizer(zoo.CLASSES),
    }


# The teacher --------------------------------------------------------------------------------------


def test_the_name_of_a_method_is_a_teacher_on_the_classifier_of_the_backbone():
    recipe = on_a_classifier(teacher="scg")
    model = recipe.backbone.model
    assert recipe.teacher.model is model
    expected = Localizer(model, refine="scg").class_maps(IMAGES)
    assert_close(tuple(recipe.teach(IMAGES)), tuple(expected), rtol=0, atol=0)
    assert recipe.hparams["teacher"] == "scg"
    assert recipe.threshold == recipe.hparams["threshold"] == recipe.teacher.threshold
    assert on_a_classifier(threshold=0.9).threshold == 0.9
    recipe.teacher = localizer()
    assert recipe.hparams["teacher"] is None


def test_another_recipe_is_a_teacher():
    teacher = small("Spa").eval()
    recipe = small("Distill", teacher=teacher)
    assert_close(tuple(recipe.teach(IMAGES)), tuple(teacher.class_maps(IMAGES)), rtol=0, atol=0)
    assert recipe.threshold == teacher.threshold
    assert recipe.hparams["teacher"] is None


@pytest.mark.parametrize("refine", ["accurate", "balanced", "fast", "conv_crf"])
def test_every_method_teaches(refine):
    recipe = small("Distill", teacher=localizer(refine=refine))
    recipe.prepare(0)
    recipe.loss(IMAGES, epoch=0).backward()
    assert any(p.grad is not None and p.grad.any() for p in recipe.student.parameters())


def test_the_teacher_does_not_change():
    """Its weights, its statistics and its modes; nor is it in the state or the optimizer."""
    teacher = localizer()
    teacher.train()
    before = copy.deepcopy(teacher.state_dict())
    recipe = small("Distill", teacher=teacher)
    fit(recipe, recipe.epochs)
    assert_close(teacher.state_dict(), before, rtol=0, atol=0)
    assert all(p.grad is None for p in teacher.parameters())
    assert teacher.model.training
    assert {key.partition(".")[0] for key in recipe.state_dict()} == {"backbone", "student", "head"}
    assert not {id(p) for p in teacher.parameters()} & {id(p) for p in recipe.parameters()}
    assert recipe.eval().teacher.model.training
    assert recipe.user_modules() == {}


def test_the_teacher_is_moved_and_copied_with_the_recipe():
    recipe = small("Distill")
    other = copy.deepcopy(recipe)
    assert other.teacher is not recipe.teacher
    other.double()
    assert {p.dtype for p in other.teacher.parameters()} == {torch.float64}
    assert {p.dtype for p in recipe.teacher.parameters()} == {torch.float32}
    exact = other.loss(IMAGES.double(), epoch=0)
    assert exact.dtype == torch.float64
    assert_close(exact.float(), recipe.loss(IMAGES, epoch=0), rtol=1e-4, atol=1e-4)
    shared = copy.deepcopy(on_a_classifier())
    assert shared.teacher.model is shared.backbone.model


def test_a_file_has_no_teacher_but_may_name_it(tmp_path):
    spec = "tests.support.zoo:MobileNetV2"
    about = RecipeMetadata(spec, ("features.1", "features.3", "features.5"), (), zoo.CLASSES)
    for teacher in ("cam", localizer(zoo.CLASSES)):
        recipe = on_a_classifier(teacher=teacher)
        channels = tuple(one.shape[1] for one in recipe.backbone(IMAGES))
        path = tmp_path / "recipe.safetensors"
        save_recipe(path, recipe, RecipeMetadata(**{**vars(about), "channels": channels}))
        loaded = load_recipe(path, backbone=spec)
        assert torch.equal(loaded(IMAGES).maps, recipe(IMAGES).maps)
        if teacher == "cam":  # on the weights of the file
            again = loaded.teacher.class_maps(IMAGES)
            assert_close(tuple(again), tuple(recipe.teach(IMAGES)), rtol=0, atol=0)
            continue
        message = "teacher: expected a Localizer to learn from (recipe.teacher = ...), got None"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            loaded.loss(IMAGES, epoch=0)
        with pytest.raises(TypeError, match=r"^teacher: expected a Localizer or None, got str$"):
            loaded.teacher = "cam"
        loaded.teacher = teacher
        assert loaded.loss(IMAGES, epoch=0).isfinite()
        assert loaded.state_dict().keys() == recipe.state_dict().keys()


# One forward pass ---------------------------------------------------------------------------------


def test_inference_is_one_forward_pass_and_keeps_the_scores_of_the_classifier():
    recipe = on_a_classifier().eval()
    model, times = recipe.backbone.model, []
    recipe(IMAGES)
    model.features[0].register_forward_pre_hook(lambda *_: times.append(None))
    found = recipe(IMAGES)
    assert len(times) == 1
    assert torch.equal(found.logits, model(IMAGES))


def test_the_map_is_the_same_for_all_labels():
    recipe = on_a_classifier()
    maps = recipe.class_maps(IMAGES, top=3).maps
    assert torch.equal(maps[:, :1].expand_as(maps), maps)


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"teacher": "sgc"}, ValueError, "teacher: expected 'fast', 'balanced', 'accurate',"),
        ({"teacher": nn.ReLU()}, TypeError, "teacher: expected a Localizer, a name or None, got ReLU"),
        (
            {"backbone": Plain()},
            ValueError,
            "train_head: expected True, because the backbone is a Plain, not the FeatureList of a classifier, got False",
        ),
        (
            {"backbone": Plain(), "train_head": True},
            ValueError,
            "teacher: expected a Localizer, because the backbone is a Plain, not the FeatureList of a classifier,"
            " got 'cam'",
        ),
        (
            {"backbone_learning_rate": 0.1},
            ValueError,
            "teacher: expected weights that the recipe does not train (backbone_learning_rate=0.1),"
            " got cam on some of them",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(settings, error, message):
    backbone = settings.pop("backbone", classifier()[0])
    channels = [one.shape[1] for one in backbone(IMAGES)]
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        Distill(backbone, channels, zoo.CLASSES, **{"teacher": "cam"} | settings)


def test_a_recipe_does_not_teach_itself():
    recipe = small("Distill")
    message = r"^teacher: expected weights that .*\(backbone_learning_rate=0\.0\), got distill on"
    with pytest.raises(ValueError, match=message):
        recipe.teacher = recipe
    assert recipe.teacher is not recipe
    recipe.teacher = small("Distill", recipe.backbone)  # whose student is another
    assert recipe.loss(IMAGES, epoch=0).isfinite()


def test_edges_teach_nothing():
    with pytest.raises(
        ValueError, match=r"^teacher: expected maps of objects, got edges \(sem_edges\)$"
    ):
        small("Distill", teacher=small("SemEdges"))


def test_numbers_of_classes_that_differ():
    recipe = on_a_classifier(teacher=localizer(3))  # whose classes do not matter
    assert recipe.loss(IMAGES, epoch=0).isfinite()
    message = r"^teacher: expected 2 class scores as num_classes, got 3$"
    with pytest.raises(ValueError, match=message):
        small("Distill", teacher=localizer(3)).loss(IMAGES, epoch=0)
    backbone, _ = classifier()
    channels = [one.shape[1] for one in backbone(IMAGES)]
    message = f"^num_classes: expected {zoo.CLASSES} as the backbone has class scores, got 4$"
    with pytest.raises(ValueError, match=message):
        Distill(backbone, channels, 4, student_stages=(0, 1))(IMAGES)
