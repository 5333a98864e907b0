"""Images of every odd kind, and files that only pretend to be images, made on the spot."""

import io
import zlib

import numpy as np
from PIL import Image

from tests.support import photographs


def odd_images(folder):
    """Save one image of every odd kind; return their names."""
    ramp = np.linspace(1000, 3000, 60 * 40).reshape(40, 60)
    with Image.open(photographs.FOLDER / "coffee.png") as coffee:
        photo = coffee.convert("RGB").resize((60, 40))
    alpha = photo.convert("RGBA")
    alpha.putalpha(Image.fromarray((ramp / 3000 * 255).astype(np.uint8)))
    frames = [photo, photo.transpose(Image.Transpose.ROTATE_180)]
    turned = Image.Exif()
    turned[0x0112] = 6
    holed = ramp.astype(np.float32)
    holed[3, 3] = np.nan
    palette = photo.quantize(16)
    palette.info["transparency"] = 3
    saved = {
        "animated.gif": (frames[0], {"save_all": True, "append_images": frames[1:]}),
        "animated.webp": (frames[0], {"save_all": True, "append_images": frames[1:]}),
        "gray 16.png": (Image.fromarray(ramp.astype(np.uint16)), {}),
        "float.tiff": (Image.fromarray(ramp.astype(np.float32)), {}),
        "cmyk.jpg": (photo.convert("CMYK"), {}),
        "palette alpha.png": (palette, {"transparency": 3}),
        "alpha.png": (alpha, {}),
        "gray alpha.png": (alpha.convert("LA"), {}),
        "turned.jpg": (photo, {"exif": turned}),
        "turned.png": (photo, {"exif": turned}),
        "turned.tif": (photo, {"exif": turned}),
        "turned 16.tif": (Image.fromarray(ramp.astype(np.uint16)), {"exif": turned}),
        "turned alpha.webp": (alpha, {"exif": turned}),
        "not a number.tiff": (Image.fromarray(holed), {}),
        "one bit.png": (photo.convert("1"), {}),
        "UPPER.JPEG": (photo, {}),
        "[red]%s $HOME;é\u0301.png": (photo, {}),
        "same.png": (photo, {}),
        "same.bmp": (photo, {}),
        "pages.tif": (frames[0], {"save_all": True, "append_images": frames[1:]}),
        "dot.png": (Image.new("RGB", (1, 1), "red"), {}),
        "line.png": (Image.new("L", (700, 1), 90), {}),
        "black.png": (Image.new("RGB", (30, 30)), {}),
    }
    for name, (image, options) in saved.items():
        image.save(folder / name, **options)
    (folder / "no suffix").write_bytes((folder / "same.png").read_bytes())
    return list(saved)


def broken_images(folder):
    """Save files that hold no picture; return what is said of each."""
    whole = photographs.FOLDER.joinpath("coffee.png").read_bytes()
    with Image.open(photographs.FOLDER / "coffee.png") as coffee:
        coffee.save(folder / "cut.jpg")
    jpeg = (folder / "cut.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "cut.png").write_bytes(whole[: len(whole) // 3])
    (folder / "head only.png").write_bytes(whole[:40])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("this is no picture")
    (folder / "heavy.png").write_bytes(bomb())
    (folder / "loose.png").symlink_to("nowhere.png")
    return {
        "cut.jpg": "truncated",
        "cut.png": "truncated",
        "head only.png": "",
        "empty.png": r"empty file (0 bytes)",
        "text.jpg": "another kind of file",
        "heavy.png": "too many pixels",
        "loose.png": "a broken link",
    }


def bomb():
    """Make a PNG whose header promises a billion pixels."""
    data = io.BytesIO()
    Image.new("1", (8, 8)).save(data, "png")
    raw = bytearray(data.getvalue())
    raw[16:24] = (40_000).to_bytes(4, "big") * 2
    raw[29:33] = zlib.crc32(raw[12:29]).to_bytes(4, "big")
    return bytes(raw)
