"""What the readers say of broken lines, of ids that lead out of their folder, of missing files."""

import re

import numpy as np
import pytest
from PIL import Image

from tests.support import miniature
from tests.support.odd_images import bomb
from wsolrefine.data import CUB, ILSVRC, OpenImages, WsolEvaluation


def edit(file, line, new):
    """Replace a line, counted from 1; None takes it out."""
    lines = file.read_text("utf-8").splitlines()
    lines[line - 1 : line] = [] if new is None else [new]
    file.write_text("\n".join(lines) + "\n", "utf-8")


def refuses(read, file, line, said):
    """The error names file and line, says what was expected, and what was there."""
    with pytest.raises(ValueError, match=": expected ") as caught:
        read()
    assert str(caught.value).startswith(f"{file}:{line}: expected ")
    assert said in str(caught.value)


CLIMBING = [
    *("../a.jpg", "a/../../b.jpg", "..", "a/..", "./a.jpg", "a//b.jpg", "a/", ".", "a/./b.jpg"),
    *("/a.jpg", "//server/a.jpg", "C:/a.jpg", "c:a.jpg", "a\\b.jpg", "..\\a.jpg", "\\\\server\\a"),
    *("a\0.jpg", "a\x1b.jpg"),
]

# CUB ----------------------------------------------------------------------------------------------

FIRST = "001.Black_footed_Albatross/Black_footed_Albatross_0000_796001.jpg"


@pytest.mark.parametrize(
    ("name", "line", "new", "blamed", "said"),
    [
        ("images", 2, "2", 2, "number path, got '2'"),
        ("images", 2, "", 2, "number path, got ''"),
        ("images", 2, "2 ", 2, "a path that stays below its folder, got ''"),
        ("images", 2, "1 a.jpg", 2, "an id that is not in line 1, got '1'"),
        ("images", 2, f"2 {FIRST}", 2, f"an id that is not in line 1, got '{FIRST}'"),
        ("image_class_labels", 3, "3", 3, "number class, got '3'"),
        ("image_class_labels", 3, "3 1 1", 3, "number class, got '3 1 1'"),
        ("image_class_labels", 3, "3 0", 3, "a class that is in classes.txt, got '0'"),
        ("image_class_labels", 3, "3 x", 3, "a class that is in classes.txt, got 'x'"),
        ("image_class_labels", 3, "99 1", 3, "an id that is in images.txt, got '99'"),
        ("image_class_labels", 3, "2 1", 3, "an id that is not in line 2, got '2'"),
        ("classes", 2, "2", 2, "number name, got '2'"),
        ("classes", 2, "3 x", 2, "class 2, got '3'"),
        ("classes", 2, "1 x", 2, "an id that is not in line 1, got '1'"),
        ("train_test_split", 1, "1 2", 1, "number training with 1 or 0, got '2'"),
        ("train_test_split", 1, "1,0", 1, "number training, got '1,0'"),
        ("bounding_boxes", 4, "4 1.0 1.0 5.0", 4, "number x y width height, got '4 1.0 1.0 5.0'"),
        ("bounding_boxes", 4, "4 1 1 5 5 5", 4, "number x y width height, got '4 1 1 5 5 5'"),
        ("bounding_boxes", 4, "4 -1.0 1.0 5.0 5.0", 4, "with a number, got '-1.0'"),
        ("bounding_boxes", 4, "4 nan 1.0 5.0 5.0", 4, "with a number, got 'nan'"),
        ("bounding_boxes", 4, "4 1e9 1.0 5.0 5.0", 4, "with a number, got '1e9'"),
        ("bounding_boxes", 4, "4 1_0 1.0 5.0 5.0", 4, "with a number, got '1_0'"),
        ("bounding_boxes", 4, "4 \u0661 1.0 5.0 5.0", 4, "with a number, got '\u0661'"),
        ("bounding_boxes", 4, f"4 1 1 5 {'9' * 5000}", 4, "with a number, got '999"),
        ("bounding_boxes", 4, "4 1 1 0 5", 4, "width and height above 0, got '0 x 5'"),
    ],
)
def test_broken_line_of_cub(tmp_path, name, line, new, blamed, said):
    root = miniature.write_cub(tmp_path).root
    edit(root / f"{name}.txt", line, new)
    refuses(lambda: CUB(root, split="all"), root / f"{name}.txt", blamed, said)


