"""Train SPA on images in one subfolder per class, and use it: train_on_a_folder.py FOLDER OUT

The command does the same, resumable and on several devices: wsolrefine train spa -d folder.
"""

import sys
from pathlib import Path

import torch
from lightning import Trainer
from torch.utils.data import DataLoader

from wsolrefine import find_stages, load_classifier
from wsolrefine.data import ImageFolder, RandomCrop
from wsolrefine.nn import FeatureList, stage_channels
from wsolrefine.recipes import RecipeMetadata, Spa, load_recipe, save_recipe

folder, out = Path(sys.argv[1]), Path(sys.argv[2])
epochs = int(sys.argv[3]) if len(sys.argv) > 3 else 20
crop, classifier = RandomCrop(256, 224), load_classifier()
data = ImageFolder(folder, transform=lambda image: classifier.preprocess(crop(image)))


def collate(batch):
    images, annotations = zip(*batch, strict=True)
    return torch.stack(images), torch.tensor([annotation.label for annotation in annotations])


loader = DataLoader(data, batch_size=8, shuffle=True, collate_fn=collate)
images = next(iter(loader))[0]
layers = find_stages(classifier.model, images)
backbone = FeatureList(classifier.model, layers)
channels, classes = stage_channels(backbone, images), len(data.class_names)
recipe = Spa(backbone, channels, classes, epochs=epochs, warmup_epochs=epochs // 5)
Trainer(max_epochs=recipe.epochs, default_root_dir=out, logger=False).fit(recipe, loader)

metadata = RecipeMetadata(
    classifier.name, layers, tuple(channels), classes, data.class_names, classifier.preprocess
)
save_recipe(out / "spa.safetensors", recipe, metadata)
found = load_recipe(out / "spa.safetensors").open(data.image_path(0))
print(
    data.annotations[0].image_id, data.class_names[found.labels.item()], found.boxes[0, 0].tolist()
)
