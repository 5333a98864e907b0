"""A recipe is measured, and refines, on the pixels that it was trained on."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cli.test_evaluate import write_lists
from tests.cli.test_wrong_values import MODEL
from tests.data.test_opened import POSTSCRIPT, programs  # noqa: F401
from tests.support.command import run_command
from tests.support.odd_images import odd_images
from tests.support.training import TINY, folder_of, one_thread  # noqa: F401
from wsolrefine.cli.evaluate.dataset import Split
from wsolrefine.cli.evaluate.score_maps import ModelMaps
from wsolrefine.cli.refine.inputs import Found
from wsolrefine.cli.refine.reading import Plan, load
from wsolrefine.cli.train.batches import SampleIndex, TrainingImages
from wsolrefine.data import Annotation, ImageFolder, ImagePolicy, read_image
from wsolrefine.data.images import AS_STORED, UPRIGHT
from wsolrefine.data.reader import Reader, as_boxes


def pixels(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def both(reader, index):
    trained = TrainingImages(reader, lambda image, generator: image, pixels, seed=0)
    localizer = SimpleNamespace(num_classes=1, class_names=None, regions=True, prepare_image=pixels)
    split = Split(reader, "test", None)
    measured = ModelMaps(localizer, split, None, 224)
    return trained[SampleIndex(0, index)][0], measured.load(split, index)


def refined(path):
    """Return what ``refine`` hands to the model."""
    localizer = SimpleNamespace(prepare_image=pixels, preprocess=None)
    return load(Plan(localizer, 1, path.parent), Found(path, path.name, path.stem)).pixels


def test_refine_train_and_evaluate_read_alike(tmp_path):
    names = odd_images(tmp_path)
    annotations = [Annotation(name, 0, None, as_boxes([])) for name in names]
    reader = Reader(tmp_path, annotations, ["object"], None, policy=UPRIGHT)
    for index, name in enumerate(names):
        found = [*both(reader, index), refined(tmp_path / name)]
        assert all(torch.equal(found[0], other) for other in found), name


@pytest.mark.parametrize("command", ["refine", "train", "evaluate", "size"])
def test_what_is_turned_is_turned_in_every_command_and_format(tmp_path, command):
    """Pillow turns TIFF by itself, also where pixels are asked for as they are stored."""
    names = [name for name in odd_images(tmp_path) if name.startswith("turned")]
    annotations = [Annotation(name, 0, None, as_boxes([])) for name in names]
    assert len(names) == 5
    for policy, shape in ((UPRIGHT, (3, 60, 40)), (AS_STORED, (3, 40, 60))):
        reader = Reader(tmp_path, annotations, ["object"], None, policy=policy)
        for index, name in enumerate(names):
            if command == "refine":
                assert refined(tmp_path / name).shape == (3, 60, 40), name
            elif command == "size":
                assert (3, *reader.size(index)) == shape, name
            else:
                assert both(reader, index)[command == "evaluate"].shape == shape, name


def test_train_and_evaluate_read_a_data_set_alike(tmp_path):
    names = odd_images(tmp_path)
    annotations = [Annotation(name, 0, None, as_boxes([])) for name in names]
    for policy in (ImagePolicy(), ImagePolicy(orientation="stored", background=(0, 0, 0))):
        reader = Reader(tmp_path, annotations, ["object"], None, policy=policy)
        for index, name in enumerate(names):
            trained, measured = both(reader, index)
            assert torch.equal(trained, measured), name
            assert torch.equal(trained, pixels(read_image(tmp_path / name, policy))), name
            assert tuple(trained.shape[1:]) == reader.size(index), name


def test_a_folder_without_boxes_is_upright_and_a_data_set_as_stored(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    (tmp_path / "birds").mkdir()
    Image.new("RGB", (60, 40)).save(tmp_path / "birds/wren.jpg", exif=turned)
    folder = ImageFolder(tmp_path)
    assert both(folder, 0)[0].shape == (3, 60, 40)
    reader = Reader(tmp_path, folder.annotations, ["birds"], None)
    assert both(reader, 0)[0].shape == (3, 40, 60)
    assert str(reader.policy) != str(folder.policy)


def test_postscript_reaches_no_program_in_any_command(tmp_path, programs, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    folder = folder_of(tmp_path / "classes")
    (folder / "a/photo.jpg").write_bytes(POSTSCRIPT)
    write_lists(tmp_path / "lists", {"a/photo.jpg": (0, (8, 8), [(1, 1, 5, 5)])})
    lists = ["-d", "wsolevaluation", "--metadata", "lists", "--root", "classes"]
    for arguments in (
        ["refine", "classes", "--model", MODEL],
        ["evaluate", *lists, "--model", MODEL, "--size", "9"],
        ["train", "csoa", "-d", "folder", "--root", "classes", *TINY, "--epochs", 1],
    ):
        said = run_command(*arguments, "--out", "out", code=1)
        assert "photo.jpg: expected an image, got another kind of file" in said
        assert not programs
        shutil.rmtree("out")
