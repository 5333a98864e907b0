"""The readers of data sets on miniature copies of the real layouts."""

import pickle
import re
import shutil
import sys
from multiprocessing.reduction import ForkingPickler

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from tests.support import miniature
from tests.support.processes import HEAVY, run_python
from wsolrefine.data import CUB, ILSVRC, Annotation, ImageFolder, OpenImages, WsolEvaluation
from wsolrefine.data.images import ImagePolicy, read_image

SCALED = ImagePolicy(orientation="stored", deep_gray="scale")


def open_cub(written, split):
    return CUB(written.root, split=split)


def open_ilsvrc(written, split):
    return ILSVRC(written.root, split=split, masks=written.masks if split == "val" else None)


def open_openimages(written, split):
    return OpenImages(written.root, metadata=written.metadata, split=split)


def open_wsolevaluation(written, split):
    return WsolEvaluation(written.metadata / split, images=written.root)


# Reader, writer, splits, folder of images, whether the annotations say the sizes.
LAYOUTS = {
    "cub": (open_cub, miniature.write_cub, "images", False),
    "ilsvrc": (open_ilsvrc, miniature.write_ilsvrc, "ILSVRC/Data/CLS-LOC", True),
    "openimages": (open_openimages, miniature.write_openimages, ".", False),
    "wsolevaluation": (open_wsolevaluation, miniature.write_wsolevaluation, ".", True),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return {name: write(tmp_path_factory.mktemp(name)) for name, (_, write, *_) in LAYOUTS.items()}


@pytest.fixture(params=LAYOUTS)
def layout(request, written):
    """A way to open a split, what was written, the folder of images, who says sizes."""
    read, _, images, sized = LAYOUTS[request.param]
    said = written[request.param]
    return lambda split: read(said, split), said, said.root / images, sized


def same(annotation, truth):
    assert isinstance(annotation, Annotation)
    assert (annotation.image_id, annotation.label) == (truth.image_id, truth.label)
    assert annotation.boxes.dtype == torch.float32
    assert annotation.boxes.shape == (len(truth.boxes), 4)
    assert annotation.boxes.tolist() == [[*map(float, box)] for box in truth.boxes]


def test_what_was_written_is_read(layout):
    read, said, images, sized = layout
    for split, truths in said.splits.items():
        dataset = read(split)
        assert isinstance(dataset, Dataset)
        assert len(dataset) == len(dataset.annotations) == len(truths)
        assert dataset.class_names == said.class_names
        assert dataset.has_masks == any(truth.mask is not None for truth in truths)
        for index, truth in enumerate(truths):
            image, annotation = dataset[index]
            same(annotation, truth)
            assert annotation is dataset.annotations[index]
            assert annotation.size == (truth.size if sized else None)
            assert dataset.image_path(index) == images / truth.image_id
            assert dataset.size(index) == image.size[::-1]
            assert truth.size in (None, dataset.size(index))
            with Image.open(images / truth.image_id) as stored:
                assert image.mode == "RGB"
                assert np.array_equal(image, stored)


def test_masks(layout):
    read, said, *_ = layout
    for split, truths in said.splits.items():
        dataset = read(split)
        for index, truth in enumerate(truths):
            assert dataset.has_mask(index) == (truth.mask is not None)
            if truth.mask is None:
                with pytest.raises(ValueError, match=f"mask: expected .* got {truth.image_id}"):
                    dataset.mask(index)
                continue
            mask = dataset.mask(index)
            assert mask.dtype == torch.uint8
            assert np.array_equal(mask, truth.mask)
            # Nearest as OpenCV takes it: the pixel that the upper left corner of the new one is in.
            height, width = truth.mask.shape
            y, x = np.arange(7) * height // 7, np.arange(11) * width // 11
            assert np.array_equal(dataset.mask(index, (7, 11)), truth.mask[np.ix_(y, x)])


def test_masks_as_stored_need_no_opencv(tmp_path, monkeypatch):
    dataset = CUB(miniature.write_cub(tmp_path).root)
    size = dataset.mask(0).shape
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert dataset.mask(0).shape == dataset.mask(0, size).shape == size
    with pytest.raises(ImportError, match="a mask of another size needs OpenCV"):
        dataset.mask(0, (3, 4))


def test_a_transform_is_applied_to_the_image(written):
    said = written["cub"]
    dataset = CUB(said.root, split="train", transform=lambda image: image.size)
    assert [image for image, _ in dataset] == [t.size[::-1] for t in said.splits["train"]]


def test_the_folder_that_holds_the_data_set_will_do(written, tmp_path):
    shutil.copytree(written["cub"].root, tmp_path / "CUB_200_2011")
    (tmp_path / "CUB_200_2011/segmentations").rename(tmp_path / "segmentations")
    expected = written["cub"].splits["test"]
    for root in (tmp_path, tmp_path / "CUB_200_2011"):
        dataset = CUB(root)
        assert np.array_equal(dataset.mask(0), expected[0].mask)
        assert len(dataset) == len(expected)
    assert not CUB(miniature.write_cub(tmp_path / "other/bare", masks=False).root).has_masks
    said = written["ilsvrc"]
    inside, outside = ILSVRC(said.root / "ILSVRC"), ILSVRC(str(said.root))
    assert [*map(str, inside.annotations)] == [*map(str, outside.annotations)]
    assert inside.class_names == outside.class_names


@pytest.fixture
def without_mapping(tmp_path):
    """All 1000 folders of training images, those of the miniature and higher ones; no mapping."""
    said = miniature.write_ilsvrc(tmp_path)
    (tmp_path / "LOC_synset_mapping.txt").unlink()
    train = tmp_path / "ILSVRC/Data/CLS-LOC/train"
    missing = set(miniature.SYNSETS) - {path.name for path in train.iterdir()}
    others = [f"n{99_000_000 + n}" for n in range(1000 - len(miniature.SYNSETS))]
    for name in (*missing, *others):
        (train / name).mkdir()
    return said, train


def test_folders_tell_the_classes_where_there_is_no_list(tmp_path, without_mapping):
    said, train = without_mapping
    for name in (".ipynb_checkpoints", ".cache"):
        (train / name).mkdir()
    (train / "a_note.txt").touch()
    dataset = ILSVRC(tmp_path)
    assert dataset.class_names[: len(miniature.SYNSETS)] == [*miniature.SYNSETS]
    for annotation, truth in zip(dataset.annotations, said.splits["val"], strict=True):
        same(annotation, truth)


def test_folders_that_are_not_all_classes_do_not_number_them(tmp_path, without_mapping):
    train = without_mapping[1]
    (train / "n99000500").rmdir()
    said = r"CLS-LOC/train: expected 1000 folders, because there is no LOC_synset_mapping\.txt in "
    with pytest.raises(ValueError, match=said + ".*, got 999$"):
        ILSVRC(tmp_path)
    (train / "a_backup").mkdir()
    with pytest.raises(ValueError, match="expected folders named by synsets, got 'a_backup'"):
        ILSVRC(tmp_path)


def test_a_mapping_of_other_things_than_synsets_is_refused(tmp_path):
    miniature.write_ilsvrc(tmp_path)
    mapping = tmp_path / "LOC_synset_mapping.txt"
    mapping.write_text("1 tench\n2 goldfish\n")
    with pytest.raises(ValueError, match=r"mapping\.txt:1: expected a synset .*, got '1'"):
        ILSVRC(tmp_path)


def test_synsets_are_numbered_in_alphabetical_order(tmp_path):
    said = miniature.write_ilsvrc(tmp_path)
    names = (tmp_path / "LOC_synset_mapping.txt").read_text().splitlines()
    (tmp_path / "LOC_synset_mapping.txt").write_text("\n".join(names[::-1]))
    dataset = ILSVRC(tmp_path)
    assert dataset.class_names == [*miniature.SYNSETS.values()]
    assert [a.label for a in dataset.annotations] == [t.label for t in said.splits["val"]]


def test_pixels_are_those_that_are_stored(tmp_path):
    miniature.write_metadata(tmp_path, [miniature.Truth("a.jpg", 0, (4, 6), [(0, 0, 6, 4)])])
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown turned by 90 degrees
    gray = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6))
    gray.save(tmp_path / "a.jpg", exif=turned)
    (image, _), *_ = WsolEvaluation(tmp_path, images=tmp_path)
    assert (image.size, image.mode) == ((6, 4), "RGB")


