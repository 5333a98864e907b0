"""The recipes, small enough to be trained in a test."""

import warnings
from contextlib import contextmanager
from dataclasses import fields

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.support.backbones import BACKBONES, SIDE, objects
from tests.support.zoo import seeded
from wsolrefine import Localizer, recipes
from wsolrefine.nn import stage_channels

CLASSES = 2
SMALL = {
    "Spa": {"width": 8, "epochs": 2, "warmup_epochs": 1},
    "Ornet": {"width": 8, "head_epochs": 1, "generator_epochs": 1, "refinement_epochs": 1},
    "Csoa": {"width": 8, "epochs": 2},
    "SemEdges": {"width": 8, "edge_size": (16, 16), "classifier_epochs": 1, "edge_epochs": 1},
    "Spol": {"width": 8, "cam_epochs": 1, "segmentation_epochs": 1},
    "Distill": {"width": 8, "epochs": 2, "train_head": True},
}
HARMLESS = (  # what Lightning says of small runs, of frozen parts, and makes other libraries say
    "The '(train|predict)_dataloader' does not have many workers",
    r"Found \d+ module\(s\) in eval mode at the start of training",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)
SHALLOW = {"Plain": "stages.1", "Tokens": "blocks.1"}  # what the map of ORNet multiplies


def small(name, backbone=None, *, seed=0, num_classes=CLASSES, **settings):
    """Build a recipe around a backbone (a name, a module, or None for the plain one)."""
    if backbone is None or isinstance(backbone, str):
        backbone = BACKBONES[backbone or "plain"]()
    channels = stage_channels(backbone, torch.rand(1, 3, SIDE, SIDE))
    settings = SMALL[name] | settings
    if name == "Ornet":
        settings.setdefault("layer", SHALLOW.get(type(backbone).__name__))
    if name == "Distill" and settings.get("teacher") is None:
        settings["teacher"] = localizer(num_classes)
    recipe = seeded(getattr(recipes, name), backbone, channels, num_classes, **settings)
    return recipe.train()


def localizer(num_classes=CLASSES, *, refine="scg"):
    """Return a teacher, whose classifier has statistics that training would change."""

    def classifier():
        layers = [nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(6, num_classes))

    return Localizer(seeded(classifier, seed=5), refine=refine)


def tensors(found):
    """Return what was found as a dict of tensors, the images left out."""
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, torch.Tensor) and name != "images"
    }


def loader(count=8, batch=4):
    images, labels, _ = objects(count)
    return DataLoader(TensorDataset(images, labels), batch_size=batch)


@contextmanager
def quiet_trainer(**options):
    """Make a trainer on the CPU that writes nothing and warns of nothing harmless."""
    from lightning import Trainer

    with warnings.catch_warnings():
        for message in HARMLESS:
            warnings.filterwarnings("ignore", message)
        yield Trainer(
            accelerator="cpu",
            deterministic=True,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            **options,
        )


def fit(recipe, epochs, data=None, *, callbacks=(), checkpoint=None, folder=None):
    """Train on the CPU, every batch with random numbers of its own."""
    from lightning import Callback

    class Seeds(Callback):
        def on_train_batch_start(self, trainer, module, batch, number):
            torch.manual_seed(100 * trainer.current_epoch + number)

    options = {"callbacks": [Seeds(), *callbacks], "default_root_dir": folder}
    with quiet_trainer(max_epochs=epochs, **options) as trainer:
        trainer.fit(recipe, data or loader(), ckpt_path=checkpoint)
    return trainer
