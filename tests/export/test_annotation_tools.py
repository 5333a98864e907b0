"""labelme and Label Studio: against their schemas, and masks decoded again."""

import json
from urllib.parse import unquote
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.export.test_polygons import inside
from tests.support.exported import HEIGHT, MASKS, NAMES, WIDTH, files_below, records
from wsolrefine.export import write_labelme, write_labelstudio
from wsolrefine.export.brush import brush

POINTS = {
    "type": "array",
    "minItems": 2,
    "items": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
}
# What labelme's reader requires of a file: keys, kinds and the kinds of shapes.
LABELME = {
    "type": "object",
    "required": [
        "version",
        "flags",
        "shapes",
        "imagePath",
        "imageData",
        "imageHeight",
        "imageWidth",
    ],
    "additionalProperties": False,
    "properties": {
        "version": {"type": "string"},
        "flags": {"type": "object", "additionalProperties": {"type": "boolean"}},
        "imagePath": {"type": "string", "pattern": "^[^/]+$"},
        "imageData": {"type": "null"},
        "imageHeight": {"const": HEIGHT},
        "imageWidth": {"const": WIDTH},
        "shapes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["label", "points", "group_id", "shape_type", "flags", "description"],
                "additionalProperties": False,
                "properties": {
                    "label": {"type": "string"},
                    "points": POINTS,
                    "group_id": {"type": ["integer", "null"]},
                    "shape_type": {"enum": ["polygon", "rectangle"]},
                    "flags": {"type": "object"},
                    "description": {"type": "string"},
                },
            },
        },
    },
}
PERCENT = {"type": "number", "minimum": 0, "maximum": 100}
NAME = {"type": "array", "items": {"enum": [*NAMES.values()]}, "minItems": 1, "maxItems": 1}


def region(kind, name, value):
    known = {
        "id": {"type": "string"},
        "type": {"const": kind},
        "from_name": {"const": name},
        "to_name": {"const": "image"},
        "original_width": {"const": WIDTH},
        "original_height": {"const": HEIGHT},
        "image_rotation": {"const": 0},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "value": {
            "type": "object",
            "required": [*value, kind],
            "additionalProperties": False,
            "properties": {**value, kind: NAME},
        },
    }
    return {
        "type": "object",
        "required": [*known],
        "additionalProperties": False,
        "properties": known,
    }


SIDES = dict.fromkeys(("x", "y", "width", "height"), PERCENT)
BYTES = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}}
# As Label Studio documents tasks with predictions.
LABEL_STUDIO = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["data", "predictions"],
        "properties": {
            "data": {"type": "object", "required": ["image"]},
            "predictions": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["model_version", "result"],
                    "additionalProperties": False,
                    "properties": {
                        "model_version": {"type": "string"},
                        "score": {"type": "number"},
                        "result": {
                            "type": "array",
                            "items": {
                                "oneOf": [
                                    region(
                                        "rectanglelabels", "box", SIDES | {"rotation": {"const": 0}}
                                    ),
                                    region(
                                        "brushlabels",
                                        "brush",
                                        {"format": {"const": "rle"}, "rle": BYTES},
                                    ),
                                    region(
                                        "polygonlabels",
                                        "polygon",
                                        {"points": POINTS, "closed": {"const": True}},
                                    ),
                                ]
                            },
                        },
                    },
                },
            },
        },
    },
}


def test_labelme(tmp_path):
    write_labelme(records(tmp_path / "in"), tmp_path / "out", tolerance=0)
    for name, things in MASKS.items():
        content = json.loads((tmp_path / f"out/{name.rpartition('.')[0]}.json").read_text())
        jsonschema.validate(content, LABELME)
        assert content["imagePath"] == name.rpartition("/")[2]
        assert (tmp_path / "out" / name).is_file()
        shapes = content["shapes"]
        expected = [(label, mask) for label, mask, _ in things if mask.any()]
        for number, (label, mask) in enumerate(expected):
            own = [s for s in shapes if s["label"] == NAMES[label]]
            rings = [inside(np.array(shape["points"]), mask.shape) for shape in own]
            assert (np.logical_or.reduce(rings) == mask).all()
            assert {s["group_id"] for s in own} == {number if len(own) > 1 else None}
        assert {s["label"] for s in shapes} == {NAMES[label] for label, _ in expected}


