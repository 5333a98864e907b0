"""``report``: what is in the page, and in a browser how it behaves, with the numbers of Python."""

import itertools
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.command import run_command
from tests.support.strategies import generator
from wsolrefine import box_iou, instance_labels, union_box
from wsolrefine.cli.refine.coco import Results, annotation, file_identity
from wsolrefine.cli.refine.png import gray_png
from wsolrefine.cli.report.agreement import mean_iou
from wsolrefine.cli.report.assets import packed_map
from wsolrefine.cli.report.content import script_json
from wsolrefine.localization.masks import enlarge, mask_size, objects_of
from wsolrefine.scale.parts import write_part
from wsolrefine.scale.plan import Facts
from wsolrefine.scale.record import Record, write_record
from wsolrefine.scale.rows import map_columns, mask_columns, mask_of, schema
from wsolrefine.scale.store import Store

ODD = "<script>alert(1)<"  # and "/script>" below a folder: a name has no slash
IMAGES = {
    f"{ODD}/script>.png": (0, 0.9, (37, 53)),
    "b & 'b' \"é\".png": (1, 0.5, (60, 40)),
    "large.png": (0, 0.7, (1300, 1100)),
    "wide.png": (2, None, (30, 90)),  # without a box
}
"""Name of each image: its class, score, (height, width)."""

CLASSES = ["</script><b>cat</b>, tabby", "dog", "wren", "none"]
SETTINGS = {"model": "m", "method": "scg", "layers": "auto", "threshold": 0.6, "classes": "top1",
            "parts": "largest", "write": ["maps"], "overlay_size": 1024}  # fmt: skip


def levels_of(name, size, seed=0, cells=6):
    """Make a map with several components, in steps of 1/255."""
    coarse = torch.rand(1, 1, cells, cells + 1, generator=generator(seed + len(name)))
    if size is None:
        return (coarse[0, 0] * 255).round().byte().numpy()
    smooth = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    return (smooth[0, 0] * 255).round().byte().numpy()


def stored_box(levels, size, threshold, parts="largest"):
    """Return the box of a stored map as the page writes it, and the pixels of its mask."""
    found = mask_of(torch.from_numpy(levels).float() / 255, size, threshold, parts)
    if found is None:
        return "no box", 0
    return " ".join(f"{value:.0f}" for value in found.box), found.area


def stored_boxes(levels, size, threshold):
    """Return the boxes of the instances of a stored map as the page writes them, and all pixels."""
    objects = objects_of(
        torch.from_numpy(levels)[None, None].float() / 255, size, threshold, "instances"
    )
    masks = [objects[0, 0] == number for number in range(1, int(objects.max()) + 1)]
    boxes = [" ".join(f"{v:.0f}" for v in union_box(mask[None])[0].tolist()) for mask in masks]
    return "; ".join(boxes) or "no box", int((objects > 0).sum())


