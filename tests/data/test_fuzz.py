"""Files of every kind, damaged at random: a valid result, or an error that names the file."""

import io
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support import miniature
from tests.support.photographs import FOLDER
from wsolrefine._files import read_json
from wsolrefine.data import ILSVRC, ImagePolicy, ScoreMaps, WsolEvaluation, read_image
from wsolrefine.data._masks import read_gray
from wsolrefine.data.images import image_size


def images():
    """Return a small valid file of every kind, by name."""
    rng = np.random.default_rng(0)
    with Image.open(FOLDER / "coffee.png") as coffee:
        photo = coffee.convert("RGB").resize((24, 16))
    deep = rng.integers(0, 2**16, (16, 24), dtype=np.uint16)
    alpha = photo.convert("RGBA")
    alpha.putalpha(100)
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = {"save_all": True, "append_images": [photo.rotate(90)]}
    saved = {
        "rgb.jpg": (photo, {"exif": exif}),
        "progressive.jpg": (photo.convert("CMYK"), {"progressive": True}),
        "alpha.png": (alpha, {"exif": exif}),
        "palette.png": (photo.quantize(7), {"transparency": 2}),
        "deep.png": (Image.fromarray(deep), {}),
        "frames.png": (photo, frames),
        "frames.gif": (photo, frames),
        "frames.webp": (photo, frames),
        "frames.tif": (photo, frames),
        "turned.tif": (photo, {"exif": exif}),
        "float.tif": (Image.fromarray(deep.astype(np.float32)), {}),
        "packed.tif": (photo, {"compression": "tiff_adobe_deflate"}),
        "rgb.bmp": (photo, {}),
        "rgb.tga": (photo, {"compression": "tga_rle"}),
        "rgb.ppm": (photo, {}),
        "float.pfm": (Image.fromarray(deep.astype(np.float32)), {}),
    }
    files = {}
    for name, (image, options) in saved.items():
        data = io.BytesIO()
        image.save(data, Image.registered_extensions()[f".{name.rpartition('.')[2]}"], **options)
        files[name] = data.getvalue()
    return files


IMAGES = images()
INTERESTING = st.sampled_from([b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\0\0\0\0"])


@st.composite
def damaged(draw, content):
    """Cut a file short, overwrite, insert and drop bytes, mostly near its head."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        near = draw(st.integers(0, min(len(content), 80)) | st.integers(0, len(content)))
        kind = draw(st.sampled_from(["cut", "put", "flip", "insert", "drop"]))
        if kind == "cut":
            del content[near:]
        elif kind == "put":
            part = draw(INTERESTING | st.binary(max_size=8))
            content[near : near + len(part)] = part
        elif kind == "flip" and near < len(content):
            content[near] ^= 1 << draw(st.integers(0, 7))
        elif kind == "insert":
            content[near:near] = draw(INTERESTING | st.binary(max_size=40))
        else:
            del content[near : near + draw(st.integers(1, 40))]
    return bytes(content)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def attempt(read, path):
    """Return what is read, or None for an error that names the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read(path)
        except (OSError, ValueError) as error:
            said = str(error)
    assert str(path) in said
    return None


@given(data=st.data(), name=st.sampled_from(sorted(IMAGES)), other=st.sampled_from(sorted(IMAGES)))
def test_images(folder, data, name, other):
    path = folder / other  # the suffix is that of any kind
    path.write_bytes(data.draw(damaged(IMAGES[name])))
    for policy in (ImagePolicy(), ImagePolicy(orientation="stored", deep_gray="scale")):
        image = attempt(lambda path, policy=policy: read_image(path, policy), path)
        size = attempt(lambda path, policy=policy: image_size(path, policy), path)
        if image is not None:
            assert image.mode == "RGB"
            assert size == (image.height, image.width)
            assert np.asarray(image).shape == (*size, 3)
    gray = attempt(read_gray, path)
    assert gray is None or (gray.dtype == np.uint8 and gray.ndim == 2)


@given(data=st.data(), name=st.sampled_from(sorted(IMAGES)))
def test_the_undamaged_files_are_read(folder, data, name):
    path = folder / data.draw(st.sampled_from(sorted(IMAGES)))
    path.write_bytes(IMAGES[name])
    assert read_image(path).size in ((24, 16), (16, 24))


def array():
    data = io.BytesIO()
    np.save(data, np.linspace(0, 1, 12).reshape(3, 4))
    return data.getvalue()


@given(content=damaged(array()))
def test_score_maps(folder, content):
    (folder / "a.npy").write_bytes(content)
    found = attempt(lambda _: ScoreMaps(folder).maps("a.jpg"), folder / "a.npy")
    assert found is None or (found.ndim == 2 and found.numel())


@given(content=damaged(b'{"images": [{"id": 1, "size": [3, 4.5]}], "more": {"a": null}}'))
def test_json(folder, content):
    (folder / "run.json").write_bytes(content)
    attempt(read_json, folder / "run.json")


XML = miniature.annotation_xml("a", (20, 30), [("n01440764", (1, 2, 9, 9))]).encode()


@given(content=damaged(XML))
def test_xml(folder, content):
    root = folder / "ilsvrc"
    if not root.exists():
        miniature.write_ilsvrc(root, count=1)
    path = root / "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000001.xml"
    path.write_bytes(content)
    found = attempt(lambda _: ILSVRC(root).annotations[0], path)
    assert found is None or found.boxes.isfinite().all()


LISTS = {
    "image_ids.txt": b"a.jpg\nb.jpg\n",
    "class_labels.txt": b"a.jpg,0\nb.jpg,1\n",
    "image_sizes.txt": b"a.jpg,30,20\nb.jpg,30,20\n",
    "localization.txt": b"a.jpg,1,2,9,9\nb.jpg,0,0,29,19\n",
}


@given(data=st.data(), name=st.sampled_from(sorted(LISTS)))
def test_lists(folder, data, name):
    lists = folder / "lists"
    lists.mkdir(exist_ok=True)
    for other, content in LISTS.items():
        (lists / other).write_bytes(content)
    (lists / name).write_bytes(data.draw(damaged(LISTS[name])))
    for annotation in attempt(lambda folder: WsolEvaluation(folder).annotations, lists) or ():
        assert annotation.label >= 0
        assert min(annotation.size) > 0
        assert (annotation.boxes[:, 2:] > annotation.boxes[:, :2]).all()
