"""Pascal VOC: corners count from 1, with the last pixel; supervision reads the boxes again."""

from xml.etree import ElementTree

import numpy as np
import supervision as sv

from tests.support.exported import FLAT, MASKS, NAMES, records
from wsolrefine.export import write_voc


def test_corners_are_pixels_from_one_with_the_last_included(tmp_path):
    write_voc(records(tmp_path / "in"), tmp_path / "out")
    listed = (tmp_path / "out/ImageSets/Main/trainval.txt").read_text().split()
    assert listed == ["a", "b", "empty", "deep/a"]
    for name, things in MASKS.items():
        root = ElementTree.parse(tmp_path / f"out/Annotations/{name.rpartition('.')[0]}.xml")
        assert root.findtext("filename") == name
        assert [root.findtext(f"size/{side}") for side in ("width", "height", "depth")] == [
            "24",
            "16",
            "3",
        ]
        expected = [one for one in things if one[1].any()]
        for element, (label, mask, _) in zip(root.iter("object"), expected, strict=True):
            assert element.findtext("name") == NAMES[label]
            rows, columns = (indices + 1 for indices in np.nonzero(mask))
            corners = columns.min(), rows.min(), columns.max(), rows.max()
            sides = ("xmin", "ymin", "xmax", "ymax")
            assert tuple(int(element.findtext(f"bndbox/{side}")) for side in sides) == corners
        assert (tmp_path / "out/JPEGImages" / name).is_file()


def test_supervision_reads_it(tmp_path):
    write_voc(records(tmp_path / "in", FLAT), tmp_path / "out")
    data = sv.DetectionDataset.from_pascal_voc(
        str(tmp_path / "out/JPEGImages"), str(tmp_path / "out/Annotations")
    )
    for path, _, found in data:
        things = [one for one in MASKS[path.rpartition("/")[2]] if one[1].any()]
        assert [data.classes[label] for label in found.class_id] == [
            NAMES[one[0]] for one in things
        ]
        for box, (_, mask, _) in zip(found.xyxy, things, strict=True):
            rows, columns = np.nonzero(mask)
            # It takes 1 from all four numbers, where others leave the last two.
            assert box.tolist() in (
                [columns.min(), rows.min(), columns.max(), rows.max()],
                [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1],
            )
