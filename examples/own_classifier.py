"""Boxes for a folder of photographs, from any classifier: own_classifier.py FOLDER"""

import sys
from pathlib import Path

from wsolrefine import Localizer, load_classifier

classifier = load_classifier()  # or Localizer(timm.create_model("resnet50", pretrained=True))
localizer = Localizer(classifier.model, preprocess=classifier.preprocess)
for path in sorted(Path(sys.argv[1]).glob("*.[jp]*g")):
    found = localizer.open(path)  # or localizer(PIL.Image.open(path))
    print(path.name, found.labels.item(), found.boxes[0, 0].tolist())