def save_deep(file, values, *, big_endian=False):
    """Write gray of 16 bits as PNG, PGM, or TIFF of either byte order."""
    if file.suffix == ".pgm":
        head = f"P5 {values.shape[1]} {values.shape[0]} 65535\n".encode()
        file.write_bytes(head + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values.astype(">u2" if big_endian else "<u2")).save(file)


@pytest.mark.parametrize("name", ["a.png", "a.pgm", "a.tif", "big.tif"])
def test_gray_of_16_bits_is_scaled_to_8(tmp_path, name):
    """All of the range, each value to the nearest of the 256 levels."""
    values = np.arange(65536).reshape(256, 256)
    save_deep(tmp_path / name, values, big_endian=name == "big.tif")
    image = read_image(tmp_path / name, SCALED)
    assert image.mode == "RGB"
    expected = np.rint(values / 257)[..., None].repeat(3, 2)
    assert np.array_equal(np.asarray(image), expected)
    assert expected.max() == 255


def test_gray_of_16_bits_is_turned_upright_in_folders(tmp_path):
    (tmp_path / "birds").mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    values = 257 * np.arange(24, dtype=np.uint16).reshape(4, 6)
    Image.fromarray(values).save(tmp_path / "birds/a.png", exif=turned)
    (image, _), *_ = ImageFolder(tmp_path, policy=ImagePolicy(deep_gray="scale"))
    assert np.array_equal(np.asarray(image)[..., 0], np.rot90(values // 257, -1))


def test_of_colors_of_16_bits_the_upper_8_are_read(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (4, 6, 3), np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), values[..., ::-1])
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.png", SCALED)), values >> 8)


@pytest.mark.parametrize(
    ("dtype", "mode", "suffix"),
    [(np.int32, "I", "tif"), (np.float32, "F", "tif"), (np.float32, "F", "pfm")],
)
def test_gray_whose_white_nobody_knows_is_refused(tmp_path, dtype, mode, suffix):
    file = tmp_path / f"a.{suffix}"
    Image.fromarray(np.ones((2, 3), dtype)).save(file)
    message = f"{file}: expected an image of 8 or 16 bits, got mode {mode}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        read_image(file, SCALED)


def test_lists_without_boxes_and_sizes(written, tmp_path):
    said = written["wsolevaluation"]
    shutil.copytree(said.metadata / "train", tmp_path / "train")
    (tmp_path / "train/localization.txt").unlink()
    (tmp_path / "train/image_sizes.txt").unlink()
    dataset = WsolEvaluation(tmp_path / "train", images=said.root)
    expected = said.splits["train"]
    assert [len(a.boxes) for a in dataset.annotations] == [0] * len(expected)
    assert [dataset.size(i) for i in range(len(expected))] == [t.size for t in expected]
    blind = WsolEvaluation(said.metadata / "train")
    assert blind.size(0) == expected[0].size
    with pytest.raises(ValueError, match="images: expected the folder of the images, got None"):
        blind[0]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("tail", ["", "\n\n\n"])
def test_odd_but_harmless_text(written, tmp_path, line_end, tail):
    expected = written["wsolevaluation"].splits["val"]
    miniature.write_metadata(tmp_path, expected)
    for file in tmp_path.iterdir():
        text = "\ufeff" + file.read_text().removesuffix("\n") + tail
        file.write_bytes(text.replace("\n", line_end).encode())
    for annotation, truth in zip(WsolEvaluation(tmp_path).annotations, expected, strict=True):
        same(annotation, truth)


# Masks of OpenImages ------------------------------------------------------------------------------


def write_masks(folder, files):
    """Write lists and masks; files: image id to its masks and its ignore image or None."""
    lines = []
    for image_id, (masks, ignore) in files.items():
        for number, mask in enumerate(masks):
            Image.fromarray(mask).save(folder / f"{image_id}_{number}.png")
            known = ignore is not None and number == 0
            lines.append(f"{image_id},{image_id}_{number}.png,{f'{image_id}_ig.png' * known}")
        if ignore is not None:
            Image.fromarray(ignore).save(folder / f"{image_id}_ig.png")
    miniature.write_lines(folder / "test/localization.txt", lines)
    miniature.write_lines(folder / "test/image_ids.txt", files)
    miniature.write_lines(folder / "test/class_labels.txt", [f"{name},0" for name in files])
    return OpenImages(folder, metadata=folder)


def test_golden_masks_of_wsolevaluation(golden, tmp_path):
    images = golden("wsol_masks")["image"].tolist()
    files = {str(n): (*golden("wsol_masks", str(n)).values(),) for n in images}
    dataset = write_masks(tmp_path, files)
    for index, image in enumerate(images):
        mask = dataset.mask(index, size=(224, 224))
        expected = golden("wsol_mask_evaluator")["gt_mask224"][image]
        assert len(np.unique(expected)) == 3
        assert np.array_equal(mask, expected)


def test_any_gray_above_0_is_object_and_object_is_not_ignored(tmp_path):
    one = np.array([[0, 1, 0, 0]], dtype=np.uint8)
    other = np.array([[0, 0, 200, 0]], dtype=np.uint8)
    ignore = np.array([[1, 1, 1, 0]], dtype=np.uint8)
    dataset = write_masks(tmp_path, {"a": ([one, other], ignore), "b": ([other, one], None)})
    assert dataset.mask(0).tolist() == [[255, 1, 1, 0]]
    assert dataset.mask(1).tolist() == [[0, 1, 1, 0]]


def test_files_of_one_image_may_differ_in_size(tmp_path):
    large, small = np.zeros((4, 6), dtype=np.uint8), np.array([[0, 255]], dtype=np.uint8)
    large[0] = 255
    dataset = write_masks(tmp_path, {"a": ([large], small), "b": ([small, large], None)})
    assert dataset.mask(0).tolist() == [[1] * 6, *[[0] * 3 + [255] * 3] * 3]
    assert dataset.mask(1).tolist() == [[1, 1]]
    # Each file is resized by itself: with small masks enlarged first, the order would show.
    assert dataset.mask(1, (2, 4)).tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]]


