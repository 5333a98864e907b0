"""What was found: another threshold, another device, its text and its picture."""

import base64
import copy
import dataclasses
import io
import re
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.testing import assert_close

from tests.support.small_localizers import (
    SIDE,
    THRESHOLDS,
    build,
    enlarged,
    images,
    photograph,
    tensors,
)
from tests.support.strategies import SEEDS
from wsolrefine import Localization, Localizer, Preprocess, outline, union_box
from wsolrefine.localization.masks import objects_of
from wsolrefine.localization.result import ROWS
from wsolrefine.viz import sheets

METHOD = pytest.mark.parametrize("method", THRESHOLDS)
IMAGES = images()
ONE = IMAGES[:1]


def find(batch=IMAGES, top=1, **options):
    return Localizer(build(), preprocess=Preprocess((SIDE, SIDE)), **options)(batch, top=top)


def same(found, other):
    assert_close(tensors(found), tensors(other), rtol=0, atol=0)


@METHOD
def test_at_is_a_localizer_with_that_threshold(method):
    found = find(top=2, refine=method)
    for threshold in (0, 0.2, 0.5, 0.99):
        for parts in ("largest", "all", "instances"):
            other = found.at(threshold, parts=parts)
            same(other, find(top=2, refine=method, threshold=threshold, parts=parts))
            assert (other.threshold, other.parts) == (threshold, parts)
    same(found.at(0.9).at(found.threshold), found)
    assert find(parts="all").at(0.2).parts == "all"


def test_at_keeps_the_size_and_everything_else():
    localizer = Localizer(build(), preprocess=Preprocess((SIDE, SIDE)), class_names=["a"] * 10)
    for found in (localizer(IMAGES, size=(33, 21)), localizer(photograph(40, 90))):
        other = found.at(0.2)
        assert other.masks.shape == found.maps.shape
        assert other.maps is found.maps
        assert (other.class_names, other.images) == (found.class_names, found.images)
    with pytest.raises(ValueError, match=r"^parts: expected .*'all' or 'instances', got 'none'"):
        found.at(0.2, parts="none")


@given(seed=SEEDS, threshold=st.integers(0, 98).map(lambda percent: percent / 100))
def test_masks_shrink_as_the_threshold_grows(seed, threshold):
    found = find(images(2, seed=seed), top=2, parts="all")
    low, high = found.at(threshold), found.at(threshold + 0.01)
    assert not (high.masks & ~low.masks).any()
    assert torch.equal(low.masks, low.maps > threshold)


@METHOD
@pytest.mark.parametrize("size", [None, (17, 90), (1, 1)])
def test_the_coarse_maps_enlarged_are_the_maps(method, size):
    localizer = Localizer(build(), refine=method)
    found = localizer(IMAGES, top=2, size=size)
    assert torch.equal(found.maps, enlarged(found.coarse, size or (SIDE, SIDE)))


def test_edges_have_no_boxes():
    found = dataclasses.replace(find(), regions=False)
    assert not found.at(0.1).boxes.any()
    assert found.at(0.1).masks.any()


@pytest.mark.parametrize("number", [0, 1, 3])
def test_the_number_of_images(number):
    assert len(find(images(3)[:number])) == number


def test_the_text_is_short():
    text = repr(find(images(3), top=2))
    assert text == (
        "Localization(labels=(3, 2), scores=(3, 2), maps=(3, 2, 64, 64), masks=(3, 2, 64, 64), "
        "boxes=(3, 2, 4), coarse=(3, 2, 64, 64), logits=(3, 10), threshold=0.42, "
        "parts='largest', method='balanced')"
    )
    named = Localizer(build(), class_names=["a long name"] * 10)
    assert repr(named(images(3), top=2)) == text


def test_it_cannot_be_assigned_to_and_compares_by_identity():
    found, other = find(), find()
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.threshold = 0.1
    assert found == found
    assert found != other
    assert [other, found].index(found) == 1
    assert len({found, other, found}) == 2
    assert len({dataclasses.replace(find(), class_names=["a"])}) == 1


def test_to_moves_the_images_too():
    found = find()
    moved = found.to("meta")
    assert {value.device.type for value in tensors(moved).values()} == {"meta"}
    assert moved.images.device.type == "meta"
    assert found.images is IMAGES
    image = photograph(20, 10)
    assert find(image).to("meta").images is image
    same(found.to(torch.device("cpu")), found)


def test_copies():
    found = find(photograph(20, 10))
    other = copy.deepcopy(found)
    same(other, found)
    assert other.images is not found.images
    buffer = io.BytesIO()
    torch.save(found, buffer)
    buffer.seek(0)
    same(torch.load(buffer, weights_only=False).at(0.1), found.at(0.1))


# The picture --------------------------------------------------------------------------------------


