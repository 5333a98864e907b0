"""Lists, annotations, masks and score maps that look right and are not."""

import io
import os
import re
import unicodedata

import numpy as np
import pytest
from PIL import Image

from tests.data.test_broken import edit, refuses, write_two
from tests.support import miniature, odd_files
from tests.support.odd_files import time_limit
from wsolrefine.data import CUB, ILSVRC, ImageFolder, OpenImages, ScoreMaps, WsolEvaluation

ACCENT = "caf\u00e9.jpg"


@pytest.mark.parametrize(
    ("listed", "other"),
    [
        ("b.jpg", "B.jpg"),
        ("b.jpg", "b.jpg "),
        (ACCENT, unicodedata.normalize("NFD", ACCENT)),
        (unicodedata.normalize("NFD", ACCENT), ACCENT),
    ],
)
def test_ids_that_only_look_alike_are_two_and_the_error_says_so(tmp_path, listed, other):
    write_two(tmp_path, listed)
    edit(tmp_path / "class_labels.txt", 2, f"{other},1")
    said = "image_ids.txt (that of line 2 differs in case, blanks or the form of its accents)"
    refuses(lambda: WsolEvaluation(tmp_path), tmp_path / "class_labels.txt", 2, said)


@pytest.mark.parametrize(
    "value",
    ["nan", "inf", "-5", "1e3", "0x10", " 30", "30 ", "30.0", "3_0", "\u0663", "9" * 10, "", "+3"],
)
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("image_sizes", "b.jpg,{},20"),
        ("image_sizes", "b.jpg,30,{}"),
        ("localization", "b.jpg,0,0,{},9"),
        ("class_labels", "b.jpg,{}"),
    ],
)
def test_what_is_no_whole_number(tmp_path, name, line, value):
    write_two(tmp_path)
    number = 3 if name == "localization" else 2
    edit(tmp_path / f"{name}.txt", number, line.format(value))
    said = f"with a whole number, got {value!r}"
    refuses(lambda: WsolEvaluation(tmp_path), tmp_path / f"{name}.txt", number, said)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_text_in_another_encoding(tmp_path, encoding):
    write_two(tmp_path, ACCENT)
    file = tmp_path / "image_ids.txt"
    file.write_bytes(file.read_text("utf-8").encode(encoding))
    refuses(lambda: WsolEvaluation(tmp_path), file, 1 if "16" in encoding else 2, "UTF-8 text")


def test_classes_that_are_not_those_of_the_folders_of_cub(tmp_path):
    root = miniature.write_cub(tmp_path).root
    lines = (root / "image_class_labels.txt").read_text().splitlines()
    swapped = [f"{number} {3 - int(label)}" for number, label in map(str.split, lines)]
    miniature.write_lines(root / "image_class_labels.txt", swapped)
    said = "the class of the folder 001.Black_footed_Albatross, got '002.Laysan_Albatross'"
    refuses(lambda: CUB(root), root / "image_class_labels.txt", 1, said)


def test_two_boxes_in_one_object_are_not_taken_for_one(tmp_path):
    root = miniature.write_ilsvrc(tmp_path).root
    xml = root / "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000002.xml"
    text = xml.read_text()
    box = re.search("<bndbox>.*?</bndbox>", text, re.S)[0]
    xml.write_text(text.replace(box, box + box, 1))
    refuses(lambda: ILSVRC(root), xml, 24, "one xmin in an object, got 'another one'")


def test_entities_are_refused_before_they_grow(tmp_path):
    root = miniature.write_ilsvrc(tmp_path).root
    xml = root / "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000002.xml"
    levels = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE a [<!ENTITY a0 "aaaaaaaaaa">{levels}]><a>&a11;</a>'
    (tmp_path / "secret").write_text("secret")
    outside = f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]><a>&x;</a>'
    for text in (bomb, outside, "<?xml version='1.0'?>\n" + bomb):
        xml.write_text(text)
        with time_limit(5), pytest.raises(ValueError, match="XML without a document type"):
            ILSVRC(root)