@pytest.mark.parametrize("name", ["image_class_labels", "train_test_split", "bounding_boxes"])
def test_an_image_of_cub_must_be_in_every_list(tmp_path, name):
    root = miniature.write_cub(tmp_path).root
    edit(root / f"{name}.txt", 5, None)
    refuses(lambda: CUB(root), root / "images.txt", 5, f"an id that is in {name}.txt, got '5'")


@pytest.mark.parametrize("path", CLIMBING)
def test_cub_stays_in_its_folder(tmp_path, path):
    root = miniature.write_cub(tmp_path).root
    edit(root / "images.txt", 3, f"3 {path}")
    refuses(lambda: CUB(root, split="all"), root / "images.txt", 3, "stays below its folder")


def test_text_that_is_not_utf8(tmp_path):
    root = miniature.write_cub(tmp_path).root
    lines = (root / "images.txt").read_bytes().splitlines(keepends=True)
    (root / "images.txt").write_bytes(b"".join([*lines[:2], b"3 caf\xe9.jpg\n", *lines[3:]]))
    refuses(lambda: CUB(root), root / "images.txt", 3, "UTF-8 text, got 'byte e9'")


def test_long_lines_are_shown_in_part(tmp_path):
    root = miniature.write_cub(tmp_path).root
    edit(root / "images.txt", 1, "x" * 10_000)
    with pytest.raises(ValueError, match=r"got 'x{100}\.\.\.'$"):
        CUB(root)


# wsolevaluation -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "line", "new", "said"),
    [
        ("image_ids", 1, "", "id, got ''"),
        ("image_ids", 2, "a.jpg", "an id that is not in line 1, got 'a.jpg'"),
        ("class_labels", 2, "b.jpg", "id,label, got 'b.jpg'"),
        ("class_labels", 2, "b.jpg,", "id,label with a whole number, got ''"),
        ("class_labels", 2, "b.jpg,-1", "id,label with a whole number, got '-1'"),
        ("class_labels", 2, "b.jpg,1.0", "id,label with a whole number, got '1.0'"),
        ("class_labels", 2, "b.jpg, 1", "id,label with a whole number, got ' 1'"),
        ("class_labels", 2, "b.jpg,1,2", "id,label, got 'b.jpg,1,2'"),
        ("class_labels", 2, "c.jpg,1", "an id that is in image_ids.txt, got 'c.jpg'"),
        ("class_labels", 2, "a.jpg,1", "an id that is not in line 1, got 'a.jpg'"),
        ("image_sizes", 2, "b.jpg,30", "id,width,height, got 'b.jpg,30'"),
        ("image_sizes", 2, "b.jpg,30,0", "width and height above 0, got '30 x 0'"),
        ("image_sizes", 2, "b.jpg,30,x", "with a whole number, got 'x'"),
        ("image_sizes", 2, "c.jpg,30,20", "an id that is in image_ids.txt, got 'c.jpg'"),
        ("image_sizes", 2, "a.jpg,30,20", "an id that is not in line 1, got 'a.jpg'"),
        ("localization", 3, "b.jpg,1,2,3", "id,x0,y0,x1,y1, got 'b.jpg,1,2,3'"),
        ("localization", 3, "b.jpg,1,2,3,4,5", "id,x0,y0,x1,y1, got 'b.jpg,1,2,3,4,5'"),
        ("localization", 3, "b.jpg,b_m0.png,", "id,x0,y0,x1,y1, got 'b.jpg,b_m0.png,'"),
        ("localization", 3, "b.jpg,1,2,x,4", "with a whole number, got 'x'"),
        ("localization", 3, "b.jpg,-1,2,3,4", "with a whole number, got '-1'"),
        ("localization", 3, "b.jpg,4,2,3,4", "x0 <= x1 and y0 <= y1, got '4,2,3,4'"),
        ("localization", 3, "b.jpg,1,5,3,4", "x0 <= x1 and y0 <= y1, got '1,5,3,4'"),
        ("localization", 3, "c.jpg,1,2,3,4", "an id that is in image_ids.txt, got 'c.jpg'"),
        ("localization", 2, "", "id,x0,y0,x1,y1, got ''"),
    ],
)
def test_broken_line_of_wsolevaluation(tmp_path, name, line, new, said):
    write_two(tmp_path)
    edit(tmp_path / f"{name}.txt", line, new)
    refuses(lambda: WsolEvaluation(tmp_path), tmp_path / f"{name}.txt", line, said)


