"""Pixels of every mode become the right RGB, in whatever tiles they are converted."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, TiffImagePlugin

from wsolrefine.data import ImagePolicy, _rgb, read_image
from wsolrefine.data._rgb import as_rgb, boxes
from wsolrefine.data.images import image_size

WHITE, STORED = (255, 255, 255), ImagePolicy(orientation="stored")
RAMP = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
MODES = [
    *(
        "1",
        "L",
        "LA",
        "La",
        "P",
        "PA",
        "RGB",
        "RGBA",
        "RGBa",
        "RGBX",
        "CMYK",
        "YCbCr",
        "LAB",
        "HSV",
    ),
    *("I", "F", "I;16", "I;16B", "I;16L"),
]


def example(mode):
    """Return an image of a mode with many different pixels."""
    rng = np.random.default_rng(0)
    if mode == "P":
        return Image.fromarray(rng.integers(0, 255, (11, 13, 3), dtype=np.uint8)).quantize(32)
    if mode == "PA":
        return example("P").convert("PA")
    size = len(Image.new(mode, (13, 11)).tobytes())
    return Image.frombytes(mode, (13, 11), rng.bytes(size))


@pytest.mark.parametrize("mode", MODES)
def test_tiles_make_no_difference(mode, monkeypatch):
    image = example(mode)
    whole = np.asarray(as_rgb(image, True, WHITE))
    assert whole.shape == (11, 13, 3)
    for tile in (1, 7, 13, 30):
        monkeypatch.setattr(_rgb, "TILE", tile)
        assert np.array_equal(np.asarray(as_rgb(image, True, WHITE)), whole), tile


@pytest.mark.parametrize("mode", MODES)
def test_an_image_that_is_given_is_not_changed(mode):
    image = example(mode)
    before, info = image.tobytes(), dict(image.info)
    as_rgb(image, True, WHITE)
    assert (image.mode, image.tobytes(), image.info) == (mode, before, info)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 100))
def test_tiles_cover_each_pixel_once(width, height, tile):
    seen = np.zeros((height, width), int)
    before, _rgb.TILE = _rgb.TILE, tile
    try:
        for x0, y0, x1, y1 in boxes((width, height)):
            assert (x1 - x0) * (y1 - y0) <= tile
            seen[y0:y1, x0:x1] += 1
    finally:
        _rgb.TILE = before
    assert (seen == 1).all()


FLOATS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.floats(width=32)
)


@given(FLOATS)
def test_floats_are_stretched_over_their_finite_values(values):
    """Any floats: NaN and -inf are black, inf is white, a constant image is black."""
    gray = np.asarray(as_rgb(Image.fromarray(values), True, WHITE))[..., 0]
    finite = np.isfinite(values)
    spread = finite.any() and values[finite].min() < values[finite].max()
    if not spread:
        assert not gray.any()
        return
    wide = values.astype(np.float64)
    low, high = wide[finite].min(), wide[finite].max()
    expected = (wide[finite] - low) / (high - low) * 255
    assert np.abs(gray[finite] - expected).max() <= 0.5 + 1e-6
    assert (gray[np.isnan(values) | np.isneginf(values)] == 0).all()
    assert (gray[np.isposinf(values)] == 255).all()
    assert gray[finite].min() == 0
    assert gray[finite].max() == 255


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_one_odd_pixel_leaves_a_narrow_range_all_its_levels(tmp_path, odd):
    values = np.linspace(290, 310, 64, dtype=np.float32).reshape(8, 8)
    expected = np.rint((values - 290) / 20 * 255).astype(int)
    values[3, 3] = odd
    Image.fromarray(values).save(tmp_path / "a.tiff")
    gray = np.asarray(read_image(tmp_path / "a.tiff"))[..., 0].astype(int)
    others = np.ones((8, 8), bool)
    others[3, 3] = False
    assert np.abs(gray - expected)[others].max() <= 1
    assert gray[3, 3] == (255 if odd == np.inf else 0)


# Orientation --------------------------------------------------------------------------------------


def turned(values, orientation):
    """Turn an array as EXIF's orientation says."""
    return {
        1: values, 2: values[:, ::-1], 3: values[::-1, ::-1], 4: values[::-1],
        5: values.swapaxes(0, 1), 6: np.rot90(values, -1),
        7: values[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(values),
    }[orientation]  # fmt: skip


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.tif", "lzw.tif", "a.webp", "rgba.tif", "float.tif"])
def test_upright_and_stored_in_every_format(tmp_path, name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(RAMP).convert("RGB")
    options = {"lzw.tif": {"compression": "tiff_lzw"}, "a.webp": {"lossless": True}}.get(name, {})
    if name == "rgba.tif":
        image.putalpha(255)
    if name == "float.tif":
        image = Image.fromarray(RAMP.astype(np.float32))
    image.save(tmp_path / name, exif=exif, **options)
    stored = RAMP if name != "float.tif" else np.rint(RAMP * (255 / 230)).astype(np.uint8)
    for policy, expected in ((STORED, stored), (ImagePolicy(), turned(stored, orientation))):
        read = np.asarray(read_image(tmp_path / name, policy))
        assert np.array_equal(read[..., 0], expected)
        assert image_size(tmp_path / name, policy) == expected.shape


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_there_is_not_turns_nothing(tmp_path, value):
    exif = Image.Exif()
    exif[0x0112] = value
    Image.new("RGB", (6, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").size == (6, 4)
    assert image_size(tmp_path / "a.jpg") == (4, 6)


# Depth, colors and transparency -------------------------------------------------------------------


def save_tiff(path, values, tags):
    """Write a TIFF of one uncompressed strip, with tags that Pillow would choose otherwise."""
    height, width = values.shape
    entries = {
        256: width,
        257: height,
        258: 8 * values.itemsize,
        259: 1,
        262: 1,
        277: 1,
        278: height,
    }
    entries |= {279: values.nbytes, **tags, 273: 8}
    content = values.tobytes()
    ifd = struct.pack("<H", len(entries))
    for tag in sorted(entries):
        ifd += struct.pack("<HHII", tag, 4, 1, entries[tag])
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(content)) + content + ifd + bytes(4))


@pytest.mark.parametrize(
    ("dtype", "kind", "numbers"),
    [
        ("<u4", 1, [0, 2**31, 2**32 - 2]),
        ("<i4", 2, [-(2**31), 0, 2**31 - 1]),
        ("<i2", 2, [-1000, 0, 1000]),
        ("<u2", 1, [0, 32768, 65535]),
        ("i1", 2, [-128, 0, 127]),
        ("<f4", 3, [-1, 0, 1]),
    ],
)
def test_numbers_of_tiff_keep_their_sign(tmp_path, dtype, kind, numbers):
    save_tiff(tmp_path / "a.tif", np.array([numbers], dtype), {339: kind})
    gray = np.asarray(read_image(tmp_path / "a.tif"))[0, :, 0].astype(int)
    assert np.abs(gray - [0, 128, 255]).max() <= 1


@pytest.mark.parametrize(("dtype", "kind"), [("u1", 1), ("<u2", 1), ("<f4", 3)])
def test_white_may_be_zero_in_tiff_of_any_depth(tmp_path, dtype, kind):
    values = np.array([[0, 100, 255]], dtype)
    save_tiff(tmp_path / "a.tif", values, {262: 0, 339: kind})
    assert np.asarray(read_image(tmp_path / "a.tif"))[0, :, 0].tolist() == [255, 155, 0]


def save_png(path, values, color, transparent):
    """Write a PNG of 16 bits with a transparent color."""
    height, width = values.shape[:2]
    rows = values.astype(">u2").reshape(height, -1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    head = struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0)
    clear = struct.pack(f">{len(transparent)}H", *transparent)
    content = b"\x89PNG\r\n\x1a\n"
    for name, part in ((b"IHDR", head), (b"tRNS", clear), (b"IDAT", data), (b"IEND", b"")):
        content += struct.pack(">I", len(part)) + name + part
        content += struct.pack(">I", zlib.crc32(name + part))
    path.write_bytes(content)


def test_a_transparent_gray_of_16_bits_shows_the_background(tmp_path):
    save_png(tmp_path / "a.png", np.array([[0, 1000, 1500, 2000]]), 0, [0])
    read = read_image(tmp_path / "a.png", ImagePolicy(background=(9, 8, 7)))
    # The transparent pixel does not count in the range.
    assert np.asarray(read)[0].tolist() == [[9, 8, 7], [0] * 3, [128] * 3, [255] * 3]


def test_a_transparent_color_of_16_bits_shows_the_background(tmp_path):
    save_png(tmp_path / "a.png", np.array([[[65535, 0, 0], [0, 65535, 0]]]), 2, [65535, 0, 0])
    assert np.asarray(read_image(tmp_path / "a.png"))[0].tolist() == [[255] * 3, [0, 255, 0]]


def test_adobe_cmyk_is_not_inverted(tmp_path):
    for color in ("red", "white", "black", "blue"):
        expected = Image.new("RGB", (8, 8), color)
        expected.convert("CMYK").save(tmp_path / "a.jpg", quality=95)
        read = np.asarray(read_image(tmp_path / "a.jpg")).astype(int)
        assert np.abs(read - np.asarray(expected)).max() <= 4, color


def test_of_gray_with_alpha_the_transparent_part_is_white(tmp_path):
    for mode in ("LA", "La"):
        image = Image.new("LA", (2, 1), (100, 255))
        image.putpixel((1, 0), (0, 0))
        image = image.convert(mode)
        assert np.asarray(as_rgb(image, True, WHITE))[0, :, 0].tolist() == [100, 255], mode


def test_the_first_frame_of_an_animation_with_transparency(tmp_path):
    first = Image.new("RGBA", (4, 2), (255, 0, 0, 255))
    first.putpixel((0, 0), (0, 0, 0, 0))
    second = Image.new("RGBA", (4, 2), (0, 0, 255, 255))
    for name in ("a.png", "a.gif", "a.webp"):
        options = {"lossless": True} if name == "a.webp" else {}
        first.save(tmp_path / name, save_all=True, append_images=[second], **options)
        read = np.asarray(read_image(tmp_path / name))
        assert read[0, 0].tolist() == [255, 255, 255], name
        assert read[1, 3].tolist() == [255, 0, 0], name


def test_of_pages_of_several_sizes_the_first_is_read(tmp_path):
    pages = [Image.new("L", (8, 6), 200), Image.new("L", (30, 20), 10)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert read_image(tmp_path / "a.tif").size == (8, 6)
    assert image_size(tmp_path / "a.tif") == (6, 8)


def test_color_profiles_are_not_applied(tmp_path):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image = Image.new("RGB", (2, 2), (10, 200, 30))
    image.save(tmp_path / "a.png", icc_profile=profile)
    assert read_image(tmp_path / "a.png").getpixel((0, 0)) == (10, 200, 30)


def test_tags_of_tiff_are_known_by_number():
    assert TiffImagePlugin.SAMPLEFORMAT == _rgb._SAMPLE_FORMAT
    assert TiffImagePlugin.PHOTOMETRIC_INTERPRETATION == _rgb._PHOTOMETRIC