# Properties ---------------------------------------------------------------------------------------

NAMES = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=",/\\:\ufeff"),
    min_size=1,
    max_size=8,
).filter(lambda name: name not in (".", ".."))
IDS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@st.composite
def truths(draw, boxes):
    """Images of any names, sizes and boxes; no pixels."""
    found = []
    for image_id in draw(st.lists(IDS, unique=True, max_size=5)):
        height, width = draw(st.integers(1, 5000)), draw(st.integers(1, 5000))
        drawn = []
        for _ in range(draw(st.integers(*boxes))):
            x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
            drawn.append(
                (x0, y0, draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height)))
            )
        label = draw(st.integers(0, 999))
        found.append(miniature.Truth(image_id, label, (height, width), drawn))
    return found


@given(truths(boxes=(1, 3)), st.randoms(use_true_random=False))
def test_lists_of_wsolevaluation_are_read_back(tmp_path_factory, expected, random):
    folder = tmp_path_factory.mktemp("lists")
    miniature.write_metadata(folder, expected)
    file = folder / "class_labels.txt"  # only the order of image_ids.txt counts
    lines = file.read_text("utf-8").split("\n")[:-1]
    random.shuffle(lines)
    miniature.write_lines(file, lines)
    dataset = WsolEvaluation(folder)
    assert dataset.class_names is None
    for annotation, truth in zip(dataset.annotations, expected, strict=True):
        same(annotation, truth)
        assert annotation.size == truth.size