def write_two(folder, image_id="b.jpg"):
    images = [
        miniature.Truth("a.jpg", 0, (20, 30), [(1, 2, 4, 5), (2, 2, 9, 9)]),
        miniature.Truth(image_id, 1, (20, 30), [(0, 0, 30, 20)]),
    ]
    miniature.write_metadata(folder, images)


@pytest.mark.parametrize("name", ["class_labels", "image_sizes", "localization"])
def test_an_image_must_be_in_every_list(tmp_path, name):
    write_two(tmp_path)
    edit(tmp_path / f"{name}.txt", 3 if name == "localization" else 2, None)
    said = f"an id that is in {name}.txt, got 'b.jpg'"
    refuses(lambda: WsolEvaluation(tmp_path), tmp_path / "image_ids.txt", 2, said)


@pytest.mark.parametrize("path", CLIMBING)
def test_wsolevaluation_stays_in_its_folder(tmp_path, path):
    write_two(tmp_path, path)
    said = "id with a path that stays below its folder, got "
    refuses(lambda: WsolEvaluation(tmp_path), tmp_path / "image_ids.txt", 2, said)


@pytest.mark.parametrize("name", ["image_sizes", "localization"])
def test_an_empty_list_is_not_a_missing_one(tmp_path, name):
    write_two(tmp_path)
    (tmp_path / f"{name}.txt").write_text("")
    said = f"an id that is in {name}.txt, got 'a.jpg'"
    refuses(lambda: WsolEvaluation(tmp_path), tmp_path / "image_ids.txt", 1, said)


# OpenImages ---------------------------------------------------------------------------------------


@pytest.fixture
def openimages(tmp_path):
    written = miniature.write_openimages(tmp_path)
    file = written.metadata / "test/localization.txt"
    # Lines 2 and 3 are the two masks of the second image.
    stem = file.read_text().splitlines()[1].split(".jpg")[0]

    def read():
        return OpenImages(written.root, metadata=written.metadata)

    return read, file, stem, written


@pytest.mark.parametrize(
    ("line", "new", "said"),
    [
        (3, "{stem}.jpg,{stem}_m1.png", "id,mask,ignore, got "),
        (3, "{stem}.jpg,1,2,3,4", "id,mask,ignore, got "),
        (3, "{stem}.jpg,{stem}_m1.png,{stem}_ignore.png", "no ignore after line 2, got "),
        (3, "{stem}.jpg,,", "with a path that stays below its folder, got ''"),
        (3, "{stem}.jpg,../m.png,", "with a path that stays below its folder, got '../m.png'"),
        (2, "{stem}.jpg,m.png,/i.png", "with a path that stays below its folder, got '/i.png'"),
        (3, "other.jpg,m.png,", "an id that is in image_ids.txt, got 'other.jpg'"),
    ],
)
def test_broken_line_of_openimages(openimages, line, new, said):
    read, file, stem, _ = openimages
    edit(file, line, new.format(stem=stem))
    refuses(read, file, line, said)


def test_an_image_of_openimages_must_have_a_mask(openimages):
    read, file, *_ = openimages
    edit(file, 1, None)
    refuses(read, file.with_name("image_ids.txt"), 1, "an id that is in localization.txt")
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"localization\.txt"):
        read()


def test_a_mask_file_that_is_missing(openimages):
    read, _, stem, written = openimages
    (written.root / f"{stem}_m1.png").unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(f"{stem}_m1.png")):
        read().mask(1)


# ILSVRC -------------------------------------------------------------------------------------------