@pytest.fixture
def drawn(monkeypatch):
    """Keep what would be drawn: rows, titles and captions."""
    kept = []
    monkeypatch.setattr(
        sheets,
        "draw_sheet",
        lambda rows, titles, *, captions, **_: kept.append((rows, titles, captions)),
    )
    return kept


ODD = {
    "batch": lambda: find(ONE),
    "size": lambda: find(ONE, top=2).at(0.1),
    "photograph": lambda: find(photograph(50, 30)),
    "one pixel": lambda: find(photograph(1, 1)),
    "thin": lambda: find(photograph(300, 1)),
    "rgba": lambda: find(photograph(50, 30, mode="RGBA")),
    "no images": lambda: dataclasses.replace(find(ONE), images=None),
    "not finite": lambda: find(torch.full((1, 3, SIDE, SIDE), float("nan"))),
    "edges": lambda: dataclasses.replace(find(ONE), regions=False),
    "half": lambda: Localizer(build().bfloat16())(ONE.bfloat16()),
    "double": lambda: Localizer(build().double())(ONE.double()),
    "gradient": lambda: find(ONE.clone().requires_grad_()),
    "other size": lambda: Localizer(build())(ONE, size=(30, 90)),
    "out of range": lambda: find(ONE, refine=lambda cam, *_: 9 * cam - 4),
    "maps not finite": lambda: find(ONE, refine=lambda cam, *_: cam * float("nan")),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", ODD)
def test_everything_found_can_be_drawn(case):
    assert len(ODD[case]().plot().axes) >= 4


@pytest.mark.parametrize("case", ["size", "photograph", "one pixel"])
def test_a_notebook_shows_a_png(case):
    png = ODD[case]()._repr_png_()
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 50


def test_a_figure_has_four_images_a_row():
    from matplotlib.figure import Figure

    figure = find(top=3).plot()
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 2 * 3 * 4


def test_the_columns(drawn):
    find(top=3).plot()
    ((rows, titles, _),) = drawn
    assert titles == ("image", "heatmap (balanced)", "mask (> 0.42)", "box")
    assert {np.shape(cell) for row in rows for cell in row} == {(SIDE, SIDE, 3)}


def test_the_picture_shows_the_photograph_its_mask_and_its_box(drawn):
    image = photograph(50, 30)
    found = find(image, threshold=0.2)
    found.plot()
    (((pixels, _, cut_out, boxed),),) = [rows for rows, *_ in drawn]
    np.testing.assert_array_equal(pixels, image)
    mask = found.masks[0, 0].numpy()
    assert 0 < mask.sum() < mask.size
    np.testing.assert_array_equal(np.asarray(cut_out)[mask], np.asarray(image)[mask])
    assert (np.asarray(cut_out)[~mask] >= 191).all()
    changed = (np.asarray(boxed) != np.asarray(image)).any(2).nonzero()
    x0, y0, x1, y1 = found.boxes[0, 0].int().tolist()
    assert changed[0].min() >= y0 - 1
    assert changed[0].max() <= y1
    assert changed[1].min() >= x0 - 1
    assert changed[1].max() <= x1


def test_tensors_are_shown_in_their_colors(drawn):
    found = find()
    found.plot()
    for i, row in enumerate(drawn[0][0]):
        low, high = IMAGES[i].min(), IMAGES[i].max()
        colors = ((IMAGES[i] - low) / (high - low) * 255).round().byte()
        np.testing.assert_array_equal(row[0], colors.permute(1, 2, 0))


def test_only_the_rows_that_are_shown_are_drawn(drawn, monkeypatch):
    made, real = [], Localization._row
    monkeypatch.setattr(Localization, "_row", lambda *a: made.append(1) or real(*a))
    find(images(7), top=3).plot()
    find(images(ROWS + 1)).plot()
    find(images(1), top=10).plot()
    assert [len(rows) for rows, *_ in drawn] == [ROWS, ROWS, 10]
    assert len(made) == 2 * ROWS + 10


@pytest.mark.parametrize("names", [None, ["cat, tabby", "$dog_"] * 5, ["cat"] * 10])
def test_captions_name_the_classes(drawn, names):
    labels = torch.tensor([[0, 1, 9]])
    found = Localizer(build(), class_names=names)(images(1), labels)
    found.plot()
    ((_, _, captions),) = drawn
    known = [name.split(",")[0] for name in names or []]
    expected = [known[n] if n < len(known) else str(n) for n in (0, 1, 9)]
    scores = [f"{score:.0%}" for score in found.scores[0].tolist()]
    assert captions == [f"{n}, {s}" for n, s in zip(expected, scores, strict=True)]


def test_other_images_are_drawn_instead(drawn):
    found = find(images(2))
    array = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    given = [photograph(SIDE, SIDE), array]
    found.plot(given)
    found.plot(given, index=1)
    found.plot(torch.from_numpy(array).permute(2, 0, 1)[None].float().repeat(2, 1, 1, 1), index=0)
    (two, _, _), (one, _, names), (tensor, _, _) = drawn
    np.testing.assert_array_equal(two[0][0], np.asarray(given[0]))
    for rows in (two[1:], one, tensor):
        assert len(rows) == 1
        np.testing.assert_array_equal(rows[0][0], array)
    assert names == [f"{int(found.labels[1, 0])}, {found.scores[1, 0]:.0%}"]
    np.testing.assert_array_equal(one[0][3], two[1][3])


def test_other_images_have_any_size_and_mode(drawn):
    find(images(2)).plot([photograph(9, 200, mode="RGBA"), np.zeros((500, 3, 3), np.uint8)])
    ((rows, *_),) = drawn
    assert {np.shape(cell) for row in rows for cell in row} == {(SIDE, SIDE, 3)}


def test_one_image_is_drawn_larger():
    found = find(top=2)
    sheet, alone = found.plot(), found.plot(index=1)
    assert len(alone.axes) == 2 * 4
    assert alone.get_figwidth() > 1.5 * sheet.get_figwidth()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"images": IMAGES[:1]}, ValueError, "images: expected 3 as there are results, got 1"),
        (
            {"images": photograph(9, 9)},
            ValueError,
            "images: expected 3 as there are results, got 1",
        ),
        ({"images": []}, ValueError, "images: expected 3 as there are results, got 0"),
        ({"images": IMAGES[0]}, ValueError, "images: expected shape (B, 3, H, W), got"),
        ({"images": "a.png"}, TypeError, "images: expected a tensor, a PIL image or a list of"),
        ({"images": [IMAGES[0]] * 3}, TypeError, "image: expected dtype uint8, got float32"),
        ({"index": 3}, ValueError, "index: expected an integer from 0 to 2, got 3"),
        ({"index": -1}, ValueError, "index: expected an integer from 0 to 2, got -1"),
        ({"index": 0.0}, TypeError, "index: expected an integer"),
    ],
)
def test_images_that_cannot_be_drawn_on(arguments, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        find(images(3)).plot(**arguments)


def pictures_in(text):
    """Return the pixels of the pictures of a table."""
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in found]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", ODD)
def test_a_notebook_shows_a_table(case):
    found = ODD[case]()
    text = found._repr_html_()
    rows = found.labels.numel()
    assert len(pictures_in(text)) == 2 * rows
    assert text.count("<tr>") == 1 + rows
    assert max(max(picture.shape) for picture in pictures_in(text)) <= 160


