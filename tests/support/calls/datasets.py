"""Readers of data sets, and what they do with images."""

import atexit
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tests.support import wrong_values as kinds
from tests.support.calls.call import of
from tests.support.miniature import (
    write_cub,
    write_ilsvrc,
    write_openimages,
    write_wsolevaluation,
)
from tests.support.wrong_values import Kind
from wsolrefine import data

FOLDER = TemporaryDirectory()
atexit.register(FOLDER.cleanup)
HERE = Path(FOLDER.name)
CUB, ILSVRC = write_cub(HERE / "cub"), write_ilsvrc(HERE / "ilsvrc")
OPENIMAGES = write_openimages(HERE / "openimages")
WSOLEVALUATION = write_wsolevaluation(HERE / "wsolevaluation")
PICTURE = next((CUB.root / "images").glob("*/*"))
POLICY = {"policy": Kind(data.ImagePolicy())}
READ = POLICY | {"transform": kinds.function.or_none()}
# "x" is no such folder or file: an OSError, as everywhere in Python.
PATH = Kind(either={"text"})
CALLS = [
    of(
        data.ImagePolicy,
        {},
        {
            "orientation": kinds.choice("upright", "stored"),
            "deep_gray": kinds.choice("stretch", "scale"),
            "background": Kind((0, 1, 2), [0, 1, 2], np.array([0, 1, 2]), legal={"list"}),
        },
    ),
    of(
        data.RandomCrop,
        {},
        {
            "size": Kind(300, np.int64(300), legal={"a million"}, either={"huge", "two"}),
            "crop": Kind(3, np.int64(3), legal={"two"}),
            "flip": kinds.fraction,
            "interpolation": kinds.choice("box", "bicubic"),
        },
        size="size|crop",
    ),
    of(data.read_image, {"path": PICTURE}, POLICY | {"path": PATH}),
    of(
        data.CUB,
        {"root": CUB.root},
        READ | {"root": PATH, "split": kinds.choice("train", "test", "all")},
    ),
    of(
        data.ILSVRC,
        {"root": ILSVRC.root},
        READ | {"root": PATH, "split": kinds.choice("val"), "masks": PATH.or_none()},
    ),
    of(
        data.OpenImages,
        {"root": OPENIMAGES.root, "metadata": OPENIMAGES.metadata},
        READ | {"root": PATH, "metadata": PATH, "split": kinds.choice("val", "test")},
    ),
    of(
        data.WsolEvaluation,
        {"metadata": WSOLEVALUATION.metadata / "test"},
        READ | {"metadata": PATH, "images": PATH.or_none()},
    ),
    of(
        data.ImageFolder,
        {"root": CUB.root / "images"},
        READ | {"root": PATH},
    ),
    of(
        data.UnlabeledFolder,
        {"root": CUB.root / "images"},
        READ | {"root": PATH},
    ),
    of(data.ScoreMaps, {"folder": HERE}, {"folder": Kind(str(HERE), either={"text"})}),
]
