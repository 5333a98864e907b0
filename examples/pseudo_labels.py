"""Pseudo masks for a segmentation trainer: pseudo_labels.py FOLDER OUT

Each photograph gets a PNG of its size: 0 background, 1 object, 255 to be ignored in training.
"""

import sys
from pathlib import Path

from PIL import Image

from wsolrefine import Localizer, load_classifier, pseudo_label

folder, out = map(Path, sys.argv[1:])
out.mkdir(parents=True, exist_ok=True)
localizer = Localizer(load_classifier(), refine="conv_crf")
for path in sorted(folder.glob("*.[jp]*g")):
    found = localizer.open(path)
    labels = pseudo_label(found.maps[:, 0], foreground=0.6, background=0.2)
    Image.fromarray(labels[0].numpy()).save(out / f"{path.stem}.png")
    print(path.name, f"{(labels == 1).float().mean():.0%} object")
