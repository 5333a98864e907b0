import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.support.odd_images import broken_images, odd_images
from wsolrefine.cli.images import quiet
from wsolrefine.data import UnreadableImage, read_image
from wsolrefine.data.images import AS_STORED, SUFFIXES, UPRIGHT, reading_reduced

RED, WHITE = (255, 0, 0), (255, 255, 255)


def saved(tmp_path, image, name="image.png", **options):
    image.save(tmp_path / name, **options)
    return np.asarray(read_image(tmp_path / name))


def test_every_odd_kind_is_read_as_rgb(tmp_path):
    for name in odd_images(tmp_path):
        image = read_image(tmp_path / name)
        assert image.mode == "RGB", name
        assert min(image.size) >= 1
        assert name == "black.png" or np.asarray(image).any(), name


def test_broken_kinds_say_why(tmp_path):
    for name, reason in broken_images(tmp_path).items():
        # What is said of a link is said where files are looked for.
        error = OSError if name == "loose.png" else UnreadableImage
        with pytest.raises(error) as caught:
            read_image(tmp_path / name)
        if name != "loose.png":
            assert reason in caught.value.reason, name
            assert str(caught.value) == f"{tmp_path / name}: {caught.value.reason}"


def test_transparent_parts_are_white(tmp_path):
    half = Image.new("RGBA", (2, 1), (*RED, 255))
    half.putpixel((1, 0), (0, 0, 0, 0))
    expected = np.array([[RED, WHITE]])
    np.testing.assert_array_equal(saved(tmp_path, half), expected)
    palette = Image.new("P", (2, 1))
    palette.putpalette([*RED, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    np.testing.assert_array_equal(saved(tmp_path, palette, transparency=1), expected)
    np.testing.assert_array_equal(
        saved(tmp_path, palette.convert("RGB"), transparency=(0, 0, 255)), expected
    )


@pytest.mark.parametrize(
    ("dtype", "suffix"),
    [(np.uint16, ".png"), (np.uint16, ".tiff"), (np.int32, ".tiff"), (np.float32, ".tiff")],
)
def test_deep_gray_is_stretched(tmp_path, dtype, suffix):
    deep = np.array([[100, 350], [600, 1100]], dtype)
    read = saved(tmp_path, Image.fromarray(deep), "deep" + suffix)
    np.testing.assert_allclose(read[..., 0], [[0, 64], [128, 255]], atol=1)
    flat = saved(tmp_path, Image.fromarray(np.full((3, 3), 7, dtype)), "flat" + suffix)
    assert not flat.any()


def test_not_a_number_in_a_float_image_spoils_nothing(tmp_path):
    deep = np.array([[np.nan, 0.0], [0.5, 1.0]], np.float32)
    read = saved(tmp_path, Image.fromarray(deep), "nan.tiff")
    np.testing.assert_allclose(read[..., 0], [[0, 0], [128, 255]], atol=1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    picture = Image.new("RGB", (60, 40), "blue")
    picture.paste("white", (0, 0, 20, 20))  # the corner that was up left in the camera
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = saved(tmp_path, picture, "turned.jpg", exif=exif)
    assert read.shape[:2] == ((40, 60) if orientation <= 4 else (60, 40))
    corners = read[3, 3], read[3, -4], read[-4, -4], read[-4, 3]  # clockwise from upper left
    bright = int(np.argmax([corner.astype(int).sum() for corner in corners]))
    assert bright == {1: 0, 2: 1, 3: 2, 4: 3, 5: 0, 6: 1, 7: 2, 8: 3}[orientation]


def test_damaged_metadata_is_no_obstacle(tmp_path):
    data = io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(data, "jpeg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    (tmp_path / "odd.jpg").write_bytes(data.getvalue())
    with quiet():
        assert read_image(tmp_path / "odd.jpg").size == (9, 9)


def test_only_the_first_frame_counts(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    for name in ("a.gif", "a.webp", "a.tif", "a.png"):
        read = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])
        assert read[4, 4].argmax() == 0, name


def test_lab_is_converted(tmp_path):
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(Image.new("RGB", (9, 9), "red"), *profiles, outputMode="LAB")
    assert saved(tmp_path, lab, "lab.tif")[4, 4].argmax() == 0


def test_suffixes_are_lower_case():
    assert all(s == s.lower() and s.startswith(".") for s in SUFFIXES)


# Reduced JPEGs ------------------------------------------------------------------------------------


def photograph(folder, size, orientation=1, **options):
    """Save a JPEG of smooth colors, so that its compression changes little."""
    small = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    image.save(folder / "photo.jpg", quality=95, exif=exif, **options)
    return folder / "photo.jpg"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("policy", [UPRIGHT, AS_STORED])
def test_a_reduced_jpeg_has_the_size_and_the_colors_of_the_whole(tmp_path, orientation, policy):
    path = photograph(tmp_path, (1001, 803), orientation)
    whole = read_image(path, policy)
    with reading_reduced(path, (200, 250), policy) as (image, size):
        assert size == whole.size
        assert image.size == tuple(-(-side // 4) for side in whole.size)
        small = np.asarray(image.resize((50, 40), Image.Resampling.BILINEAR)).astype(int)
    expected = np.asarray(whole.resize((50, 40), Image.Resampling.BILINEAR))
    assert abs(small - expected).max() <= 8  # where the last cells are incomplete, and in color
    assert abs(small - expected).mean() < 1


@pytest.mark.parametrize(
    ("least", "part"),
    [((1, 1), 8), ((100, 125), 8), ((101, 125), 4), ((100, 126), 4), ((400, 500), 2),
     ((401, 500), 1), (None, 1), ((5000, 5000), 1)],
)  # fmt: skip
def test_a_jpeg_is_reduced_as_far_as_the_pixels_that_are_needed(tmp_path, least, part):
    path = photograph(tmp_path, (1000, 800))
    with reading_reduced(path, least) as (image, size):
        assert size == (1000, 800)
        assert image.size == (1000 // part, 800 // part)


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}])
def test_every_kind_of_jpeg_is_reduced(tmp_path, options):
    path = photograph(tmp_path, (640, 480), **options)
    with reading_reduced(path, (100, 100)) as (image, size):
        assert (image.mode, image.size, size) == ("RGB", (160, 120), (640, 480))
    read_image(path).convert("CMYK").save(path)
    with reading_reduced(path, (100, 100)) as (image, size):
        assert (image.mode, image.size, size) == ("RGB", (160, 120), (640, 480))
    read_image(path).convert("L").save(path)
    with reading_reduced(path, (100, 100)) as (image, size):
        assert (image.mode, image.size, size) == ("RGB", (160, 120), (640, 480))


def test_other_formats_and_odd_images_are_read_whole(tmp_path):
    for name in odd_images(tmp_path):
        with reading_reduced(tmp_path / name, (40, 40)) as (image, size):
            assert image.size == size
            assert image.tobytes() == read_image(tmp_path / name).tobytes()


def test_a_truncated_jpeg_is_an_error_reduced_too(tmp_path):
    path = photograph(tmp_path, (1000, 800))
    path.write_bytes(path.read_bytes()[:-3000])
    with (
        pytest.raises(UnreadableImage, match="truncated"),
        reading_reduced(path, (100, 100)),
    ):
        pass
