"""Layers of every layout of maps and tokens, on small networks with the structure of the known ones."""

import pytest
import torch

from tests.activation.test_architectures import check_local
from tests.support import zoo
from tests.support.zoo import seeded
from wsolrefine import class_activation, find_layers, find_stages
from wsolrefine.activation.layers import Layers

LAYOUTS = {
    zoo.SwinV2: (
        (("layers.1", "layers.2"), "norm", "head.fc"),
        ("layers.0", "layers.1", "layers.2", "norm"),
    ),
    # Behind the patches, all tokens are in another order.
    zoo.Hiera: ((("patch_embed",), "patch_embed", None), ("patch_embed",)),
    zoo.EfficientFormer: (
        (("stages.1", "stages.2"), "norm", "head"),
        ("stem.1", "stages.0", "stages.1", "stages.2", "norm"),
    ),
    zoo.DaViT: (
        (("stages.0", "stages.1"), "norm_pre", "head"),
        ("stem", "stages.0", "stages.1", "norm_pre"),
    ),
    zoo.PVT: ((("stages.0", "stages.1"), "stages", "head"), ("stages.0", "stages.1", "stages")),
    zoo.ConvNeXt: (
        (("stages.1", "stages.2"), "stages", None),
        ("stages.0", "stages.1", "stages.2", "stages"),
    ),
    zoo.EfficientNet: (
        (("blocks.1", "blocks.2"), "bn2", "classifier"),
        ("blocks.0", "blocks.1", "blocks.2", "bn2"),
    ),
    zoo.ForImageClassification: (
        (
            ("convnext.encoder.stages.1", "convnext.encoder.stages.2"),
            "convnext.encoder.stages.3",
            None,
        ),
        (*(f"convnext.encoder.stages.{i}" for i in range(3)), "convnext"),
    ),
    # The steps of the stem are no features, although they are ends of stages.
    zoo.ConvStem: (
        (("norm",), "norm", "head"),
        *[(*(f"patch_embed.{i}" for i in range(3)), "norm")],
    ),
    zoo.Beit: ((("beit",), "beit.blocks", None), ("beit",)),
    zoo.PVTv2: (
        (("layers.1", "layers.2"), "layers.3", "classifier"),
        tuple(f"layers.{i}" for i in range(4)),
    ),
    zoo.Distilled: ((("norm",), "blocks.2.norm1", None), ("norm",)),
}
AT_128 = {
    # The second stage has 16 x 16 cells and 16 channels: it cannot be told which come last.
    zoo.SwinV2: (
        (("layers.0", "layers.2"), "norm", "head.fc"),
        ("layers.0", "layers.2", "norm"),
    )
}


@pytest.mark.parametrize("size", [(128, 128), (192, 256)])
@pytest.mark.parametrize("make", LAYOUTS, ids=lambda make: make.__name__)
def test_layouts(make, size):
    options = {"image_size": size} if issubclass(make, (zoo.ViT, zoo.Beit)) else {}
    model = seeded(make, **options)
    images = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    expected, stages = AT_128.get(make, LAYOUTS[make]) if size == (128, 128) else LAYOUTS[make]
    layers = find_layers(model, images)
    assert layers == Layers(*expected)
    assert find_stages(model, images) == stages
    for name in {*layers.features, layers.cam}:
        check_local(model, images, name, size)
    cam = class_activation(model, images, top=3, layers=layers).cam
    assert cam.any()
    assert abs(cam.shape[2] * size[1] - cam.shape[3] * size[0]) < max(size)
