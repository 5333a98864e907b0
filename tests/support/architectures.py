"""Architectures of timm, torchvision and transformers, built small and with random weights."""

import contextlib
import importlib

import torch

from tests.support.zoo import seeded

CLASSES = 10


def _import_torchvision():
    """Import torchvision, also where its operators were built for another torch: models need none.

    timm and transformers import it too, so that this comes before them.
    """
    try:
        import torchvision
    except RuntimeError:  # operator torchvision::nms does not exist
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        _KEPT.append(library)  # the operators go with it
        import torchvision
    return torchvision


_KEPT = []


def _timm(name, size, options):
    import timm

    return timm.create_model(name, num_classes=CLASSES, **options), size


def _torchvision(name, size, options):
    return _import_torchvision().models.get_model(
        name, weights=None, num_classes=CLASSES, **options
    ), size


def _transformers(name, size, options):
    import transformers

    config = getattr(transformers, f"{name}Config")(num_labels=CLASSES, **options)
    return getattr(transformers, f"{name}ForImageClassification")(config), size


_LIBRARIES = {"timm": _timm, "torchvision": _torchvision, "transformers": _transformers}
_TINY = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3}
_TINY_96 = {**_TINY, "intermediate_size": 96, "image_size": 96}
_FOUR = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]}
_SWIN = {"embed_dim": 24, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 4, 8]}
_HEADS = {**_FOUR, "num_attention_heads": [1, 2, 4, 8]}

# Name, size of the images, options of the constructor.
BUILDERS = {
    "torchvision:resnet18": ((160, 224), {}),
    "torchvision:vgg11": ((128, 128), {}),
    "torchvision:alexnet": ((224, 224), {}),
    "torchvision:mobilenet_v2": ((160, 224), {}),
    "torchvision:mobilenet_v3_small": ((160, 224), {}),
    "torchvision:densenet121": ((128, 192), {}),
    "torchvision:googlenet": ((160, 224), {"init_weights": False}),
    "torchvision:shufflenet_v2_x0_5": ((160, 224), {}),
    "torchvision:squeezenet1_1": ((160, 224), {}),
    "torchvision:regnet_y_400mf": ((160, 224), {}),
    "torchvision:efficientnet_b0": ((224, 224), {}),
    "torchvision:convnext_tiny": ((96, 128), {}),
    "torchvision:swin_t": ((128, 160), {}),
    "torchvision:swin_v2_t": ((128, 128), {}),
    "timm:resnet18": ((160, 224), {}),
    "timm:resnest14d": ((128, 128), {}),
    "timm:efficientnet_b0": ((128, 128), {}),
    "timm:mobilenetv4_conv_small": ((128, 128), {}),
    "timm:convnext_atto": ((128, 192), {}),
    "timm:convnextv2_atto": ((128, 192), {}),
    "timm:edgenext_xx_small": ((128, 128), {}),
    "timm:davit_tiny": ((128, 128), {"depths": (1, 1, 1, 1)}),
    "timm:pvt_v2_b0": ((128, 128), {}),
    "timm:swin_tiny_patch4_window7_224": ((128, 128), {"img_size": 128}),
    "timm:swinv2_tiny_window8_256": ((128, 128), {"img_size": 128}),
    "timm:poolformer_s12": ((128, 192), {}),
    "timm:efficientformer_l1": ((224, 224), {}),
    "timm:xcit_nano_12_p16_224": ((96, 96), {"img_size": 96, "depth": 4}),
    "timm:levit_128s": ((224, 224), {}),
    "timm:visformer_tiny": ((224, 224), {}),
    "timm:vit_tiny_patch16_224": ((96, 128), {"img_size": (96, 128), "depth": 3}),
    "timm:deit_tiny_distilled_patch16_224": ((96, 96), {"img_size": 96, "depth": 3}),
    "timm:vit_small_patch14_reg4_dinov2": ((112, 112), {"img_size": 112, "depth": 3}),
    "timm:regnety_002": ((160, 224), {}),
    "timm:ghostnet_050": ((160, 224), {}),
    "timm:xception41": ((128, 128), {}),
    "transformers:ConvNext": ((128, 192), _FOUR),
    "transformers:ConvNextV2": ((128, 192), _FOUR),
    "transformers:Beit": ((96, 96), _TINY_96),
    "transformers:ViT": ((96, 96), _TINY_96),
    "transformers:DeiT": ((96, 96), _TINY_96),
    "transformers:Dinov2": ((98, 98), {**_TINY, "image_size": 98, "patch_size": 14}),
    "transformers:Swin": ((224, 224), _SWIN),
    "transformers:Swinv2": ((128, 128), {**_SWIN, "image_size": 128, "window_size": 4}),
    "transformers:ResNet": ((128, 192), {**_FOUR, "embedding_size": 16, "layer_type": "basic"}),
    "transformers:RegNet": ((128, 192), {**_FOUR, "embedding_size": 16, "groups_width": 8}),
    "transformers:MobileNetV2": ((128, 192), {"depth_multiplier": 0.35}),
    "transformers:Segformer": ((128, 128), _FOUR),
    "transformers:PvtV2": ((128, 128), _HEADS),
    "transformers:PoolFormer": ((128, 192), _FOUR),
    "transformers:FocalNet": ((128, 128), {"embed_dim": 24, "depths": [1, 1, 2, 1]}),
}


def can_build(spec):
    """Return whether the architecture's library can be imported."""
    with contextlib.suppress(ImportError):
        _import_torchvision()
    try:
        importlib.import_module(spec.split(":")[0])
    except ImportError:
        return False
    return True


def build(spec):
    """Return the architecture in evaluation mode, and the size of its images."""
    library, name = spec.split(":")
    size, options = BUILDERS[spec]
    model = seeded(lambda: torch.nn.ModuleList([_LIBRARIES[library](name, size, options)[0]]))
    return model[0], size