VAL = "ILSVRC/ImageSets/CLS-LOC/val.txt"
XML = "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000002.xml"


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("</annotation>", "", 38, "well-formed XML, got 'no element found'"),
        ("</size>", "</sizes>", 11, "well-formed XML, got 'mismatched tag'"),
        ("<annotation>", "<!DOCTYPE a>\n<annotation>", 1, "without a document type"),
        ("<annotation>", '\n<!DOCTYPE a [<!ENTITY b "c">]>\n<annotation>', 2, "document type"),
        ("<annotation>", "<annotation>&lol;", 1, "well-formed XML, got 'undefined entity'"),
        ("<name>n01443537</name>", "<name>n00000000</name>", 14, "one known synset"),
        ("<name>n01443537</name>", "<name>n01440764</name>", 26, "one known synset"),
        ("<name>n01443537</name>", "", 13, "an object with name, got 'none'"),
        ("<width>", "<width>x", 8, "a whole number in annotation/size/width, got 'x"),
    ],
)
def test_broken_xml(tmp_path, old, new, line, said):
    root = miniature.write_ilsvrc(tmp_path).root
    text = (root / XML).read_text()
    assert old in text
    (root / XML).write_text(text.replace(old, new, 1))
    refuses(lambda: ILSVRC(root), root / XML, line, said)


@pytest.mark.parametrize(
    ("corner", "value", "line", "said"),
    [
        ("xmin", "-1", 19, "a whole number in annotation/object/bndbox/xmin, got '-1'"),
        ("ymax", "1.5", 22, "a whole number in annotation/object/bndbox/ymax, got '1.5'"),
        ("xmax", "", 21, "a whole number in annotation/object/bndbox/xmax, got ''"),
        ("xmin", "99", 19, "a box with xmin <= xmax and ymin <= ymax, got '99,"),
        ("ymin", "99", 19, "a box with xmin <= xmax and ymin <= ymax, got "),
        ("ymin", None, 13, "an object with ymin, got 'none'"),
    ],
)
def test_broken_box_in_xml(tmp_path, corner, value, line, said):
    root = miniature.write_ilsvrc(tmp_path).root
    new = "" if value is None else f"<{corner}>{value}</{corner}>"
    text = re.sub(f"<{corner}>.*</{corner}>", new, (root / XML).read_text(), count=1)
    (root / XML).write_text(text)
    refuses(lambda: ILSVRC(root), root / XML, line, said)


def test_xml_without_objects_or_size(tmp_path):
    root = miniature.write_ilsvrc(tmp_path).root
    text = (root / XML).read_text()
    (root / XML).write_text(re.sub(r"<(width|height)>\d+<", r"<\1>0<", text))
    assert ILSVRC(root).annotations[1].size is None
    assert ILSVRC(root).size(1) == miniature.write_ilsvrc(tmp_path / "b").splits["val"][1].size
    (root / XML).write_text(re.sub("<object>.*</object>", "", text, flags=re.S))
    refuses(lambda: ILSVRC(root), root / XML, 1, "at least one object, got 'none'")
    (root / XML).write_text("")
    refuses(lambda: ILSVRC(root), root / XML, 1, "well-formed XML, got 'no element found'")
    (root / XML).unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(XML)):
        ILSVRC(root)


def test_xml_of_many_levels_is_read_in_no_time(tmp_path):
    root = miniature.write_ilsvrc(tmp_path).root
    text = (root / XML).read_text()
    deep = "<annotation>" + "<a>" * 100_000 + "</a>" * 100_000
    (root / XML).write_text(text.replace("<annotation>", deep))
    assert len(ILSVRC(root)) == 6


@pytest.mark.parametrize("path", CLIMBING)
def test_ilsvrc_stays_in_its_folder(tmp_path, path):
    root = miniature.write_ilsvrc(tmp_path).root
    edit(root / VAL, 2, f"{path} 2")
    refuses(lambda: ILSVRC(root), root / VAL, 2, "id number with a path that stays below")


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ("ILSVRC2012_val_00000002", "id number, got 'ILSVRC2012_val_00000002'"),
        ("ILSVRC2012_val_00000001 2", "an id that is not in line 1"),
    ],
)
def test_broken_list_of_ilsvrc(tmp_path, new, said):
    root = miniature.write_ilsvrc(tmp_path).root
    edit(root / VAL, 2, new)
    refuses(lambda: ILSVRC(root), root / VAL, 2, said)