@given(truths(boxes=(1, 1)), st.data())
def test_lists_of_cub_are_read_back(tmp_path_factory, expected, data):
    folder = tmp_path_factory.mktemp("cub")
    names = [f"{n:03d}.Bird of {n}" for n in range(1000)]
    numbers = data.draw(st.permutations([*range(1, len(expected) + 1)]))
    training = data.draw(st.lists(st.booleans(), min_size=len(expected), max_size=len(expected)))
    rows = [*zip(numbers, expected, training, strict=True)]
    miniature.write_lines(
        folder / "classes.txt", [f"{n} {name}" for n, name in enumerate(names, 1)]
    )
    miniature.write_lines(folder / "images.txt", [f"{n} {t.image_id}" for n, t, _ in rows])
    lines = [f"{n} {t.label + 1}" for n, t, _ in sorted(rows)]
    miniature.write_lines(folder / "image_class_labels.txt", lines)
    miniature.write_lines(folder / "train_test_split.txt", [f"{n} {int(k)}" for n, _, k in rows])
    lines = [
        f"{n} {x0}.0 {y0}.0 {x1 - x0}.0 {y1 - y0}.0"
        for n, t, _ in rows
        for x0, y0, x1, y1 in t.boxes
    ]
    miniature.write_lines(folder / "bounding_boxes.txt", lines)
    for split, wanted in {"all": (True, False), "train": (True,), "test": (False,)}.items():
        dataset = CUB(folder, split=split)
        assert dataset.class_names == names
        kept = [truth for _, truth, train in rows if train in wanted]
        for annotation, truth in zip(dataset.annotations, kept, strict=True):
            same(annotation, truth)


