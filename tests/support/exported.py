"""Records with objects of known pixels, and images for them."""

import numpy as np
from PIL import Image

from wsolrefine.export import Object, Record, RunLengths
from wsolrefine.localization.run_lengths import region

NAMES = {0: "cat", 1: "dog, hound", 2: "wren <3"}
WIDTH, HEIGHT = 24, 16


def blob(top, left, height, width, hole=False):
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top : top + height, left : left + width] = True
    if hole:
        mask[top + 1 : top + 3, left + 1 : left + 3] = False
    return mask


def two_parts():
    return blob(1, 1, 4, 5) | blob(8, 10, 5, 5, hole=True)


def thing(label, mask, score=0.5, map=None):
    """Make an object of a mask, with its box and run lengths."""
    found = region(mask, mask.shape)
    if found is None:
        return Object(label, NAMES[label], score, map=map)
    runs = RunLengths(found.counts, mask.shape)
    return Object(label, NAMES[label], score, found.box, runs, map)


MASKS = {
    "a.jpg": [(0, blob(0, 0, 5, 7), 0.9), (2, two_parts(), 0.4)],
    "b.png": [(1, blob(9, 17, 7, 7), 0.7)],
    "empty.jpg": [(1, blob(0, 0, 0, 0), 0.8)],
    "deep/a.jpg": [(0, blob(3, 4, 6, 8, hole=True), 0.6)],
}


def records(folder=None, names=MASKS):
    """Make records, and their images if there is a folder for them."""
    found = []
    for name in names:
        image = None
        if folder is not None:
            image = folder / name
            image.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(len(name)).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
            Image.fromarray(noise).save(image)
        things = [thing(label, mask, score) for label, mask, score in MASKS[name]]
        found.append(Record(name, WIDTH, HEIGHT, things, image))
    return found


FLAT = [name for name in MASKS if "/" not in name]


def files_below(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