@pytest.mark.parametrize("name", ["image_sizes.txt", "localization.txt"])
def test_a_broken_link_is_not_a_missing_list(tmp_path, name):
    write_two(tmp_path)
    (tmp_path / name).unlink()
    WsolEvaluation(tmp_path)
    (tmp_path / name).symlink_to("nowhere.txt")
    with pytest.raises(FileNotFoundError, match=name):
        WsolEvaluation(tmp_path)


@pytest.mark.parametrize("kind", odd_files.KINDS)
def test_a_list_that_is_no_file_is_refused_at_once(tmp_path, kind):
    """Every file of every reader."""
    cub, ilsvrc = miniature.write_cub(tmp_path / "c").root, miniature.write_ilsvrc(tmp_path / "i")
    images = miniature.write_openimages(tmp_path / "o")
    lists = tmp_path / "w"
    write_two(lists)
    xml = "Annotations/CLS-LOC/val/ILSVRC2012_val_00000003.xml"
    files = {
        **{file: lambda: CUB(cub) for file in cub.glob("*.txt")},
        **{file: lambda: WsolEvaluation(lists) for file in lists.glob("*.txt")},
        ilsvrc.root / "ILSVRC" / xml: lambda: ILSVRC(ilsvrc.root),
        ilsvrc.root / "ILSVRC/ImageSets/CLS-LOC/val.txt": lambda: ILSVRC(ilsvrc.root),
        ilsvrc.root / "LOC_synset_mapping.txt": lambda: ILSVRC(ilsvrc.root),
        **{
            file: lambda: OpenImages(images.root, metadata=images.metadata)
            for file in (images.metadata / "test").glob("*.txt")
        },
    }
    assert len(files) == 5 + 4 + 3 + 3
    for file, read in files.items():
        content = file.read_bytes()
        said = odd_files.make(file, kind)
        expected = f"^{re.escape(str(file))}: expected a file, got {said}$"
        with time_limit(5), pytest.raises(OSError, match=expected):
            read()
        if file.is_dir() and not file.is_symlink():
            file.rmdir()
        else:
            file.unlink()
        file.with_name("pipe").unlink(missing_ok=True)
        file.write_bytes(content)
        read()


# Images of folders, masks -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "device", "socket", "broken link"])
def test_what_is_no_file_in_a_folder_of_images_is_not_passed_over(tmp_path, kind):
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "birds").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "birds/a.png")
    if kind == "broken link":
        (tmp_path / "birds/b.png").symlink_to("nowhere.png")
    else:
        odd_files.make(tmp_path / "birds/b.png", kind)
    dataset = ImageFolder(tmp_path)
    assert [a.image_id for a in dataset.annotations] == ["birds/a.png", "birds/b.png"]
    with time_limit(5), pytest.raises((OSError, ValueError), match=r"birds/b\.png"):
        dataset[1]


def mask_of(dataset):
    folder = dataset.image_path(0).parents[2]
    return (folder / "segmentations" / dataset.annotations[0].image_id).with_suffix(".png")


def test_masks_of_0_and_1_are_not_taken_for_empty_ones(tmp_path):
    dataset = CUB(miniature.write_cub(tmp_path).root)
    file, votes = mask_of(dataset), dataset.mask(0).numpy()
    Image.fromarray((votes == 1).astype(np.uint8)).save(file)
    said = f"^{re.escape(str(file))}: expected gray levels above 127 where the object is, got 0 and"
    with pytest.raises(ValueError, match=said):
        dataset.mask(0)
    Image.fromarray(np.zeros_like(votes)).save(file)
    assert not dataset.mask(0).any()
    Image.fromarray(votes * 51).save(file)  # of one annotator: nothing that most agree on
    assert not dataset.mask(0).any()