# Workers and imports ------------------------------------------------------------------------------


def as_array(image):
    return torch.from_numpy(np.array(image))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_workers_load_the_same(written):
    said = written["cub"]
    dataset = CUB(said.root, split="all", transform=as_array)
    loader = DataLoader(dataset, batch_size=3, num_workers=2, collate_fn=list)
    loaded = [pair for batch in loader for pair in batch]
    for (image, annotation), truth in zip(loaded, said.splits["all"], strict=True):
        same(annotation, truth)
        assert image.shape == (*truth.size, 3)


def test_a_pickled_data_set_holds_no_tensors(layout):
    # Spawned workers get it pickled, and torch opens a file for each tensor: there are thousands.
    read, said, *_ = layout
    for split, truths in said.splits.items():
        dataset = read(split)
        pickled = bytes(ForkingPickler.dumps(dataset))
        assert b"torch.multiprocessing" not in pickled
        assert b"rebuild_tensor" not in pickled
        copy = pickle.loads(pickled)
        for index, truth in enumerate(truths):
            same(copy.annotations[index], truth)
            assert copy.image_path(index) == dataset.image_path(index)
            assert copy.annotations[index].size == dataset.annotations[index].size
            if dataset.has_mask(index):
                assert torch.equal(copy.mask(index), dataset.mask(index))


def test_annotations_need_neither_pillow_nor_opencv(tmp_path, written):
    (tmp_path / "PIL.py").write_text("raise ImportError('no Pillow here')")
    code = f"""
import torch
def loaded():
    return set(m.partition('.')[0] for m in sys.modules)
before = loaded()
from wsolrefine.data import CUB
dataset = CUB({str(written["cub"].root)!r})
print(len(dataset), *(loaded() - before))
try:
    dataset[0]
except ImportError as error:
    print(error)
"""
    printed, error = run_python(code, tmp_path).splitlines()
    count, *modules = printed.split()
    assert int(count) == len(written["cub"].splits["test"])
    assert HEAVY.isdisjoint(modules)
    assert error == "no Pillow here"
