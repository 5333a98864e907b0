"""Photographs that ship in scikit-image, the offline classifier, and boxes drawn by hand.

The boxes were read off the photographs at two to four times their size under a grid of 10 or 25
pixels, before any map was computed: half-open xyxy, tight around every visible part.
"""

import contextlib
import functools
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch

from wsolrefine.activation.layers import find_layers, find_stages
from wsolrefine.models import load_classifier

FOLDER = Path(find_spec("skimage").submodule_search_locations[0]) / "data"

BOXES = {
    # 741 x 500: tail light to front tyre; the right mirror stands against the shelf, up to y = 14.
    "motorcycle_left.png": (92, 14, 684, 451),
    # 600 x 400: cup, saucer and spoon; the saucer's rim on three sides, the cup's on top.
    "coffee.png": (77, 17, 480, 389),
    # 451 x 300: the cat fills all but the right edge; its ear leaves the picture at x = 400.
    "chelsea.png": (0, 0, 402, 300),
    # 640 x 427: the rocket without the pad and the arms of the launch tower.
    "rocket.jpg": (310, 126, 336, 407),
    # 512 x 512: the astronaut without the helmet she holds, the flag and the model behind her.
    "astronaut.png": (18, 15, 366, 512),
}


@functools.cache
def classifier(name="efficientnet-lite0"):
    """Load a classifier once for all tests."""
    return load_classifier(name)


@functools.cache
def layers(model, size, names=None):
    """Find the layers of a model once for all tests."""
    return find_layers(model, torch.zeros(1, 3, *size), layers=names)


@functools.cache
def stages(model, size):
    """Find the stages of a model once for all tests."""
    return find_stages(model, torch.zeros(1, 3, *size))


def known_layers(monkeypatch, *modules):
    """Let code that loads the classifier itself take the layers that other tests have found.

    Args:
        monkeypatch: of the test.
        modules: those that have imported ``find_layers`` or ``find_stages``, besides the package.

    """
    for module in ("wsolrefine", "wsolrefine.localization.localizer", *modules):
        for find, known in ((find_layers, layers), (find_stages, stages)):

            def found(model, images, find=find, known=known, **options):
                if type(model) is type(classifier().model) and not any(options.values()):
                    return known(classifier().model, images.shape[2:])
                return find(model, images, **options)

            if hasattr(import_module(module), find.__name__):
                monkeypatch.setattr(f"{module}.{find.__name__}", found)


@contextlib.contextmanager
def shared(monkeypatch):
    """Let the commands of a test use the classifier and layers of the other tests.

    One thread: a small network gains little from a second one, and loses tenfold where another
    process has the other core.
    """

    def found(model, images, **options):
        names = options.get("layers")
        return layers(model, images.shape[2:], None if names is None else tuple(names))

    monkeypatch.setattr("wsolrefine.cli.loading.load_classifier", classifier)
    for module in ("localization.localizer", "activation.layers"):
        monkeypatch.setattr(f"wsolrefine.{module}.find_layers", found)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