def test_masks_in_color_are_not_taken_for_gray(tmp_path):
    dataset = CUB(miniature.write_cub(tmp_path).root)
    file, expected = mask_of(dataset), dataset.mask(0).numpy()
    indices = Image.fromarray(expected).convert("P")
    indices.putpalette([0, 0, 0, 128, 0, 0])  # as VOC colors its classes: red is a dark gray
    for image in (indices, indices.convert("RGB"), indices.convert("RGBA")):
        image.save(file)
        with pytest.raises(ValueError, match=f"^{re.escape(str(file))}: expected a gray mask"):
            dataset.mask(0)
    gray = Image.fromarray(expected * 255)
    palette = gray.convert("P", palette=Image.Palette.ADAPTIVE)
    for image in (gray.convert("RGB"), gray.convert("RGBA"), palette, gray.convert("1")):
        image.save(file)
        assert np.array_equal(dataset.mask(0), expected)


def test_masks_of_tiff_are_as_they_are_stored(tmp_path):
    from wsolrefine.data._masks import read_gray

    exif = Image.Exif()
    exif[0x0112] = 6
    gray = np.arange(24, dtype=np.uint8).reshape(4, 6)
    for name in ("a.png", "a.tif"):
        Image.fromarray(gray).save(tmp_path / name, exif=exif)
        assert np.array_equal(read_gray(tmp_path / name), gray)


def test_a_mask_of_ilsvrc_that_is_no_file_is_not_a_missing_one(tmp_path):
    written = miniature.write_ilsvrc(tmp_path)
    mask = written.masks / "ILSVRC2012_val_00000001.png"
    mask.unlink()
    assert not ILSVRC(written.root, masks=written.masks).has_mask(0)
    os.mkfifo(mask)
    dataset = ILSVRC(written.root, masks=written.masks)
    assert dataset.has_mask(0)
    with time_limit(5), pytest.raises(ValueError, match="got a named pipe"):
        dataset.mask(0)


# Score maps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", odd_files.KINDS)
@pytest.mark.parametrize("suffix", [".npy", ".png"])
def test_a_score_map_that_is_no_file(tmp_path, kind, suffix):
    said = odd_files.make(tmp_path / f"a.jpg{suffix}", kind)
    with (
        time_limit(5),
        pytest.raises((OSError, ValueError), match=rf"a\.jpg\{suffix}.* got {said}"),
    ):
        ScoreMaps(tmp_path).maps("a.jpg")


def header(shape, dtype="<f4"):
    data = io.BytesIO()
    described = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(data, described)
    return data.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (header((10**6, 10**6)), "of at most 178,956,970 pixels, got shape (1000000, 1000000)"),
        (header((10**4, 10**4)), "got a truncated file (0 of 400,000,000 bytes)"),
        (header((2, 2)) + bytes(15), "got a truncated file (15 of 16 bytes)"),
        (header((2**40, 2**40)), "pixels, got shape"),
        (header((-2, 2)) + bytes(16), "got "),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, "got "),
    ],
)
def test_arrays_larger_than_their_file_take_no_memory(tmp_path, content, said):
    (tmp_path / "a.npy").write_bytes(content)
    with time_limit(10), pytest.raises(ValueError, match=r"a\.npy: expected an array") as caught:
        ScoreMaps(tmp_path).maps("a.jpg")
    assert said in str(caught.value)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_arrays_of_every_version_of_the_format_are_read(tmp_path, version):
    values = np.array([[0, 0.25], [0.5, 1]])
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, values, version)
    assert ScoreMaps(tmp_path).maps("a.jpg").tolist() == values.tolist()


@pytest.mark.parametrize(
    "name", ["image_ids.txt", "class_labels.txt", "image_sizes.txt", "localization.txt"]
)
def test_a_list_whose_lines_end_in_cr_alone_is_named(tmp_path, name):
    write_two(tmp_path)
    file = tmp_path / name
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r"))
    refuses(lambda: WsolEvaluation(tmp_path), file, 1, "lines that end in LF or CR LF")
