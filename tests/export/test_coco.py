"""COCO files are read by pycocotools and supervision; ids are those of another file if asked for."""

import contextlib
import io
import json
import re

import numpy as np
import pytest
import supervision as sv
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.support.exported import FLAT, MASKS, NAMES, files_below, records
from wsolrefine.export import write_coco, write_coco_results

# pycocotools 2.0.11 decodes masks in a way that numpy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(autouse=True)
def quiet():
    with contextlib.redirect_stdout(io.StringIO()):
        yield


@pytest.mark.parametrize("polygons", [False, True])
def test_pycocotools_reads_boxes_and_masks(tmp_path, polygons):
    write_coco(
        records(tmp_path / "in"), tmp_path / "out", names=NAMES, polygons=polygons, tolerance=0
    )
    coco = COCO(str(tmp_path / "out/annotations.json"))
    assert {one["id"]: one["name"] for one in coco.dataset["categories"]} == NAMES
    assert [image["file_name"] for image in coco.dataset["images"]] == [*MASKS]
    for image in coco.dataset["images"]:
        assert (tmp_path / "out/images" / image["file_name"]).is_symlink()
        found = coco.loadAnns(coco.getAnnIds(image["id"]))
        expected = [one for one in MASKS[image["file_name"]] if one[1].any()]
        assert len(found) == len(expected)
        for entry, (label, mask, score) in zip(found, expected, strict=True):
            assert entry["category_id"] == label
            assert entry["score"] == score
            assert entry["area"] == mask.sum()
            assert (coco.annToMask(entry) == mask).all()
            rows, columns = np.nonzero(mask)
            x, y, width, height = entry["bbox"]
            assert (x, y) == (columns.min(), rows.min())
            assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)


def test_all_keys_of_the_format_are_there(tmp_path):
    """Roboflow's upload looks up each of them and fails without one."""
    write_coco(records(), tmp_path / "out", images="none")
    content = json.loads((tmp_path / "out/annotations.json").read_text())
    assert {*content} == {"info", "licenses", "images", "annotations", "categories"}
    assert content["licenses"] == []


def test_supervision_reads_it(tmp_path):
    # It refuses links that lead out of the folder.
    write_coco(records(tmp_path / "in", FLAT), tmp_path / "out", images="copy")
    data = sv.DetectionDataset.from_coco(
        str(tmp_path / "out/images"), str(tmp_path / "out/annotations.json"), force_masks=True
    )
    found = {path.rpartition("/")[2]: detections for path, _, detections in data}
    for name in FLAT:
        expected = [one for one in MASKS[name] if one[1].any()]
        assert len(found[name]) == len(expected)
        for place, (label, mask, _) in enumerate(expected):
            assert data.classes[found[name].class_id[place]] == NAMES[label]
            assert (found[name].mask[place] == mask).all()


def test_detections_are_evaluated_against_the_truth_whose_ids_they_have(tmp_path):
    write_coco(records(), tmp_path / "truth", names=NAMES, images="none")
    path = tmp_path / "truth/annotations.json"
    content = json.loads(path.read_text())
    for image in content["images"]:
        image["id"] += 100
        image["file_name"] = f"val/{image['file_name']}" if image["id"] != 104 else "deep/a.jpg"
    for entry in content["annotations"]:
        entry["image_id"] += 100
        entry["category_id"] += 7
    for category in content["categories"]:
        category["id"] += 7
    path.write_text(json.dumps(content))
    only = [record for record in records() if record.name not in ("a.jpg", "deep/a.jpg")]
    write_coco_results(only, tmp_path / "found", like=path)
    truth = COCO(str(path))
    loaded = truth.loadRes(str(tmp_path / "found/detections.json"))
    for kind in ("bbox", "segm"):
        evaluation = COCOeval(truth, loaded, kind)
        evaluation.params.imgIds = [102, 103]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert evaluation.stats[0] == pytest.approx(1)


def test_detections_without_a_truth_have_the_ids_of_the_data_set(tmp_path):
    write_coco(records(), tmp_path / "set", images="none")
    write_coco_results(records(), tmp_path / "found")
    entries = json.loads((tmp_path / "set/annotations.json").read_text())["annotations"]
    found = json.loads((tmp_path / "found/detections.json").read_text())
    keys = "image_id", "category_id", "bbox", "score", "segmentation"
    assert found == [{key: entry[key] for key in keys} for entry in entries]
    numbered = [record._replace(id=7 + i) for i, record in enumerate(records())]
    write_coco(numbered, tmp_path / "numbered", images="none")
    ids = json.loads((tmp_path / "numbered/annotations.json").read_text())["images"]
    assert [image["id"] for image in ids] == [7, 8, 9, 10]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "like: expected a COCO file, got "),
        ('{"images": [], "categories": []}', "like: expected an image 'a.jpg' in "),
        (
            '{"images": [{"id": 1, "file_name": "a.jpg"}], "categories": []}',
            "like: expected a category 'cat' in ",
        ),
        (
            '{"images": [{"id": 1, "file_name": "x/a.jpg"}, {"id": 2, "file_name": "y/a.jpg"}],'
            ' "categories": []}',
            "like: expected an image 'a.jpg' in ",
        ),
    ],
)
def test_a_truth_without_an_image_or_a_class(tmp_path, content, message):
    (tmp_path / "truth.json").write_text(content)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        write_coco_results(records(), tmp_path / "found", like=tmp_path / "truth.json")
    assert files_below(tmp_path) == ["truth.json"]
