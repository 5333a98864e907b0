"""The papers' equations, put together anew from the parts of a recipe."""

import re

import pytest
import torch
from torch.nn.functional import avg_pool2d, cross_entropy, interpolate
from torch.testing import assert_close

from tests.support import zoo
from tests.support.backbones import SIDE, objects, one_thread, overlap  # noqa: F401
from tests.support.small_recipes import small
from tests.support.strategies import generator
from tests.support.zoo import seeded
from wsolrefine import attentive_erasing, coarse_to_fine, confseg, conv_crf, gppl, minmax, scg, sem
from wsolrefine.functional._colors import to_colors
from wsolrefine.losses import (
    area_loss,
    coaug_loss,
    confseg_loss,
    entropy_loss,
    masked_bce_loss,
    restricted_activation_loss,
    weighted_entropy_loss,
)
from wsolrefine.nn import FeatureList
from wsolrefine.recipes import Ornet

IMAGES, LABELS, MASKS = objects(4)


def without_dropout(name, backbone=None, **settings):
    """In training, but for what is random; batch norm as in evaluation."""
    return small(name, backbone, **settings).eval()


def center(recipe):
    """Shift the class maps, so that each is above zero here and below it there."""
    with torch.no_grad():
        stages = recipe.backbone(IMAGES)
        heads = [(recipe.head, stages[-2])]
        if hasattr(recipe, "auxiliary_head"):
            early = interpolate(stages[-3], scale_factor=0.5, mode="area")
            heads.append((recipe.auxiliary_head, early))
        for head, features in heads:
            class_maps = head(features)
            head[-1].bias -= class_maps.transpose(0, 1).flatten(1).median(1).values
    return recipe


def of_labels(class_maps):
    return class_maps[range(4), LABELS]


# SPA ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("released", [True, False])
def test_spa_is_cross_entropy_and_restricted_activation(released):
    settings = {"restriction_threshold": 0.12, "restriction_gap": 0.03, "restriction_weight": 0.7}
    recipe = without_dropout("Spa", restriction_released=released, **settings)
    class_maps = recipe.head(recipe.backbone(IMAGES)[-2])
    restriction = restricted_activation_loss(
        class_maps, LABELS, threshold=0.12, gap=0.03, released=released
    )
    plain = cross_entropy(class_maps.mean((2, 3)), LABELS)
    assert_close(recipe.loss(IMAGES, LABELS, epoch=0), plain)
    assert restriction > 0
    assert_close(recipe.loss(IMAGES, LABELS, epoch=1), plain + 0.7 * restriction)  # Eq. 1


def test_spa_refines_the_rectified_map_of_the_class():
    settings = {"foreground": 0.5, "background": 0.2, "orders": (1,), "scg_stages": (-4, -3)}
    recipe = center(without_dropout("Spa", **settings))
    stages = recipe.backbone(IMAGES)
    class_maps = recipe.head(stages[-2])
    cam = minmax(of_labels(class_maps).relu())
    refined = scg(cam, [stages[0], stages[1]], foreground=0.5, background=0.2, orders=(1,))
    found = recipe.class_maps(IMAGES, LABELS)
    assert_close(found.maps[:, 0], refined)
    assert_close(found.logits, class_maps.mean((2, 3)))
    assert (of_labels(class_maps) < 0).any()
    plain = center(without_dropout("Spa", refine=False)).class_maps(IMAGES, LABELS).maps
    assert_close(plain[:, 0], cam)


# ORNet --------------------------------------------------------------------------------------------


PAPER = {**Ornet.PAPER, "evaluator_epochs": 1, "generator_epochs": 1, "refinement_epochs": 1}
SHALLOW = {"reads": (0,), "multiplies": 0}


def classified(recipe, maps):
    """Return class scores of features multiplied by maps, with the backbone run by hand: Eq. 3."""
    deep = IMAGES
    for stage in recipe.backbone.stages[:2]:
        deep = stage(deep)
    deep = deep * maps[:, None]
    for stage in recipe.backbone.stages[2:]:
        deep = stage(deep)
    return recipe.head(deep.mean((2, 3)))