def save_results(folder, photographs, *, seed=0, **settings):
    """Write a folder as ``refine`` does; return the maps by name."""
    folder.mkdir(parents=True)
    results, maps = Results(folder, SETTINGS | settings), {}
    results.categories, results.model = dict(enumerate(CLASSES)), "0" * 64
    records = []
    for name, (label, score, size) in IMAGES.items():
        maps[name] = levels_of(name, size, seed)
        file = f"maps/{name.removesuffix('.png')}.png"
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(gray_png(maps[name]))
        threshold, parts = results.settings["threshold"], results.settings["parts"]
        found = mask_of(torch.from_numpy(maps[name]).float() / 255, size, threshold, parts)
        entries = []
        if score is not None:
            x0, y0, x1, y1 = found.box
            box = np.zeros(size, bool)
            box[int(y0) : int(y1), int(x0) : int(x1)] = True
            entries = [annotation(box, size, label, score) | {"map": file, "area": found.area}]
        path = photographs / name
        records.append({
            "file_name": name, "width": size[1], "height": size[0],
            **file_identity(path, folder), "files": [file], "annotations": entries,
        })  # fmt: skip
    results.add(records)
    results.write()
    return maps


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Photographs, two folders of results of them, and the report of both."""
    root = tmp_path_factory.mktemp("report")
    for name, (label, _, (height, width)) in IMAGES.items():
        path = root / "photographs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (width, height), ("red", "green", "blue")[label]).save(path)
    maps = [
        save_results(root / "one", root / "photographs"),
        save_results(
            root / "two", root / "photographs", seed=5, method="cam", parts="all", threshold=0.5
        ),
    ]
    run_command("report", root / "one", "--out", root / "one.html")
    run_command("report", root / "one", root / "two", "--out", root / "both.html")
    run_command("report", root / "one", root / "two", "--folder", "--out", root / "beside")
    return root, maps


def open_large(page, name):
    page.fill("#name", name)
    page.click(".card")
    arrived(page)


def arrived(page):
    page.wait_for_selector("#stage:not([aria-busy])")


def names(page):
    return page.eval_on_selector_all(".card .text > :last-child", "all => all.map(e => e.title)")


# The numbers of the browser ------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["both.html", "beside/index.html"])
def test_the_box_at_any_threshold_is_that_of_python(folders, visit, file):
    root, maps = folders
    page = visit(root / file)
    several = 0
    for name, (_, _, size) in IMAGES.items():
        open_large(page, name)
        for run, parts in ((0, "largest"), (1, "all"), (1, "instances")):
            page.select_option("#run", str(run))
            arrived(page)
            page.select_option("#parts", parts)
            # 0.2, 0.4, 0.6 and 0.8 are levels of maps: neither above nor below.
            for threshold in (0, 0.2, 0.333, 0.4, 0.6, 0.725, 0.95):
                page.fill("#threshold", str(threshold))
                if parts == "instances":
                    box, area = stored_boxes(maps[run][name], size, threshold)
                    several += box.count(";")
                else:
                    box, area = stored_box(maps[run][name], size, threshold, parts)
                assert page.text_content("#box") == box, (name, run, threshold)
                share = float(re.match(r"[\d.]+", page.text_content("#area"))[0])
                assert share == pytest.approx(100 * area / (size[0] * size[1]), abs=0.51)
        page.press("body", "Escape")
    assert several  # one map at least has instances


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() == "DEFAULT",
    reason="without an instruction for a product and a sum torch rounds twice, and the page once",
)
@pytest.mark.parametrize(
    "size", [(6, 7), (7, 6), (40, 33), (64, 64), (65, 64), (55, 101), (3, 2), (4, 200)]
)
def test_maps_are_enlarged_as_torch_does(folders, visit, size):
    page = visit(folders[0] / "one.html")
    for cells in ((6, 7), (1, 1), (2, 9), (28, 28), (61, 47)):
        levels = np.random.default_rng(cells[0]).integers(0, 256, cells).astype(np.uint8)
        found = page.evaluate(
            "([levels, given, size]) => [...Rule.enlarge(() => levels, ...given, size)]",
            [needed(levels, size).ravel().tolist(), cells, size],
        )
        expected = enlarge(torch.from_numpy(levels)[None, None].float() / 255, size)[0, 0]
        assert torch.equal(torch.tensor(found).reshape(size), expected), cells


def needed(levels, size):
    """Undo what ``packed_map`` does: the rows and columns that the page gets."""
    import zlib

    from wsolrefine.cli.report.assets import used

    shape = [len(used(*pair)) for pair in zip(levels.shape, size, strict=True)]
    packed = np.frombuffer(zlib.decompress(packed_map(levels, size)), np.uint8).reshape(shape)
    return packed.cumsum(0, dtype=np.uint8).cumsum(1, dtype=np.uint8)


@pytest.mark.parametrize("size", [(6, 7), (24, 28), (13, 11), (3, 2)])
def test_a_packed_map_has_what_is_looked_at(size):
    levels = levels_of("a", (12, 14))
    changed = levels.copy()
    unpacked = needed(levels, size)
    assert set(np.unique(unpacked)) <= set(np.unique(levels))
    if size == (24, 28):
        assert (unpacked == levels).all()
    if size == (3, 2):  # every fourth pixel, between two: the others do not matter
        changed[0] = changed[3] = 0
        old, new = (
            enlarge(torch.from_numpy(x)[None, None].float(), size) for x in (levels, changed)
        )
        assert torch.equal(old, new)
        assert (needed(changed, size) == unpacked).all()


def test_components_and_ties(folders, visit):
    page = visit(folders[0] / "one.html")
    rule = "([mask, h, w]) => [...Rule.largest(Uint8Array.from(mask), h, w)]"
    rng = np.random.default_rng(0)
    for shape in ((1, 9), (8, 8), (13, 7)):
        for share in (0, 0.2, 0.4, 0.7, 1):
            mask = rng.random(shape) < share
            found = np.array(page.evaluate(rule, [mask.ravel().astype(int).tolist(), *shape]))
            from wsolrefine.functional.components import largest_component

            expected = largest_component(torch.from_numpy(mask)[None])[0].numpy()
            assert (found.reshape(shape) == expected).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (8, 8), (13, 7), (40, 51)])
def test_instances_are_those_of_python(folders, visit, shape):
    page = visit(folders[0] / "one.html")
    rule = "([values, t, h, w]) => [...Instances.label(Float32Array.from(values), t, h, w)]"
    most = 0
    for seed, levels in itertools.product(range(3), (2, 5, 20, 255)):  # few levels: plateaus
        cells = torch.rand(1, 1, 4, 5, generator=generator(seed))
        smooth = torch.nn.functional.interpolate(cells, shape, mode="bilinear")[0]
        noise = torch.rand(shape, generator=generator(seed + 9))
        for values in (smooth, noise[None], (smooth + 0.2 * noise).clamp(0, 1)):
            values = (values * levels).round() / levels
            for threshold in (0, 0.2, 0.5, 0.8):
                expected = instance_labels(values, threshold=threshold)[0]
                found = page.evaluate(rule, [values.flatten().tolist(), threshold, *shape])
                assert torch.equal(torch.tensor(found).reshape(shape), expected), (seed, levels)
                most = max(most, int(expected.max()))
    assert most > 1 or shape == (1, 1)


def test_each_instance_is_drawn(folders, visit):
    root, maps = folders
    page = visit(root / "one.html")
    name = "b & 'b' \"é\".png"
    open_large(page, name)
    page.select_option("#parts", "instances")
    for threshold in (0.3, 0.6):
        page.fill("#threshold", str(threshold))
        boxes, _ = stored_boxes(maps[0][name], IMAGES[name][2], threshold)
        shown = page.locator("#stage rect.line")
        found = [
            [float(shown.nth(i).get_attribute(side)) for side in ("x", "y", "width", "height")]
            for i in range(shown.count())
        ]
        corners = [f"{x:.0f} {y:.0f} {x + w:.0f} {y + h:.0f}" for x, y, w, h in found]
        assert "; ".join(corners) == boxes


def test_the_slider_and_the_keys_move_the_threshold(folders, visit):
    root, maps = folders
    page = visit(root / "one.html")
    open_large(page, "large")
    size = IMAGES["large.png"][2]
    assert page.input_value("#threshold") == "0.6"
    page.focus("#slider")
    page.keyboard.press("ArrowRight")
    assert page.input_value("#threshold") == "0.601"
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.keyboard.press("-")
    assert page.input_value("#threshold") == page.input_value("#slider") == "0.611"
    assert page.text_content("#box") == stored_box(maps[0]["large.png"], size, 0.611)[0]
    page.click("#reset")
    assert page.text_content("#box") == stored_box(maps[0]["large.png"], size, 0.6)[0]
    assert page.text_content("#box") in page.text_content("#stored")
    for text in ("", "7", "-3"):  # the number is taken into its range
        page.fill("#threshold", text)
        at = {"7": 0.999}.get(text, 0)
        assert page.text_content("#box") == stored_box(maps[0]["large.png"], size, at)[0]


def test_the_mask_is_drawn(folders, visit):
    root, maps = folders
    page = visit(root / "one.html")
    name = "b & 'b' \"é\".png"
    open_large(page, name)
    size = IMAGES[name][2]
    clear = """() => { const c = document.getElementById('mask');
      return [c.height, c.width, c.getContext('2d').getImageData(0, 0, c.width, c.height)
        .data.filter((value, i) => i % 4 === 3 && value === 0).length]; }"""
    for threshold in (0.3, 0.6):
        page.fill("#threshold", str(threshold))
        assert page.evaluate(clear) == [*size, stored_box(maps[0][name], size, threshold)[1]]
    page.keyboard.press("Escape")
    page.click(".card")
    page.focus("#close")
    for key, shown in (("m", "#mask"), ("h", "#heat")):
        before = page.is_visible(shown)
        page.keyboard.press(key)
        assert page.is_visible(shown) is not before
    assert page.locator("#stage rect.line").count() == 1
    page.keyboard.press("b")
    assert page.locator("#stage rect.line").count() == 0
    page.keyboard.press("o")
    assert page.locator("#stage rect.stored").count() == 1


# The page ------------------------------------------------------------------------------------------


def test_sorting_and_filters(folders, visit):
    root, maps = folders
    page = visit(root / "both.html")
    by_score = sorted(IMAGES, key=lambda name: -(IMAGES[name][1] or -1))
    assert names(page) == by_score  # the unknown one last
    page.click("#order")
    known = [name for name in by_score if IMAGES[name][1]]
    assert names(page) == [*known[::-1], "wide.png"]
    page.click("#order")
    page.select_option("#sort", "name")
    assert names(page) == sorted(IMAGES, reverse=True)

    def share(name):
        return stored_box(maps[0][name], IMAGES[name][2], 0.6)[1] / np.prod(IMAGES[name][2])

    page.select_option("#sort", "mask")
    assert names(page) == [*sorted(known, key=share, reverse=True), "wide.png"]

    def agreement(name):
        both = [stored_box(maps[run][name], IMAGES[name][2], *choice)[0]
                for run, choice in enumerate([(0.6, "largest"), (0.5, "all")])]  # fmt: skip
        one, other = (torch.tensor([[float(v) for v in box.split()]]) for box in both)
        return box_iou(one, other).item()

    page.select_option("#sort", "agreement")
    *some, last = names(page)
    assert last == "wide.png"
    values = [agreement(name) for name in some]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) > 1
    page.select_option("#class", label="dog")
    assert names(page) == ["b & 'b' \"é\".png"]
    assert page.text_content("#count") == "1 of 4"
    page.select_option("#class", "")
    page.fill("#name", "LARGE")
    assert names(page) == ["large.png"]
    page.fill("#name", "nothing of this name")
    assert names(page) == []


def test_names_are_text(folders, visit):
    root, _ = folders
    page = visit(root / "both.html")  # an alert, or a request, would fail
    assert f"{ODD}/script>.png" in names(page)
    assert "</script><b>cat</b>" in page.locator("#class option").all_text_contents()
    assert page.locator("#grid b, #classes b, #grid script").count() == 0
    open_large(page, ODD)
    assert page.text_content("#large-title") == f"{ODD}/script>.png"
    assert page.get_attribute("#photograph", "alt").startswith(
        f"{ODD}/script>.png: </script><b>cat"
    )
    text = (root / "both.html").read_text("utf-8")
    assert "<script>alert" not in text
    assert "<b>cat" not in text


def test_a_title_is_text(folders, visit):
    root, _ = folders
    title = "</title><script>alert(2)</script>@CODE@ & more"
    run_command("report", root / "one", "--title", title, "--out", root / "title.html")
    page = visit(root / "title.html")
    assert page.title() == page.text_content("h1") == title


def test_the_keyboard_alone(folders, visit):
    page = visit(folders[0] / "one.html")
    order = names(page)
    page.focus(".card")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    arrived(page)
    assert page.text_content("#large-title") == order[1]
    page.focus("#close")
    page.keyboard.press("ArrowRight")
    arrived(page)
    assert page.text_content("#large-title") == order[2]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")  # there is no more
    arrived(page)
    assert page.text_content("#large-title") == order[3]
    assert page.is_disabled("#next")
    page.keyboard.press("Escape")
    assert not page.is_visible("#large")
    page.wait_for_selector(f'.card:focus [title="{order[3]}"]')


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_small_screen(folders, visit, scheme):
    page = visit(folders[0] / "both.html", 390, 844, color_scheme=scheme)
    wide = "document.documentElement.scrollWidth"
    page.click("#classes summary")
    assert page.evaluate(wide) <= 390
    page.click(".card >> nth=0")
    arrived(page)
    assert page.evaluate("document.getElementById('large').scrollWidth") <= 390
    for part in ("#stage", "#slider", "#box"):
        box = page.locator(part).bounding_box()
        assert 0 <= box["x"] < box["x"] + box["width"] <= 390
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert light == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]


def test_every_control_has_a_name_and_every_image_a_text(folders, visit):
    page = visit(folders[0] / "both.html")
    texts = page.eval_on_selector_all("#grid img", "all => all.map(e => e.alt)")
    assert any(text.startswith("large.png: </script><b>cat</b>, score 70") for text in texts)
    assert "wide.png: no box, box no box" in texts
    page.click(".card")
    unnamed = """all => all.filter(e => !(e.labels && e.labels.length) && !e.ariaLabel
      && !e.textContent.trim()).map(e => e.id)"""
    assert page.eval_on_selector_all("button, input, select", unnamed) == []


def test_the_table_of_classes(folders, visit):
    page = visit(folders[0] / "both.html")
    page.click("#classes summary")
    rows = page.locator("#classes tbody tr").all()
    cells = [row.locator("td").all_text_contents() for row in rows]
    assert ["</script><b>cat</b>", "one", "2", "0", "80\u202f%"] in [row[:5] for row in cells]
    assert ["no box", "two", "1", "1", ""] in [row[:5] for row in cells]
    page.click("#classes td button >> text=dog")
    assert names(page) == ["b & 'b' \"é\".png"]


def test_more_cards_come_while_the_reader_moves_down(tmp_path, visit):
    for number in range(130):
        Image.new("RGB", (9, 9)).save(tmp_path / f"{number:03d}.png")
    results = Results(tmp_path / "many", SETTINGS)
    results.out.mkdir()
    results.add([
        {"file_name": path.name, "width": 9, "height": 9, **file_identity(path, results.out),
         "files": [], "annotations": []}
        for path in sorted(tmp_path.glob("*.png"))
    ])  # fmt: skip
    results.write()
    run_command("report", results.out, "--out", tmp_path / "many.html", "--limit", 125)
    page = visit(tmp_path / "many.html")
    assert page.text_content("#count") == "125 of 125"
    assert len(names(page)) < 125
    while len(names(page)) < 125:
        page.keyboard.press("End")
        page.wait_for_timeout(20)
    page.click(".card >> nth=0")
    assert page.is_visible("#no-map")
    assert not page.is_visible("#slider")


# What is read, and what is refused -----------------------------------------------------------------


@pytest.fixture
def labels(tmp_path, folders):
    """A folder of ``label``: maps of 6 x 7 cells."""
    root, _ = folders
    store = Store(tmp_path / "labels")
    settings = {"method": "balanced", "threshold": 0.42, "parts": "largest", "maps": True}
    rows = []
    for name, (label, score, size) in IMAGES.items():
        levels = levels_of(name, None)
        map = torch.from_numpy(levels).float() / 255
        rows.append({
            "id": name, "path": str(root / "photographs" / name), "width": size[1],
            "height": size[0], "label": label, "class_name": CLASSES[label], "score": score or 0.1,
            **map_columns(map), **mask_columns(mask_of(map, size, 0.42, "largest")),
        })  # fmt: skip
    rows.append({"id": "broken", "path": "broken.png", "error": "truncated"})
    pa = pytest.importorskip("pyarrow")
    table = pa.Table.from_pylist(rows, schema(numbered=False, maps=True))
    write_part(store, 0, table, len(rows), 1)
    write_record(store, Record(settings, "0" * 64, Facts("files", 1, len(rows), False, None), "1"))
    return tmp_path / "labels"


def test_labels(labels, tmp_path, visit):
    run_command("report", labels, "--out", tmp_path / "labels.html")
    page = visit(tmp_path / "labels.html")
    assert page.text_content("#count") == "4 of 4"
    for name, (_, _, size) in IMAGES.items():
        open_large(page, name.rpartition("/")[2])
        assert page.text_content("#box") in page.text_content("#stored")
        for threshold in (0.2, 0.3, 0.42, 0.5, 0.6, 0.71):
            page.fill("#threshold", str(threshold))
            expected = stored_box(levels_of(name, None), size, threshold)[0]
            assert page.text_content("#box") == expected, (name, threshold)
        page.press("body", "Escape")


def test_a_killed_run_of_labels_is_shown_as_far_as_it_came(labels, tmp_path):
    record = json.loads((labels / "label.json").read_text())
    record["source"]["parts"] = 2
    (labels / "label.json").write_text(json.dumps(record))
    assert "4 images" in run_command("report", labels, "--out", tmp_path / "labels.html")


CURVES = {
    "protocol": {"data set": "cub", "split": "test", "images": "2 images"},
    "results": {
        "box_acc": {"accuracy": 0.75, "threshold": 0.5},
        "box_acc_v2": {"accuracy": 0.5, "by_iou": [{"iou": 0.3, "threshold": 0.0}]},
        "localization": {"top1": 0.25},
        "px_ap": 0.625,
        "peak_iou": {"iou": 0.5, "threshold": 1},
    },
    "curves": {
        "thresholds": [0.0, 0.5, 0.9],
        "box_acc": [0.5, 0.75, 0.25],
        "box_acc_v2": {"0.3": [1.0, 0.5, 0.25]},
        "iou_by_level": [0.25, 0.5, 0.125],
        "precision": [1.0, 0.5],
        "recall": [0.0, 1.0],
    },
}


def test_the_curves_of_an_evaluation(folders, tmp_path, visit):
    root, _ = folders
    (tmp_path / "evaluation.json").write_text(json.dumps(CURVES))
    for given in (tmp_path, tmp_path / "evaluation.json"):
        run_command("report", root / "one", "--evaluation", given, "--out", tmp_path / "a.html")
        page = visit(tmp_path / "a.html")
        page.click("#evaluation summary")
        assert page.locator("#charts figcaption").all_text_contents() == [
            "Box accuracy",
            "IoU of all pixels",
            "Precision and recall",
        ]
        texts = page.locator("#numbers").text_content()
        assert "MaxBoxAcc (IoU 0.5)75.0" in texts
        assert "Top-1 Loc25.0" in texts
        label = page.locator("#charts svg").first.get_attribute("aria-label")
        assert label == "Box accuracy. one box, IoU 0.5: 75 at 0.5; any box, IoU 0.3: 100 at 0"
        path = page.locator("#charts path").first.get_attribute("d")
        assert path == "M40.0 125.0L273.3 67.5L460.0 182.5"


def test_an_evaluation_beside_the_results_is_found(folders, tmp_path, visit):
    root, _ = folders
    save_results(tmp_path / "one", root / "photographs")
    (tmp_path / "one/evaluation.json").write_text(json.dumps(CURVES))
    run_command("report", tmp_path / "one", "--out", tmp_path / "a.html")
    assert visit(tmp_path / "a.html").is_visible("#evaluation")
    assert not visit(root / "one.html").is_visible("#evaluation")


def test_an_image_that_has_gone_is_shown_as_its_heatmap(tmp_path, visit):
    for name, (_, _, (height, width)) in IMAGES.items():
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (width, height)).save(tmp_path / "p" / name)
    maps = save_results(tmp_path / "one", tmp_path / "p")
    (tmp_path / "p/large.png").unlink()
    Image.new("RGB", (91, 30)).save(tmp_path / "p/wide.png")  # of another size
    (tmp_path / "one/maps/b & 'b' \"é\".png").unlink()
    said = run_command("report", tmp_path / "one", "--out", tmp_path / "a.html", code=1)
    assert "3 could not be used" in said
    page = visit(tmp_path / "a.html")
    open_large(page, "large")
    assert "not found" in page.text_content("#size")
    colors = page.evaluate("""() => { const c = document.createElement('canvas'), i = document.getElementById('photograph');
      c.getContext('2d').drawImage(i, 0, 0);
      return new Set(c.getContext('2d').getImageData(0, 0, 100, 100).data).size; }""")
    assert colors > 20
    assert page.text_content("#box") == stored_box(maps["large.png"], (1300, 1100), 0.6)[0]
    page.press("body", "Escape")
    open_large(page, "b &")
    assert page.is_visible("#no-map")


def test_classes_of_one_image_and_objects_of_one_class(tmp_path, visit):
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    results = Results(tmp_path / "one", SETTINGS | {"classes": "top2", "parts": "instances"})
    (results.out / "maps").mkdir(parents=True)
    results.categories = dict(enumerate(CLASSES))
    files, entries = [f"maps/a.{label}.png" for label in (1, 2)], []
    for file in files:
        (results.out / file).write_bytes(gray_png(levels_of("a", (10, 20))))
    for column, score in ((0, 0.75), (10, 0.5)):
        mask = np.zeros((10, 20), bool)
        mask[2:5, column : column + 4] = True
        entries.append(annotation(mask, (10, 20), 1, score) | {"map": files[0]})
    results.add([{"file_name": "a.png", "width": 20, "height": 10, "files": files,
                  **file_identity(tmp_path / "a.png", results.out), "annotations": entries}])  # fmt: skip
    results.write()
    run_command("report", results.out, "--out", tmp_path / "a.html")
    page = visit(tmp_path / "a.html")
    texts = page.eval_on_selector_all(
        ".card .text > :first-child", "all => all.map(e => e.textContent)"
    )
    assert texts == ["dog", "wren"]
    assert page.locator(".card >> nth=0").locator("rect.line").count() == 2
    page.click(".card >> nth=0")
    arrived(page)
    assert page.input_value("#parts") == "instances"
    assert page.text_content("#stored") == "0 2 4 5; 10 2 14 5, mask 12\u202f%"
    assert page.text_content("#class-name") == "dog, score 75\u202f%"


def test_the_users_own_files_are_kept(folders, tmp_path):
    root, _ = folders
    own = tmp_path / "page.html"
    own.write_text("mine")
    assert "an earlier report" in run_command("report", root / "one", "--out", own, code=2)
    assert own.read_text() == "mine"
    (tmp_path / "look/maps").mkdir(parents=True)
    (tmp_path / "look/maps/0-0.js").write_text("mine")
    said = run_command("report", root / "one", "--folder", "--out", tmp_path / "look", code=2)
    assert "maps/0-0.js" in said
    assert [path.name for path in (tmp_path / "look").rglob("*")] == ["maps", "0-0.js"]


def test_a_report_replaces_an_earlier_one(folders, tmp_path):
    root, _ = folders
    for out, options in ((tmp_path / "a.html", []), (tmp_path / "look", ["--folder"])):
        for limit in (4, 1):
            run_command("report", root / "one", "--out", out, "--limit", limit, *options)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {
        *("a.html", "look/index.html", "look/report.json"),
        *("look/pictures/0.jpg", "look/maps/0-0.js"),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "RESULTS: expected a folder, got missing (no such file or folder)"),
        (["photographs"], "RESULTS: expected a folder of wsolrefine refine or label, got"),
        (["one", "--out", "photographs"], "--out: expected a file, got the folder photographs"),
        (["one", "--out", "no/a.html/"], "Page: no/a.html"),
        (["one", "--out", "one.html", "--folder"], "--out: expected a folder, got the file"),
        (["one", "--evaluation", "missing"], "--evaluation: missing: No such file"),
        (["one", "--evaluation", "one/wsolrefine.json"], "expected results of wsolrefine evaluate"),
        (["one", "--evaluation", "one.html"], "--evaluation: one.html: expected JSON"),
        (["one", "--size", "3"], "Invalid value for '--size'"),
    ],
)
def test_what_is_refused(folders, monkeypatch, arguments, message):
    monkeypatch.chdir(folders[0])
    said = run_command("report", *arguments, code=0 if message.startswith("Page") else 2)
    assert message in " ".join(said.replace("│", "").split())


def test_results_of_something_else_are_refused(tmp_path):
    (tmp_path / "wsolrefine.json").write_text("{}")
    assert "RESULTS: " in run_command("report", tmp_path, "--out", tmp_path / "a.html", code=2)
    assert not (tmp_path / "a.html").exists()


def test_labels_without_maps_are_refused(tmp_path):
    facts = Facts("files", 0, 0, False, None)
    for settings, message in (
        ({"maps": False}, "made with --no-maps"),
        ({"maps": True, "recipe": "sem_edges"}, "the edges of sem_edges"),
        ({"maps": True}, "expected results of at least one image"),
    ):
        folder = tmp_path / message[:5].strip()
        settings |= {"threshold": 0.4, "parts": "all"}
        write_record(Store(folder), Record(settings, "0" * 64, facts, "1"))
        said = run_command("report", folder, "--out", tmp_path / "a.html", code=2)
        assert message in " ".join(said.split())


def test_agreement_is_the_mean_of_all_pairs():
    a, b, c = (0, 0, 2, 2), (0, 0, 2, 1), (5, 5, 6, 6)
    assert mean_iou([a]) is None
    assert mean_iou([None, None]) is None
    assert mean_iou([a, None]) == 0
    assert mean_iou([a, b]) == pytest.approx(0.5)
    assert mean_iou([a, b, c]) == pytest.approx(0.5 / 3)
    assert mean_iou([a, a, None, None]) == pytest.approx(1 / 5)


@pytest.mark.parametrize("text", ["</script>", "<!--", "]]>", "\udcff", "&lt;", "\u2028", "é"])
def test_json_in_a_script_is_read_again(text):
    written = script_json({text: text})
    assert json.loads(written) == {text: text}
    assert written.isascii()
    assert not set("<>&") & set(written)


def test_the_size_of_masks_is_that_of_python(folders, visit):
    page = visit(folders[0] / "one.html")
    found = page.evaluate("Report.content.images.map(one => [one.name, one.mask])")
    assert dict(found) == {name: [*mask_size(size)] for name, (_, _, size) in IMAGES.items()}
