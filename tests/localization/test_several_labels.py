"""Labels of which images have different numbers: lists, -1, multi-hot, everywhere one is."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support import small_localizers as small
from tests.support.backbones import SIDE
from tests.support.small_localizers import images, localizer_of, photograph, tensors
from tests.support.small_recipes import small as small_recipe
from tests.support.zoo import CLASSES
from wsolrefine import Localizer, Preprocess, class_activation, localize
from wsolrefine.activation.labels import as_labels, choose_labels
from wsolrefine.export import records_of
from wsolrefine.localization.class_maps import ClassMaps
from wsolrefine.localization.finite import not_finite
from wsolrefine.localization.methods import METHODS

LISTS = [[3, 7], [5], []]
PADDED = torch.tensor([[3, 7], [5, -1], [-1, -1]])
IMAGES = images(3)


def hot(lists, kind=torch.bool):
    found = torch.zeros(len(lists), CLASSES, dtype=kind)
    for row, labels in zip(found, lists, strict=True):
        row[labels] = 1
    return found


FORMS = {
    "lists": LISTS,
    "tuples": tuple(map(tuple, LISTS)),
    "tensors": [torch.tensor(one, dtype=torch.int64) for one in LISTS],
    "arrays": [np.array(one, dtype=np.int64) for one in LISTS],
    "padded": PADDED,
    "bool": hot(LISTS),
    "float": hot(LISTS, torch.float32),
    "half": hot(LISTS, torch.bfloat16),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same(form):
    assert torch.equal(as_labels(FORMS[form], IMAGES), PADDED)
    localizer = localizer_of(refine="cam")
    found, expected = (localizer(IMAGES, labels) for labels in (FORMS[form], PADDED))
    for name, value in tensors(expected).items():
        assert torch.equal(tensors(found)[name], value), name
    out = class_activation(
        localizer.model, IMAGES, labels=FORMS[form], layers=small.layers_of("plain")
    )
    assert torch.equal(out.labels, PADDED)
    assert torch.equal(out.cam == 0, (out.cam == 0) | (PADDED < 0)[..., None, None])


@given(st.lists(st.lists(st.integers(0, CLASSES - 1), max_size=4), min_size=1, max_size=4))
def test_lists_are_filled_up_and_multi_hot_labels_are_in_order(lists):
    logits = torch.zeros(len(lists), CLASSES)
    chosen = choose_labels(logits, lists, 1)
    assert chosen.shape == (len(lists), max(1, *map(len, lists), 1))
    assert [[label for label in row if label >= 0] for row in chosen.tolist()] == lists
    ordered = [sorted({*one}) for one in lists]
    assert torch.equal(choose_labels(logits, hot(ordered), 1), choose_labels(logits, ordered, 1))


@pytest.mark.parametrize("method", METHODS)
def test_a_label_has_the_map_that_it_has_alone_and_none_has_nothing(method):
    localizer = localizer_of(refine=method)
    found = localizer(IMAGES, LISTS)
    assert found.maps.shape == (3, 2, 64, 64)
    alone = localizer(IMAGES, torch.tensor([3, 5, 0]))
    torch.testing.assert_close(found.maps[:2, 0], alone.maps[:2, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.scores[:2, 0], alone.scores[:2, 0])
    none = PADDED < 0
    for name in ("scores", "maps", "masks", "boxes", "coarse"):
        assert not getattr(found, name)[none].any(), name
    again = found.at(0.0, parts="all")
    assert not again.masks[none].any()
    assert again.masks[0, 0].any()
    assert [len(one.masks) for one in found.instances[2]] == [0, 0]


def test_none_of_an_image_is_no_sign_of_nan():
    localizer = localizer_of(refine="cam")
    batch = localizer.prepare_batch(list(IMAGES))
    found = localizer.class_maps(batch, LISTS)

    class Never(Localizer):
        def class_maps(self, *arguments):
            raise AssertionError("ran again")

    localizer.__class__ = Never
    full = ClassMaps(found.logits, found.labels, found.maps.clone())
    full.maps[0, :, 0, 0], full.maps[1, 0, 0, 0] = 0.5, 0.5
    assert not_finite(localizer, batch, full) == [None] * 3


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("form", ["lists", "padded", "bool"])
def test_pil_images(together, form):
    def preprocess(image):
        side = small.SIDE if together else 32 * (1 + image.width // 30)
        return Preprocess((small.SIDE, side))(image)

    localizer = Localizer(small.build(), preprocess=preprocess, refine="cam")
    some = [photograph(50, 30), photograph(20, 40, 1), photograph(60, 30, 2)]
    found = localizer(some, FORMS[form])
    assert [one.labels.tolist() for one in found] == [[[3, 7]], [[5, -1]], [[-1, -1]]]
    assert not found[2].masks.any()
    one = localize(small.build(), some[0], [[3, 7]], refine="cam", preprocess=preprocess)
    assert one.labels.tolist() == [[3, 7]]
    with pytest.raises(
        ValueError, match=r"^labels: expected multi-hot labels \(B, 10\) as the model"
    ):
        localizer(some, torch.ones(3, 4, dtype=torch.bool))


def test_a_picture_has_a_row_for_each_class():
    found = localizer_of(refine="cam")(IMAGES, LISTS)
    assert len(found.plot().axes) == 3 * 4
    nothing = localizer_of(refine="cam")(IMAGES, [[], [], []])
    assert nothing.labels.tolist() == [[-1]] * 3
    assert nothing._repr_png_() is None
    with pytest.raises(ValueError, match="expected"):
        nothing.plot()


def test_records_have_the_classes_of_each_image():
    found = localizer_of(refine="cam")(IMAGES, LISTS)
    given = records_of(found, ["a.jpg", "b.jpg", "c.jpg"])
    assert [[*dict.fromkeys(one.label for one in record.objects)] for record in given] == LISTS


def test_recipes_too():
    recipe = small_recipe("Csoa", num_classes=3)
    given = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    found, alone = recipe(given, [[2, 0], [1]]), recipe(given, torch.tensor([2, 1]))
    assert found.labels.tolist() == [[2, 0], [1, -1]]
    assert torch.equal(found.maps[:, 0], alone.maps[:, 0])
    assert not found.maps[1, 1].any()


def test_integers_are_indices_never_multi_hot():
    found = localizer_of(refine="cam")(IMAGES[:1], torch.tensor([[1, 0, 1]]))
    assert found.labels.tolist() == [[1, 0, 1]]
    with pytest.raises(ValueError, match=r"looks like one-hot labels: use labels.bool\(\)$"):
        localizer_of()(IMAGES[:1], hot([[3]], torch.int64))


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([[1], [2]], ValueError, "labels: expected 3 lists as there are images, got 2"),
        ([[1], [2], 3], TypeError, "labels[2]: expected a list of class indices, got int"),
        ([[1], [2], "3"], TypeError, "labels[2]: expected a list of class indices, got str"),
        ([[1], [2], [1.0]], TypeError, "labels[2]: expected an integer"),
        ([[1], [2], [-2]], ValueError, "labels[2]: expected an integer"),
        (
            [[1], [2], torch.tensor([[1]])],
            TypeError,
            "labels[2]: expected class indices, int64 (K,)",
        ),
        ([[1], [2], np.array([True])], TypeError, "labels[2]: expected class indices, int64 (K,)"),
        ([[1], [2], [99]], ValueError, "labels: expected class indices from 0 to 9, got 99"),
        (
            torch.tensor([[1, -2]] * 3),
            ValueError,
            "labels: expected class indices from 0 to 9, got -2",
        ),
        (
            torch.tensor([1, 2, -1]),
            ValueError,
            "labels: expected class indices from 0 to 9, got -1",
        ),
        (
            torch.ones(3, 9).bool(),
            ValueError,
            "labels: expected multi-hot labels (B, 10) as the model",
        ),
        (
            torch.ones(2, 10),
            ValueError,
            "labels: expected multi-hot labels (B, num_classes) with B=3",
        ),
        (torch.full((3, 10), 0.5), ValueError, "labels: expected 0 and 1 in multi-hot labels, got"),
        (
            torch.full((3, 10), torch.nan),
            ValueError,
            "labels: expected 0 and 1 in multi-hot labels",
        ),
        (torch.ones(3, 10, device="meta"), ValueError, "labels: expected cpu as images, got meta"),
    ],
)
def test_wrong_labels(labels, error, message):
    for call in (
        localizer_of(refine="cam"),
        lambda *a: class_activation(
            small.build(), a[0], labels=a[1], layers=small.layers_of("plain")
        ),
    ):
        with pytest.raises(error, match=f"^{re.escape(message)}"):
            call(IMAGES, labels)