def test_a_training_image_in_an_unknown_folder(tmp_path):
    root = miniature.write_ilsvrc(tmp_path).root
    file = root / "ILSVRC/ImageSets/CLS-LOC/train_cls.txt"
    edit(file, 4, "n00000000/n00000000_1 4")
    said = "a known synset as folder, got 'n00000000/n00000000_1'"
    refuses(lambda: ILSVRC(root, split="train"), file, 4, said)


def test_masks_that_are_none(tmp_path):
    said = miniature.write_ilsvrc(tmp_path)
    with pytest.raises(ValueError, match=r"^masks: expected masks of images of val, got none in "):
        ILSVRC(said.root, masks=said.root / "ILSVRC")
    with pytest.raises(FileNotFoundError, match=r"^masks: expected a folder, got .*nowhere$"):
        ILSVRC(said.root, masks=said.root / "nowhere")


# Arguments, folders, images -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda r: CUB(r, split="val"), "train, test or all, got 'val'"),
        (lambda r: ILSVRC(r, split="test"), "train or val, got 'test'"),
        (lambda r: OpenImages(r, metadata=r, split="all"), "train, val or test, got 'all'"),
    ],
)
def test_a_split_that_there_is_not(tmp_path, read, said):
    with pytest.raises(ValueError, match=f"^split: expected {said}$"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda r: CUB(r / "no"), "root: expected a folder, got .*no$"),
        (lambda r: CUB(r), r"images\.txt"),
        (lambda r: ILSVRC(r / "no"), "root: expected a folder, got .*no$"),
        (lambda r: ILSVRC(r), r"root: expected a folder with LOC_synset_mapping\.txt, got "),
        (lambda r: OpenImages(r / "no", metadata=r), "root: expected a folder, got .*no$"),
        (lambda r: OpenImages(r, metadata=r), "metadata: expected a folder, got .*test$"),
        (lambda r: WsolEvaluation(r / "no"), "metadata: expected a folder, got .*no$"),
        (lambda r: WsolEvaluation(r, images=r / "no"), "images: expected a folder, got .*no$"),
        (lambda r: WsolEvaluation(r), r"image_ids\.txt"),
    ],
)
def test_folders_and_files_that_there_are_not(tmp_path, read, said):
    with pytest.raises(FileNotFoundError, match=said):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"expected an image, got an empty file \(0 bytes\)"),
        (b"this is no picture", "expected an image, got another kind of file"),
        ("cut", r"expected an image, got a damaged or truncated file \(.*truncated"),
        (bomb(), r"expected an image, got too many pixels \(Image size"),
    ],
)
def test_files_that_are_no_images(tmp_path, content, said):
    written = miniature.write_wsolevaluation(tmp_path)
    dataset = WsolEvaluation(written.metadata / "test", images=written.root)
    file = dataset.image_path(0)
    if content == "cut":
        content = file.read_bytes()[:-100]
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(file))}: {said}"):
        dataset[0]
    file.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(str(file))):
        dataset[0]


def test_files_that_are_no_masks(tmp_path):
    dataset = CUB(miniature.write_cub(tmp_path).root)
    file = dataset.image_path(0).with_suffix(".png")
    file = tmp_path / "segmentations" / file.relative_to(tmp_path / "images")
    expected = dataset.mask(0)
    with Image.open(file) as stored:
        gray = stored.copy()
    gray.convert("LA").save(file)  # some of the real ones have an alpha channel
    assert np.array_equal(dataset.mask(0), expected)
    Image.fromarray(np.zeros((3, 4), dtype=np.uint16)).save(file)
    said = f"^{re.escape(str(file))}: expected a mask of 8 bits, got mode I"
    with pytest.raises(ValueError, match=said):
        dataset.mask(0)
    file.write_bytes(b"no mask")
    with pytest.raises(ValueError, match=f"^{re.escape(str(file))}: expected a mask of 8 bits"):
        dataset.mask(0)
    file.unlink()
    assert dataset.has_mask(0)  # all images of CUB should have one
    with pytest.raises(FileNotFoundError, match=re.escape(str(file))):
        dataset.mask(0)
