"""Score maps in files: names, precision, and what is said of files that hold none."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.test_broken import CLIMBING
from wsolrefine.data import ScoreMaps

MAP = np.random.default_rng(0).random((5, 7))


def save(path, values=MAP):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values, allow_pickle=True)
    else:
        Image.fromarray(values).save(path)


@pytest.mark.parametrize(
    "dtype", ["<f8", "<f4", ">f4", "<f2", "uint8", "int64", "bool", "longdouble"]
)
def test_arrays_keep_their_values(tmp_path, dtype):
    stored = (200 * MAP).astype(dtype)
    save(tmp_path / "a/b.jpg.npy", stored)
    found = ScoreMaps(tmp_path).maps("a/b.jpg")
    assert found.dtype == torch.float64
    assert np.array_equal(found, stored.astype(np.float64))


def test_arrays_in_columns(tmp_path):
    save(tmp_path / "a.npy", np.asfortranarray(MAP))
    assert np.array_equal(ScoreMaps(tmp_path).maps("a"), MAP)


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535)])
def test_png(tmp_path, dtype, largest):
    stored = (largest * MAP).astype(dtype)
    stored[0, :2] = 0, largest
    save(tmp_path / "a.png", stored)
    found = ScoreMaps(tmp_path).maps("a.jpg")
    assert found.dtype == torch.float64
    assert np.array_equal(found, stored / largest)
    assert (found[0, 0], found[0, 1]) == (0, 1)


def test_png_of_one_bit(tmp_path):
    Image.fromarray(MAP > 0.5).save(tmp_path / "a.png")
    assert np.array_equal(ScoreMaps(tmp_path).maps("a.jpg"), MAP > 0.5)


def test_the_order_of_names(tmp_path):
    names = ["wren.jpg.npy", "wren.npy", "wren.jpg.png", "wren.png"]
    for number, name in enumerate(names):
        values = np.full((1, 1), number * 51)
        save(tmp_path / "birds" / name, values / 255 if "npy" in name else values.astype(np.uint8))
    maps = ScoreMaps(str(tmp_path))
    for number, name in enumerate(names):
        assert maps.maps("birds/wren.jpg").item() == number * 51 / 255
        (tmp_path / "birds" / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"birds/wren\.jpg\.npy: expected a score map"):
        maps.maps("birds/wren.jpg")


def test_only_suffixes_of_images_are_taken_off(tmp_path):
    save(tmp_path / "frame.npy")
    maps = ScoreMaps(tmp_path)
    assert maps.maps("frame.JPEG").shape == (5, 7)
    for name in ("frame.1", "frame.2"):
        with pytest.raises(FileNotFoundError, match=re.escape(name)):
            maps.maps(name)


@pytest.mark.parametrize("image_id", ["", *CLIMBING])
def test_ids_stay_in_the_folder(tmp_path, image_id):
    save(tmp_path / "a.npy")
    save(tmp_path / "maps/b.npy")
    said = f"image_id: expected a path that stays below its folder, got {image_id!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        ScoreMaps(tmp_path / "maps").maps(image_id)


def test_a_folder_that_there_is_not(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^folder: expected a folder, got .*nowhere$"):
        ScoreMaps(tmp_path / "nowhere")


class Unpickled:
    def __reduce__(self):
        return pytest.fail, ("a file was allowed to run code",)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros(3), r"got shape \(3,\)"),
        (np.zeros((1, 3, 4)), r"got shape \(1, 3, 4\)"),
        (np.zeros((0, 4)), r"got shape \(0, 4\)"),
        (np.zeros((2, 2), dtype=complex), "got dtype complex128"),
        (np.array([["a"]]), "got dtype <U1"),
        (np.array([[Unpickled()]]), "got Object arrays cannot be loaded"),
    ],
)
def test_arrays_that_are_no_maps(tmp_path, values, said):
    save(tmp_path / "a.npy", values)
    file = re.escape(str(tmp_path / "a.npy"))
    with pytest.raises(
        ValueError, match=rf"^{file}: expected an array of numbers \(H, W\), {said}"
    ):
        ScoreMaps(tmp_path).maps("a.jpg")


@pytest.mark.parametrize("content", [b"", b"no array", b"PK\x03\x04 no zip", b"\x93NUMPY\x01\x00"])
def test_files_that_are_no_arrays(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'a.npy'}: expected an array")):
        ScoreMaps(tmp_path).maps("a.jpg")


def test_an_archive_is_no_array(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.savez(file, map=MAP)
    with pytest.raises(ValueError, match="got an archive of arrays"):
        ScoreMaps(tmp_path).maps("a.jpg")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_a_png_in_color(tmp_path, mode):
    Image.new(mode, (4, 3)).save(tmp_path / "a.png")
    said = f"{tmp_path / 'a.png'}: expected a gray PNG of 8 or 16 bits, got PNG of mode {mode}"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        ScoreMaps(tmp_path).maps("a.jpg")


def test_files_that_are_no_png(tmp_path):
    Image.new("L", (4, 3)).save(tmp_path / "a.png", "jpeg")  # lossy: no scores to be read from
    with pytest.raises(ValueError, match="expected a gray PNG of 8 or 16 bits, got JPEG of mode L"):
        ScoreMaps(tmp_path).maps("a.jpg")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ValueError, match=r"a\.png: expected a gray PNG of 8 or 16 bits, got "):
        ScoreMaps(tmp_path).maps("a.jpg")