def test_labelme_itself_reads_it(tmp_path):
    reader = pytest.importorskip("labelme._label_file", reason="labelme needs Qt")
    write_labelme(records(tmp_path / "in"), tmp_path / "out")
    for file in files_below(tmp_path / "out"):
        if file.endswith(".json"):
            content = json.loads((tmp_path / "out" / file).read_text())
            for shape in content["shapes"]:
                assert reader._load_shape_json_obj(shape)["label"] == shape["label"]


@pytest.mark.parametrize("shapes", ["brush", "polygon", "none"])
def test_label_studio(tmp_path, shapes):
    write_labelstudio(records(), tmp_path / "out", names=NAMES, shapes=shapes, tolerance=0)
    tasks = json.loads((tmp_path / "out/tasks.json").read_text())
    jsonschema.validate(tasks, LABEL_STUDIO)
    for task, (name, things) in zip(tasks, MASKS.items(), strict=True):
        assert unquote(task["data"]["image"]) == f"/data/local-files/?d={name}"
        (prediction,) = task["predictions"]
        things = [one for one in things if one[1].any()]
        assert prediction.get("score") == max((one[2] for one in things), default=None)
        regions = prediction["result"]
        assert len({region["id"] for region in regions}) == len(regions)
        for number, (label, mask, score) in enumerate(things):
            own = [one for one in regions if one["id"].startswith(f"object-{number}-")]
            assert {(one["score"], *one["value"][one["type"]]) for one in own} == {
                (score, NAMES[label])
            }
            box = own[0]["value"]
            rows, columns = np.nonzero(mask)
            assert box["x"] * WIDTH / 100 == pytest.approx(columns.min())
            assert (box["y"] + box["height"]) * HEIGHT / 100 == pytest.approx(rows.max() + 1)
            if shapes == "brush":
                assert (
                    unpacked(own[1]["value"]["rle"]).reshape(HEIGHT, WIDTH, 4)
                    == mask[..., None] * 255
                ).all()
            if shapes == "polygon":
                rings = [
                    np.array(one["value"]["points"]) * (WIDTH, HEIGHT) / 100 for one in own[1:]
                ]
                assert (
                    np.logical_or.reduce([inside(r.round(6), mask.shape) for r in rings]) == mask
                ).all()
    root = ElementTree.parse(tmp_path / "out/config.xml").getroot()
    kinds = {"brush": ["BrushLabels"], "polygon": ["PolygonLabels"], "none": []}[shapes]
    assert [child.tag for child in root] == ["Image", "RectangleLabels", *kinds]
    for child in root[1:]:
        assert [label.get("value") for label in child] == [*NAMES.values()]
        assert child.get("toName") == root[0].get("name")


def unpacked(content):
    """Decode the brush as its format is described, bit by bit."""
    bits = "".join(f"{byte:08b}" for byte in content)
    at = 0

    def read(count):
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    total, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values = []
    while len(values) < total:
        same = read(1)
        length = read(sizes[read(2)]) + 1
        values += [read(word)] * length if same else [read(word) for _ in range(length)]
    assert len(bits) - at < 8
    return np.array(values)


@given(hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_a_brush_is_the_mask(mask):
    assert (unpacked(brush(mask)).reshape(*mask.shape, 4) == mask[..., None] * 255).all()


def test_runs_longer_than_16_bits_are_split():
    mask = np.zeros((300, 301), dtype=bool)
    mask[140:] = True
    assert (unpacked(brush(mask)).reshape(300, 301, 4) == mask[..., None] * 255).all()