def test_the_table_shows_outline_box_class_and_score():
    names = [f"<script>{n}</script>, other" for n in range(10)]
    found = Localizer(build(), class_names=names, threshold=0.3)(ONE)
    text = found._repr_html_()
    lined, heat = pictures_in(text)
    assert "<script>" not in text
    label, box = int(found.labels), found.boxes[0, 0]
    assert f">&lt;script&gt;{label}&lt;/script&gt;</td>" in text
    assert f">{found.scores.item():.0%}</td>" in text
    assert f">{' '.join(f'{v:.0f}' for v in box.tolist())}</td>" in text
    line = outline(found.masks[0].int())[0].numpy()
    cyan = (lined == (0, 255, 255)).all(2)
    assert cyan.any()
    assert (cyan <= line).all()  # the box may cover a part of it
    assert not (heat == lined).all()


def test_a_large_result_has_a_short_table():
    text = find(images(ROWS + 3))._repr_html_()
    assert text.count("<tr>") == 1 + ROWS
    assert "and 3 more" in text
    large = find(photograph(600, 300), parts="instances")
    assert {picture.shape for picture in pictures_in(large._repr_html_())} == {(80, 160, 3)}
    boxes = large.instances[0][0].boxes
    assert large._repr_html_().count(";") > len(boxes)


def test_nothing_found_is_shown_as_text():
    found = find(IMAGES[:0])
    assert found._repr_png_() is None
    assert found._repr_html_() is None
    with pytest.raises(ValueError, match=r"^rows: expected at least one"):
        found.plot()


@pytest.mark.parametrize("missing", ["matplotlib", "PIL"])
def test_without_matplotlib_or_pillow_it_is_shown_as_text(monkeypatch, missing):
    found = find()
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, missing, None)
    for name in [name for name in sys.modules if name.startswith("wsolrefine.viz")]:
        monkeypatch.delitem(sys.modules, name)
    assert found._repr_png_() is None
    assert found._repr_html_() is None
    with pytest.raises(ImportError):
        found.plot()


def test_the_boxes_are_those_of_the_masks():
    found = find(images(3, seed=4), top=3)
    masks = objects_of(found.coarse, (SIDE, SIDE), found.threshold, found.parts) > 0
    assert torch.equal(masks, found.masks)
    assert torch.equal(union_box(masks), found.boxes)
