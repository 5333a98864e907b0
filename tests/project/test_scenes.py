"""Composite scenes, on tiny stand-ins for the photographs of the packages."""

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.scenes import BACKGROUNDS, SPLITS, Scenes, Sources, load_sources, packages, split_of

NAMES = [f"{a}{b}" for a in ("ant", "bee", "cat", "dog", "emu", "fox") for b in ("x", "y", "z")]


def write_stamp(path, *, opaque=0.5, size=(40, 30)):
    """Write a red cut-out whose left part is opaque."""
    pixels = np.zeros((size[1], size[0], 4), np.uint8)
    pixels[:, : round(size[0] * opaque)] = (250, 0, 0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_packages(folder):
    """Write what the benchmarks take from the packages, in tiny."""
    stamps = folder / "usr/share/tuxpaint/stamps"
    for name in NAMES:
        write_stamp(stamps / "animals/small" / f"{name}.png")
    for name, opaque in (("thin", 0.05), ("full", 1.0)):
        write_stamp(stamps / "food" / f"{name}.png", opaque=opaque)
    for name in (
        "food/pear.png",
        "food/cartoon/plum.png",
        "food/pear_mirror.png",
        "symbols/letter.png",
        "food/pizza.png",
    ):
        write_stamp(stamps / name)
    for place, names in BACKGROUNDS.items():
        for i, name in enumerate(names.split()):
            path = folder / "usr/share/backgrounds" / place / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (90, 60), (0, 9 * i, 200)).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    write_packages(folder)
    return folder


@pytest.fixture(scope="module")
def sources(folder):
    return load_sources(folder)


def test_only_photographs_of_objects_are_taken(sources):
    assert {path.stem for path in sources.stamps} == {*NAMES, "pear"}
    assert len(sources.backgrounds) == sum(len(names.split()) for names in BACKGROUNDS.values())


def test_splits_share_nothing_and_lose_nothing(sources):
    for files in sources[:2]:
        parts = [split_of(files, split) for split in SPLITS]
        assert all(parts)
        assert sorted(path for part in parts for path in part) == sorted(files)


def test_what_shows_the_same_stays_together(tmp_path):
    names = ["pig", "pig_golden", "pig-2", "pig3", *NAMES]
    files = [tmp_path / f"{name}.png" for name in names]
    owner = {path.stem: split for split in SPLITS for path in split_of(files, split)}
    assert len({owner[name] for name in names[:4]}) == 1
    for split in SPLITS:  # in whatever order the files are listed
        assert {*split_of(files, split)} == {*split_of(files[::-1], split)}


def test_a_scene_depends_on_its_number_split_and_seed_alone(sources):
    few, many = Scenes(sources, "train", 3, size=64), Scenes(sources, "train", 50, size=64)
    for i in range(3):
        assert np.array_equal(few[i].image, many[i].image)
        assert torch.equal(few[i].mask, many[i].mask)
    other = Scenes(sources, "train", 3, seed=1, size=64)
    assert any(not torch.equal(few[i].mask, other[i].mask) for i in range(3))


@pytest.mark.parametrize("split", SPLITS)
def test_mask_and_box_are_exact(sources, split):
    scenes = Scenes(sources, split, 12, size=100)
    for i in range(len(scenes)):
        scene = scenes[i]
        assert scene.image.shape == scene.plain.shape == (100, 100, 3)
        # Red is the object alone: backgrounds have none, gray has 128.
        inside = torch.from_numpy(scene.image[..., 0] > 125)
        assert torch.equal(inside, scene.mask)
        assert torch.equal(torch.from_numpy(scene.plain[..., 1] < 64), scene.mask)
        y, x = scene.mask.nonzero(as_tuple=True)
        assert scene.box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
        longer = (scene.box[2:] - scene.box[:2]).max()
        assert 34 <= longer <= 81
        assert scene.class_name in ("animals", "food")
        assert scene.stamp in {path.stem for path in split_of(sources.stamps, split)}
        assert scene.background in {path.stem for path in split_of(sources.backgrounds, split)}


def test_as_many_scenes_as_cut_outs_unless_told(sources):
    scenes = Scenes(sources, "test")
    assert len(scenes) == len(split_of(sources.stamps, "test"))
    with pytest.raises(IndexError, match="index: expected 0 to"):
        scenes[len(scenes)]


def test_what_is_missing_is_said(tmp_path, folder, monkeypatch):
    with pytest.raises(
        ValueError, match="split: expected one of train, validation, test, got 'val'"
    ):
        Scenes(Sources([], [], tmp_path), "val")
    with pytest.raises(FileNotFoundError, match="expected usr/share/tuxpaint/stamps"):
        load_sources(tmp_path)
    write_stamp(tmp_path / "usr/share/tuxpaint/stamps/food/pear.png")
    with pytest.raises(FileNotFoundError, match=r"Aqua\.jpg"):
        load_sources(tmp_path)


def test_without_apt_the_advice_is_to_name_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(packages.shutil, "which", lambda program: None)
    with pytest.raises(RuntimeError, match=r"apt-get is not installed.*--folder"):
        packages.unpacked()
    assert not packages.cache_folder().exists()


def test_packages_are_fetched_once_and_never_half(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls = []

    def fetch(folder):
        calls.append(folder)
        (folder / "unpacked").mkdir()
        if len(calls) == 1:
            raise RuntimeError("the line broke")

    monkeypatch.setattr(packages, "_fetch", fetch)
    with pytest.raises(RuntimeError, match="the line broke"):
        packages.unpacked()
    assert packages.unpacked() == packages.unpacked() == packages.cache_folder()
    assert len(calls) == 2
    assert [path.name for path in packages.cache_folder().parent.iterdir()] == ["scenes"]