def test_ornet_stage_one_multiplies_the_shallow_features():
    """Eqs. 1-6."""
    recipe = without_dropout("Ornet", **PAPER | {"auxiliary_weight": 0.7})
    activation = recipe.generator(recipe.backbone(IMAGES)[1])
    expected = cross_entropy(classified(recipe, activation.probability), LABELS)
    expected = expected + 0.7 * cross_entropy(activation.auxiliary_logits, LABELS)
    assert_close(recipe.loss(IMAGES, LABELS, epoch=1), expected)
    assert_close(recipe.class_maps(IMAGES).maps[:, 0], activation.probability)


def test_ornet_reads_several_stages_on_the_finest_of_their_grids():
    recipe = without_dropout("Ornet", reads=(-2, 1), auxiliary_weight=0)
    _, fine, coarse, _ = recipe.backbone(IMAGES)
    read = torch.cat([interpolate(coarse, scale_factor=2, mode="bilinear"), fine], 1)
    maps = recipe.generator(read).probability
    assert maps.shape[1:] == fine.shape[2:]
    expected = cross_entropy(classified(recipe, maps), LABELS)
    assert_close(recipe.loss(IMAGES, LABELS, epoch=1), expected)


def test_ornet_multiplies_a_layer_on_another_grid_than_its_map():
    recipe = without_dropout("Ornet", reads=(-2,), auxiliary_weight=0)
    maps = recipe.generator(recipe.backbone(IMAGES)[-2]).probability
    maps = interpolate(maps[:, None], scale_factor=2, mode="bilinear")[:, 0]
    expected = cross_entropy(classified(recipe, maps), LABELS)
    assert_close(recipe.loss(IMAGES, LABELS, epoch=1), expected)


def test_ornet_trains_its_head_on_the_means_of_the_last_stage():
    recipe = without_dropout("Ornet")
    features = recipe.backbone(IMAGES)[-1]
    expected = cross_entropy(recipe.head(features.mean((2, 3))), LABELS)
    assert_close(recipe.loss(IMAGES, LABELS, epoch=0), expected)


def test_ornet_shows_the_mean_of_its_map_and_the_cam():
    recipe = without_dropout("Ornet")
    alone = without_dropout("Ornet", with_cam=False).class_maps(IMAGES, LABELS).maps
    features = recipe.backbone(IMAGES)[-1]
    cam = torch.einsum("bchw,bc->bhw", features, recipe.head.weight[LABELS])
    cam = interpolate(minmax(cam.relu())[:, None], scale_factor=4, mode="bilinear")
    assert cam.any()
    assert_close(recipe.class_maps(IMAGES, LABELS).maps, (minmax(alone) + cam) / 2)


def test_ornet_masks_maps_whose_channels_come_last():
    model = seeded(zoo.Swin)
    backbone = FeatureList(model, ["layers.1", "layers.3"])
    recipe = without_dropout("Ornet", backbone, **PAPER | SHALLOW)
    shallow = model.layers[:2](model.patch_embed(IMAGES).permute(0, 2, 3, 1))
    activation = recipe.generator(shallow.permute(0, 3, 1, 2))
    deep = model.layers[2:](shallow * activation.probability[..., None])
    check_stage_one(recipe, activation, deep.mean((1, 2)))


