"""How many bytes a pixel reading an image takes at most: ``python -m tests.support.peak_memory``.

Each file is read in a process of its own, forked from one that has loaded everything and decoded
nothing: memory that was freed and not given back would hide the next peak.
"""

import argparse
import os
import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, features

from wsolrefine.data import _opened
from wsolrefine.data.images import ImagePolicy, read_image, reading

TURNED = Image.Exif()
TURNED[0x0112] = 6


def write(folder, side):
    """Write one image of each kind that takes much memory."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 255, (max(1, side // 8),) * 2 + (3,), dtype=np.uint8))
    rgb = small.resize((side, side))
    ramp = np.add.outer(np.arange(side), np.arange(side))
    rgba = rgb.copy()
    rgba.putalpha(128)
    palette = rgb.quantize(16)
    quick = {"compress_level": 1, "exif": TURNED}
    saved = {
        "rgb.jpg": (rgb, {"exif": TURNED}),
        "progressive.jpg": (rgb, {"progressive": True, "subsampling": 0, "exif": TURNED}),
        "progressive cmyk.jpg": (rgb.convert("CMYK"), {"progressive": True, "exif": TURNED}),
        "rgba.png": (rgba, quick),
        "palette.png": (palette, {"transparency": 3, **quick}),
        "gray alpha.png": (rgba.convert("LA"), quick),
        "gray 16.png": (Image.fromarray(ramp.astype(np.uint16)), quick),
        "float.tif": (Image.fromarray(ramp.astype(np.float32)), {"exif": TURNED}),
        "int.tif": (Image.fromarray(ramp.astype(np.int32)), {"exif": TURNED}),
        "rgba lzw.tif": (rgba, {"compression": "tiff_lzw", "exif": TURNED}),
        "palette.gif": (palette, {}),
        "rgba.webp": (rgba, {"quality": 10, "method": 0}),
    }
    if features.check("avif"):
        saved["rgb.avif"] = (rgb, {"quality": 10, "speed": 10, "subsampling": "4:4:4"})
    if features.check("jpg_2000"):
        saved["rgba.jp2"] = (rgba, {"quality_mode": "rates", "quality_layers": [80]})
    for name, (image, options) in saved.items():
        image.save(Path(folder) / name, **options)


def growth(action):
    """Return by how many bytes an action raises the peak of a process that does nothing else."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            action()
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            os.write(write_end, str(1024 * (after - before)).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return int(told)


def read_four(path):
    """Read a file in four threads at once, each of which keeps little of it."""

    def small(path):
        with reading(path) as image:
            image.thumbnail((8, 8))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(small, [path] * 4))


def measure(folder, side):
    """Yield the name of each case, the peak in bytes a pixel, and the bytes that are allowed."""
    Image.init()
    growth(lambda: write(folder, side))
    for name in sorted(path.name for path in folder.iterdir()):
        format = {"webp": "WEBP", "avif": "AVIF", "jp2": "JPEG2000"}.get(name.rpartition(".")[2])
        allowed = 12 * _opened.MAX_PIXELS / _opened.MAX_PIXELS_OF.get(format, _opened.MAX_PIXELS)
        for policy in (ImagePolicy(), ImagePolicy(orientation="stored")):
            found = growth(lambda name=name, policy=policy: read_image(folder / name, policy))
            yield f"{name}, {policy.orientation}", found / side**2, allowed
    _opened.LARGE = 0
    yield "four threads", growth(lambda: read_four(folder / "gray 16.png")) / side**2, 12


def main():
    """Print the table."""
    if "MALLOC_MMAP_THRESHOLD_" not in os.environ:  # freed blocks go back to the system at once
        os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
        os.execv(sys.executable, [sys.executable, "-m", "tests.support.peak_memory", *sys.argv[1:]])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=4000, help="of the images, in pixels")
    side = parser.parse_args().side
    with TemporaryDirectory() as folder:
        for name, found, allowed in measure(Path(folder), side):
            print(f"{name:30} {found:5.1f} bytes a pixel, at most {allowed:.0f}")  # noqa: T201


if __name__ == "__main__":
    main()
