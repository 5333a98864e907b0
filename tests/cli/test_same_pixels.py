"""A recipe is measured on the pixels that it was trained on."""

from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from tests.support.odd_images import odd_images
from wsolrefine.cli.evaluate.dataset import Split
from wsolrefine.cli.evaluate.score_maps import ModelMaps
from wsolrefine.cli.train.batches import SampleIndex, TrainingImages
from wsolrefine.data import Annotation, ImageFolder, ImagePolicy, read_image
from wsolrefine.data.reader import Reader, as_boxes


def pixels(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def both(reader, index):
    trained = TrainingImages(reader, lambda image, generator: image, pixels, seed=0)
    localizer = SimpleNamespace(num_classes=1, prepare_image=pixels)
    measured = ModelMaps(localizer, 1, None, 224)
    return trained[SampleIndex(0, index)][0], measured.load(Split(reader, "test", None), index)


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