def test_ornet_masks_tokens_and_leaves_the_class_token():
    model = seeded(zoo.ViT, image_size=(SIDE, SIDE), patch=4)
    backbone = FeatureList(model, ["blocks.0", "blocks.2"])
    recipe = without_dropout("Ornet", backbone, **PAPER | SHALLOW)
    tokens = torch.cat([model.prefix_tokens.expand(4, -1, -1), model.patch_embed(IMAGES)], 1)
    shallow = model.blocks[0](tokens + model.pos_embed)
    activation = recipe.generator(shallow[:, 1:].mT.unflatten(2, (SIDE // 4, SIDE // 4)))
    patches = shallow[:, 1:] * activation.probability.flatten(1)[..., None]
    deep = model.blocks[1:](torch.cat([shallow[:, :1], patches], 1))[:, 1:]
    check_stage_one(recipe, activation, deep.mean(1))


def check_stage_one(recipe, activation, pooled):
    """Compare the loss, and what the generator learns from it, with what was put together."""
    expected = cross_entropy(recipe.head(pooled), LABELS)
    expected = expected + cross_entropy(activation.auxiliary_logits, LABELS)
    loss = recipe.loss(IMAGES, LABELS, epoch=1)
    assert_close(loss, expected)
    learned = list(recipe.generator.parameters())
    gradients = torch.autograd.grad(loss, learned)
    assert_close(gradients, torch.autograd.grad(expected, learned))
    assert_close(recipe.class_maps(IMAGES).maps[:, 0], activation.probability)


class Calling(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, maps):
        return self.function(maps)


class Wrapping(torch.nn.Module):
    """Two convolutions, between them a layer that returns the maps inside of something."""

    def __init__(self, wrap, unwrap):
        super().__init__()
        self.first, self.last = torch.nn.Conv2d(3, 6, 3), torch.nn.Conv2d(6, 8, 3)
        self.wrapped, self.unwrap = Calling(wrap), unwrap

    def forward(self, images):
        maps = self.first(images)
        return [maps, self.last(self.unwrap(self.wrapped(maps)))]


def wrapping(wrap, unwrap):
    """Return ORNet on such a backbone."""
    backbone = seeded(Wrapping, wrap, unwrap)
    return without_dropout("Ornet", backbone, **SHALLOW, layer="wrapped")


@pytest.mark.parametrize(
    ("wrap", "unwrap"),
    [
        (lambda maps: (None, maps, 1), lambda found: found[1]),
        (lambda maps: [maps, -maps], lambda found: found[0] + 0 * found[1]),
    ],
)
def test_ornet_masks_the_first_tensor_of_several_outputs(wrap, unwrap):
    plain = wrapping(lambda maps: maps, lambda found: found)
    expected = plain.loss(IMAGES, LABELS, epoch=1)
    assert_close(wrapping(wrap, unwrap).loss(IMAGES, LABELS, epoch=1), expected)


@pytest.mark.parametrize(
    ("wrap", "unwrap", "error", "message"),
    [
        (
            lambda maps: {"maps": maps},
            lambda found: found["maps"],
            TypeError,
            "layer: expected a tensor, or a tuple or list with one, from 'wrapped', got dict",
        ),
        (
            lambda maps: maps.flatten(1),
            lambda found: found.unflatten(1, (6, 30, 30)),
            ValueError,
            "layers: expected a map or tokens from 'wrapped' (or to_map to lay them out), got shape (4, 5400)",
        ),
    ],
)
def test_ornet_refuses_what_it_cannot_mask(wrap, unwrap, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        wrapping(wrap, unwrap).loss(IMAGES, LABELS, epoch=1)


def of_pixels(recipe, maps):
    return recipe.evaluator(pixels(maps))


def of_pixels_by_the_classifier(recipe, maps):
    return recipe.classify(pixels(maps))


GIVEN = torch.nn.Sequential(torch.nn.Flatten(), seeded(torch.nn.Linear, 3 * SIDE**2, 2))
EVALUATORS = {  # settings, and what then judges a map
    "a given one": (PAPER | {"evaluator": GIVEN}, of_pixels),
    "its own": (PAPER, of_pixels),
    "the classifier": ({"evaluate_at": "pixels"}, of_pixels_by_the_classifier),
    "features": ({}, classified),
}


def pixels(maps):
    return interpolate(maps[:, None], (SIDE, SIDE), mode="bilinear") * IMAGES  # Eq. 9


def probability_of(recipe):
    return recipe.generate(recipe.backbone(IMAGES)).probability


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_ornet_stage_two_is_evaluation_entropy_and_area(evaluator, weighted):
    settings = {"entropy_weight": 0.8, "area_weight": 0.3, "weighted": weighted, "erasing": False}
    settings |= {"entropy_mean": 0.45, "entropy_std": 0.2, "refinement_auxiliary_weight": 0.0}
    own, evaluate = EVALUATORS[evaluator]
    recipe = without_dropout("Ornet", **own | settings)
    probability = probability_of(recipe)
    entropy = (
        weighted_entropy_loss(probability, mean=0.45, std=0.2)
        if weighted
        else entropy_loss(probability)
    )
    expected = cross_entropy(evaluate(recipe, probability), LABELS)
    expected = expected + 0.8 * entropy + 0.3 * area_loss(probability)  # Eq. 10
    assert_close(recipe.loss(IMAGES, LABELS, epoch=recipe.epochs - 1), expected)
    whole = recipe.classify if recipe.evaluator is None else recipe.evaluator
    assert_close(recipe(IMAGES).logits, whole(IMAGES).detach())


def test_ornet_keeps_the_auxiliary_loss_in_stage_two():
    settings = {"entropy_weight": 0.0, "area_weight": 0.0, "erasing": False}
    recipe = without_dropout("Ornet", **settings, refinement_auxiliary_weight=0.6)
    activation = recipe.generate(recipe.backbone(IMAGES))
    expected = cross_entropy(classified(recipe, activation.probability), LABELS)
    expected = expected + 0.6 * cross_entropy(activation.auxiliary_logits, LABELS)
    assert_close(recipe.loss(IMAGES, LABELS, epoch=2), expected)
    without = without_dropout(
        "Ornet", **settings, auxiliary_weight=0, refinement_auxiliary_weight=0.6
    )
    alone = cross_entropy(classified(without, probability_of(without)), LABELS)
    assert_close(without.loss(IMAGES, LABELS, epoch=2), alone)


def test_ornet_erases_for_the_evaluator_alone():
    recipe = without_dropout("Ornet", **PAPER, erasing_threshold=0.0, erasing_drop=1.0)
    seen = []
    recipe.evaluator.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    loss = recipe.loss(IMAGES, LABELS, epoch=2)
    probability = probability_of(recipe)
    whole = pixels(probability)
    assert (seen[0] <= whole + 1e-6).all()
    assert (seen[0] < whole - 0.05).any()
    expected = cross_entropy(recipe.evaluator(seen[0]), LABELS)
    expected = expected + 1.5 * weighted_entropy_loss(probability) + 0.02 * area_loss(probability)
    assert_close(loss, expected)


def test_ornet_erases_features_too():
    settings = {"erasing_threshold": 0.0, "erasing_drop": 1.0}
    weights = dict.fromkeys(("entropy_weight", "area_weight", "refinement_auxiliary_weight"), 0.0)
    recipe = without_dropout("Ornet", **settings, **weights)
    torch.manual_seed(0)
    loss = recipe.loss(IMAGES, LABELS, epoch=2)
    torch.manual_seed(0)
    erased = attentive_erasing(probability_of(recipe), threshold=0.0, drop=1.0)
    assert not erased.all()
    assert_close(loss, cross_entropy(classified(recipe, erased), LABELS))


# CSoA ---------------------------------------------------------------------------------------------


def csoa_parts(recipe):
    stages = recipe.backbone(IMAGES)
    early = interpolate(stages[-3], scale_factor=0.5, mode="area")  # half the grid: means of 2x2
    return recipe.head(stages[-2]), recipe.auxiliary_head(early)


@pytest.mark.parametrize("mean", [True, False])
def test_csoa_ramps_confseg_up(mean):
    recipe = without_dropout("Csoa", coaug=False, confseg_mean=mean, confseg_weight=0.6, epochs=4)
    class_maps, auxiliary_maps = csoa_parts(recipe)
    plain = sum(cross_entropy(maps.mean((2, 3)), LABELS) for maps in (class_maps, auxiliary_maps))
    inner = confseg_loss(of_labels(auxiliary_maps), of_labels(class_maps))
    inner = inner / class_maps[0, 0].numel() if mean else inner
    for epoch, ramp in ((0, 0.25), (1, 0.5), (3, 1.0), (9, 1.0)):
        found = recipe.loss(IMAGES, LABELS, epoch=epoch)
        assert_close(found, plain + ramp * 0.6 * inner)  # Eq. 6


class Flat(torch.nn.Module):
    def forward(self, images):
        return images[:, :, ::4, ::4] ** 2


@pytest.mark.parametrize("given", [False, True])
def test_csoa_embeds_three_parts_of_each_image(given):
    embedding = Flat() if given else None
    settings = {"gamma": 0.7, "delta": 1.3, "coaug_weight": 0.4, "confseg": False}
    recipe = center(without_dropout("Csoa", embedding=embedding, embedding_stage=0, **settings))
    class_maps, auxiliary_maps = csoa_parts(recipe)
    plain = sum(cross_entropy(maps.mean((2, 3)), LABELS) for maps in (class_maps, auxiliary_maps))
    cam = of_labels(class_maps)
    source = IMAGES if given else recipe.backbone(IMAGES)[0]
    size = source.shape[-2:]
    relative = cam.relu() / cam.amax((1, 2), keepdim=True)
    weight = interpolate(relative[:, None], size, mode="bilinear")
    confident = interpolate(confseg(cam).confident[:, None].float(), size, mode="nearest")

    def embed(part):  # Eqs. 8 and 10; without an embedding the mean of the part's features
        if given:
            return embedding(part * source).flatten(1)
        return torch.stack(
            [
                (w * values).sum((1, 2)) / max(w.sum().item(), 1.0)
                for w, values in zip(part.detach(), source, strict=True)
            ]
        )

    metric = coaug_loss(
        *(embed(part) for part in (weight, 1 - weight, (1 - weight) * confident)),
        LABELS,
        gamma=0.7,
        delta=1.3,
    )
    assert metric > 0
    assert_close(recipe.loss(IMAGES, LABELS, epoch=0), plain + 0.4 * metric)


def test_csoa_map_above_the_threshold_is_the_union():
    """Eq. 13, for any theta at once."""
    recipe = center(without_dropout("Csoa"))
    class_maps, auxiliary_maps = csoa_parts(recipe)
    late, early = (of_labels(maps) for maps in (class_maps, auxiliary_maps))
    found = recipe.class_maps(IMAGES, LABELS).maps[:, 0]
    for theta in (0.1, 0.3, 0.6, 0.9):
        masks = []
        for maps in (late, early):
            peak = maps.amax((1, 2), keepdim=True)
            masks.append((maps > theta * peak) & (peak > 0))
            assert masks[-1].any()
        assert torch.equal(found > theta, masks[0] | masks[1])
        assert not torch.equal(masks[0], masks[0] | masks[1])
        assert not torch.equal(masks[1], masks[0] | masks[1])


def test_csoa_map_that_is_nowhere_positive_is_empty():
    recipe = without_dropout("Csoa")
    for head in (recipe.head, recipe.auxiliary_head):
        torch.nn.init.constant_(head[-1].bias, -1e3)
    assert not recipe.class_maps(IMAGES, LABELS).maps.any()


# SEM ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refine", [True, False])
def test_edges_are_learned_from_the_map_of_the_label(refine, monkeypatch):
    """What comes before the CRF; CRF and boundaries have tests of their own."""
    from wsolrefine.recipes import sem_edges

    handed = []
    monkeypatch.setattr(
        sem_edges,
        "coarse_to_fine",
        lambda maps, images, *, threshold: handed.append((maps, images, threshold)) or maps,
    )
    recipe = without_dropout("SemEdges", refine=refine, num_seeds=147, map_threshold=0.4)
    stages = recipe.backbone(IMAGES)
    maps = minmax(of_labels(recipe.classes(stages[-1])).relu())
    if refine:  # 147 of 28 x 28 pixels is 3 of 4 x 4
        maps = sem(maps, stages[-2], num_seeds=3)
    assert_close(recipe.maps(stages, LABELS), maps)
    assert not recipe.maps(stages, LABELS).requires_grad
    recipe.loss(IMAGES, LABELS, epoch=1)
    ((found, colors, threshold),) = handed
    assert_close(found, interpolate(maps[:, None], (SIDE, SIDE), mode="bilinear")[:, 0])
    assert_close(colors.amin((1, 2, 3)), torch.zeros(4))
    assert_close(colors.amax((1, 2, 3)), torch.ones(4))
    assert threshold == 0.4


@pytest.mark.parametrize("refine", [True, False])
def test_the_edge_head_is_given_the_map_of_the_class(refine):
    """In training that of the label, otherwise of the class asked for, or predicted."""
    recipe = without_dropout("SemEdges", refine=refine, edge_stages=2)
    recipe.classes.bias.data += 1  # untrained, its class maps are below 0, and no CAM shows that
    stages = recipe.backbone(IMAGES)
    logits = recipe.classes(stages[-1]).mean((2, 3))
    predicted = logits.argmax(1)
    given, head = [], recipe.edges.forward
    recipe.edges.forward = lambda *passed: given.append(passed) or head(*passed)
    recipe.loss(IMAGES, LABELS, epoch=1)
    recipe(IMAGES)
    recipe(IMAGES, 1 - predicted)
    _, maps_of = recipe.activate(IMAGES)  # with gradients
    assert all(maps_of(labels).requires_grad for labels in (predicted, 1 - predicted))
    asked = (LABELS, *[predicted, 1 - predicted] * 2)
    for (features, maps), labels in zip(given, asked, strict=True):
        assert_close(list(features), list(stages[:2]))
        assert_close(maps, recipe.maps(stages, labels))
        assert not maps.requires_grad
    assert not torch.equal(given[1][1], given[2][1])
    probability = recipe.probability(stages, given[1][1], (SIDE, SIDE))
    edges = interpolate(head(*given[1])[:, None], (SIDE, SIDE), mode="bilinear")[:, 0].sigmoid()
    assert_close(probability, edges)


def test_the_crf_draws_a_blurred_map_to_the_object():
    maps = avg_pool2d(MASKS[:, None].float(), 9, 1, 4)[:, 0]
    found = coarse_to_fine(maps, IMAGES, threshold=0.5)
    assert 0 <= found.min() <= found.max() <= 1
    assert (overlap(found, MASKS, 0.5) > overlap(maps, MASKS, 0.5) + 0.02).all()
    smaller, larger = (
        (coarse_to_fine(maps, IMAGES, threshold=threshold) > 0.5).sum() for threshold in (0.9, 0.1)
    )
    assert smaller <= (found > 0.5).sum() <= larger


def drawn(maps, image, *scales):
    """Draw a map to the edges of its image, on these scales one after the other."""
    unary = torch.stack([(1 - maps).log(), maps.log()], 1)
    size = maps.shape[1:]
    for scale in scales:
        coarse = [side // scale for side in size]
        small = [
            interpolate(each, coarse, mode="bilinear", antialias=True) for each in (unary, image)
        ]
        probability = conv_crf(*small, kernel_size=11)
        unary = interpolate(probability.clamp_min(1e-4).log(), size, mode="bilinear")
    return interpolate(probability, size, mode="bilinear")[:, 1]


def test_the_crf_goes_from_coarse_to_fine():
    """The map ends 18 pixels inside of the object, the window reaches over 5 pixels of its scale.

    Every scale counts: the coarsest finds the object, the next ones its border.
    """
    masks = torch.zeros(1, 128, 128, dtype=torch.bool)
    masks[:, 33:95, 33:95] = True
    red, blue = torch.tensor([[0.8, 0.2, 0.2], [0.2, 0.4, 0.7]])[..., None, None]
    image = torch.where(masks[:, None], red, blue)
    image = image + 0.1 * torch.rand(1, 3, 128, 128, generator=generator(0))
    maps = torch.full((1, 128, 128), 0.4)
    maps[:, 33:77, 33:77] = 0.9
    assert overlap(coarse_to_fine(maps, image, threshold=0.5), masks, 0.5) > 0.98
    without = {(1,): 0.6, (2, 1): 0.6, (4, 1): 0.95, (4, 2): 0.95}
    for scales, most in without.items():
        assert overlap(drawn(maps, image, *scales), masks, 0.5) < most


def test_images_are_normalised_back_before_the_crf(monkeypatch):
    """Whatever they were normalized with, if it was the same for every channel."""
    assert_close(to_colors(IMAGES * 4 - 2), to_colors(IMAGES))
    assert not to_colors(torch.full_like(IMAGES, 3.0)).any()


# SPOL ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, lambda deep, fused: cross_entropy(deep, LABELS) + cross_entropy(fused, LABELS)),
        ({"auxiliary": False}, lambda deep, fused: cross_entropy(fused, LABELS)),
        (
            {"distill": True},
            lambda deep, fused: (
                (cross_entropy(deep, LABELS) + cross_entropy(fused, deep.softmax(1))) / 2
            ),
        ),
    ],
    ids=["both", "fused", "released"],
)
def test_spol_scores_are_means_of_rectified_maps(settings, expected):
    recipe = without_dropout("Spol", **settings)
    maps = recipe.cam_network(recipe.backbone(IMAGES))
    deep, fused = maps.deep.relu().mean((2, 3)), maps.fused.relu().mean((2, 3))
    assert_close(recipe.loss(IMAGES, LABELS, epoch=0), expected(deep, fused))
    assert_close(recipe(IMAGES).logits, fused)


@pytest.mark.parametrize("gaussian", [True, False])
def test_spol_pseudo_labels_come_from_the_widened_map_of_the_label(gaussian):
    settings = {"gaussian": gaussian, "foreground": 0.6, "background": 0.2}
    recipe = without_dropout("Spol", **settings)
    with torch.no_grad():  # as drawn, some factor of every product is zero
        for step in recipe.cam_network.reduce:
            step[1].bias += 0.3
        recipe.cam_network.head[-1].weight.abs_()
    maps = recipe.cam_network(recipe.backbone(IMAGES)).fused.relu()
    cam = minmax(of_labels(maps))
    if gaussian:
        cam = gppl(cam)
    found = recipe.pseudo_labels(IMAGES, LABELS)
    expected = torch.where(cam > 0.6, 1, torch.where(cam < 0.2, 0, 255))
    assert torch.equal(found.long(), expected.long())
    assert found.unique().tolist() == [0, 1, 255]


def test_spol_segments_with_the_masked_loss():
    recipe = without_dropout("Spol", with_cam=False)
    target = recipe.pseudo_labels(IMAGES, LABELS)
    network = recipe.segmentation_network(recipe.segmentation_backbone(IMAGES))
    logits = network.fused[:, 0]
    assert_close(recipe.loss(IMAGES, LABELS, epoch=1), masked_bce_loss(logits, target))
    assert_close(recipe.class_maps(IMAGES).maps[:, 0], logits.sigmoid())
    larger = torch.randint(0, 2, (4, 20, 20))
    enlarged = interpolate(network.fused, (20, 20), mode="bilinear", align_corners=True)
    assert_close(recipe.segmentation_loss(IMAGES, larger), masked_bce_loss(enlarged[:, 0], larger))


def test_spol_shows_the_mean_of_the_segmentation_and_the_cam():
    recipe = without_dropout("Spol")
    with torch.no_grad():  # as drawn, some factor of every product is zero
        for step in recipe.cam_network.reduce:
            step[1].bias += 0.3
        recipe.cam_network.head[-1].weight.abs_()
    cam = minmax(of_labels(recipe.cam_network(recipe.backbone(IMAGES)).fused.relu()))
    network = recipe.segmentation_network(recipe.segmentation_backbone(IMAGES))
    expected = (network.fused[:, 0].sigmoid() + cam) / 2
    assert cam.flatten(1).any(1).tolist() == [False, True, False, True]
    assert_close(recipe.class_maps(IMAGES, LABELS).maps[:, 0], expected)


def test_spol_starts_the_segmentation_from_the_same_backbone():
    recipe = small("Spol")
    pairs = zip(
        recipe.backbone.parameters(), recipe.segmentation_backbone.parameters(), strict=True
    )
    assert all(torch.equal(one, other) and one is not other for one, other in pairs)
