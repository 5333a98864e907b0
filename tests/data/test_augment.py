"""Random crops and flips, and folders of images."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wsolrefine.data.augment import RandomCrop
from wsolrefine.data.folder import ImageFolder, UnlabeledFolder

# Crops and flips ----------------------------------------------------------------------------------


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def numbered(side):
    """An image whose every pixel says where it is: row in red, column in green."""
    rows, columns = np.mgrid[:side, :side].astype(np.uint8)
    return Image.fromarray(np.stack([rows, columns, 0 * rows], -1))


@given(st.integers(1, 40), st.data())
def test_the_part_is_a_square_of_the_resized_image(size, data):
    crop = data.draw(st.integers(1, size))
    seed = data.draw(st.integers(0, 2**32))
    part = np.asarray(RandomCrop(size, crop, interpolation="nearest")(numbered(size), seeded(seed)))
    assert part.shape == (crop, crop, 3)
    top, (left, right) = part[0, 0, 0], part[0, [0, -1], 1]
    expected = np.asarray(numbered(size))[top : top + crop, min(left, right) :][:, :crop]
    flipped = left > right or (crop == 1 and not np.array_equal(part, expected))
    np.testing.assert_array_equal(part[:, ::-1] if flipped else part, expected)


def test_every_place_and_both_sides_are_as_likely():
    cut, generator = RandomCrop(6, 4), seeded(0)
    image = torch.arange(36.0).reshape(1, 6, 6)
    counts = {}
    for _ in range(9000):
        part = cut(image, generator)
        key = (int(part.min()), bool(part[0, 0, 0] > part[0, 0, 1]))
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 3 * 3 * 2
    # 500 of each; the standard deviation is 22.
    assert all(abs(count - 500) < 110 for count in counts.values())


def test_the_same_for_a_tensor_and_a_pil_image():
    cut = RandomCrop(16, 10)
    image = numbered(16)  # of the size it is resized to: nothing is interpolated
    tensor = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float()
    seen = set()
    for seed in range(20):
        part = np.asarray(cut(image, seeded(seed)))
        seen.add(part.tobytes())
        other = cut(tensor, seeded(seed)).permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(part, other)
    assert len(seen) > 15


def test_the_global_generator_is_the_default_and_another_leaves_it_alone():
    cut, image = RandomCrop(9, 4), torch.rand(2, 3, 9, 9)
    torch.manual_seed(3)
    first = cut(image)
    torch.manual_seed(3)
    cut(image, seeded(1))
    assert torch.equal(cut(image), first)


def test_the_argument_stays_and_gradients_pass():
    image = torch.rand(3, 8, 12, dtype=torch.float64, requires_grad=True)
    before = image.detach().clone()
    RandomCrop(8, 8, flip=1.0)(image, seeded(0)).sum().backward()
    assert torch.equal(image, before)
    assert image.grad.shape == image.shape
    assert image.grad.gt(0).all()  # every pixel of it is seen somewhere


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_never_or_always_flipped(flip):
    image = torch.rand(1, 5, 5)
    for seed in range(5):
        part = RandomCrop(5, 5, flip=flip)(image, seeded(seed))
        torch.testing.assert_close(part, image.flip(-1) if flip else image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0, "crop": 0}, "size: expected an integer >= 1, got 0"),
        ({"crop": 300}, "crop: expected an integer from 1 to 256, got 300"),
        ({"crop": 0}, "crop: expected an integer from 1 to 256"),
        ({"flip": 1.5}, "flip: expected a number in [0, 1]"),
        ({"flip": float("nan")}, "flip: expected a number in [0, 1]"),
        ({"interpolation": "cubic"}, "interpolation: expected one of nearest"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        RandomCrop(**options)


def test_wrong_tensors():
    with pytest.raises(TypeError, match=r"image: expected a floating-point dtype, got torch.uint8"):
        RandomCrop(4, 2)(torch.zeros(3, 4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"image: expected shape \(..., H, W\), got \(4,\)"):
        RandomCrop(4, 2)(torch.zeros(4))
    with pytest.raises(ValueError, match=r"image: expected shape .* with H >= 1, got \(3, 0, 4\)"):
        RandomCrop(4, 2)(torch.zeros(3, 0, 4))


@pytest.mark.parametrize("image", [None, "photo.jpg", [[0.5]], np.zeros((4, 4, 3), np.uint8)])
def test_what_is_no_image_is_refused_before_a_number_is_drawn(image):
    before = torch.get_rng_state()
    with pytest.raises(TypeError, match=r"^image: expected a PIL image or a torch\.Tensor, got "):
        RandomCrop(4, 2)(image)
    with pytest.raises(
        TypeError, match=r"^generator: expected a torch\.Generator or None, got int"
    ):
        RandomCrop(4, 2)(torch.zeros(3, 4, 4), 0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_tensor_in_half_precision_keeps_its_dtype(dtype):
    image = torch.rand(3, 9, 7).to(dtype)
    crop = RandomCrop(8, 6)(image, torch.Generator().manual_seed(0))
    expected = RandomCrop(8, 6)(image.float(), torch.Generator().manual_seed(0))
    assert torch.equal(crop, expected.to(dtype))


# Folders of images --------------------------------------------------------------------------------


def save(path, size=(7, 5), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "red").save(path, **options)


def test_classes_and_images_in_the_order_of_their_names(tmp_path):
    for name in ("b/2.PNG", "b/1.jpg", "b/deep er/3.webp", "a x/é.tif", "b/.hidden.png"):
        save(tmp_path / name)
    (tmp_path / "b/notes.txt").write_text("no image")
    (tmp_path / "README.md").write_text("no image either")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "b/loop").symlink_to("..", target_is_directory=True)
    save(tmp_path / "b/loop.png")
    dataset = ImageFolder(tmp_path)
    assert dataset.class_names == ["a x", "b"]
    found = [(annotation.image_id, annotation.label) for annotation in dataset.annotations]
    names = ["b/1.jpg", "b/2.PNG", "b/deep er/3.webp", "b/loop.png"]
    assert found == [("a x/é.tif", 0), *((name, 1) for name in names)]
    image, annotation = dataset[0]
    assert (image.mode, image.size, annotation.boxes.shape) == ("RGB", (7, 5), (0, 4))
    assert not dataset.has_masks


def test_photographs_are_upright(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter
    save(tmp_path / "a/turned.jpg", exif=turned)
    save(tmp_path / "a/upright.jpg")
    dataset = ImageFolder(tmp_path, transform=lambda image: image.size)
    assert [dataset[0][0], dataset[1][0]] == [(5, 7), (7, 5)]
    assert [dataset.size(0), dataset.size(1)] == [(7, 5), (5, 7)]


def test_folders_that_are_no_data_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="root: expected a folder, got"):
        ImageFolder(tmp_path / "missing")
    with pytest.raises(ValueError, match="root: expected one subfolder per class, got none in"):
        ImageFolder(tmp_path)
    save(tmp_path / "a/1.png")
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match="b: expected at least one image, got none"):
        ImageFolder(tmp_path)
    save(tmp_path / "stray.png")
    with pytest.raises(ValueError, match=r"one subfolder per class, got stray.png in .* itself"):
        ImageFolder(tmp_path)


def test_images_without_classes_lie_at_any_depth(tmp_path):
    for name in ("b/2.PNG", "1.jpg", "b/deep er/3.webp", ".hidden.png", ".cache/4.png"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "b/loop").symlink_to("..", target_is_directory=True)
    dataset = UnlabeledFolder(tmp_path, transform=lambda image: image.size)
    found = [(annotation.image_id, annotation.label) for annotation in dataset.annotations]
    assert found == [("1.jpg", -1), ("b/2.PNG", -1), ("b/deep er/3.webp", -1)]
    assert dataset.class_names is None
    assert dataset[0][0] == (7, 5)
    assert dataset[0][1].boxes.shape == (0, 4)
    assert not dataset.has_masks


def test_images_without_classes_are_upright(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter
    save(tmp_path / "turned.jpg", exif=turned)
    assert UnlabeledFolder(tmp_path).size(0) == (7, 5)


def test_folders_without_an_image(tmp_path):
    with pytest.raises(FileNotFoundError, match="root: expected a folder, got"):
        UnlabeledFolder(tmp_path / "missing")
    with pytest.raises(ValueError, match="root: expected at least one image, got none in"):
        UnlabeledFolder(tmp_path)


@pytest.mark.parametrize(
    ("link", "target", "again"),
    [
        ("wren", "jay", "wren/1.png"),
        ("wren/more", "../jay", "wren/more/1.png"),
        ("wren/2.png", "../jay/1.png", "wren/2.png"),
        ("wren", "..", "wren/photos/jay/1.png"),
    ],
)
def test_a_file_in_two_classes_is_refused(tmp_path, link, target, again):
    root = tmp_path / "photos"
    save(root / "jay/1.png")
    if link != "wren":
        save(root / "wren/0.png")
    (root / link).symlink_to(target)
    with pytest.raises(ValueError, match="expected an image of one class") as caught:
        ImageFolder(root)
    said = f"{root / again}: expected an image of one class, got the file of {root / 'jay/1.png'}"
    assert str(caught.value) == f"{said} again"


def test_a_hard_link_in_another_class_is_refused(tmp_path):
    save(tmp_path / "jay/1.png")
    (tmp_path / "wren").mkdir()
    (tmp_path / "wren/2.png").hardlink_to(tmp_path / "jay/1.png")
    with pytest.raises(ValueError, match=r"wren/2\.png: expected an image of one class"):
        ImageFolder(tmp_path)


def test_links_to_images_elsewhere_are_images(tmp_path):
    for name in ("1.png", "2.png"):
        save(tmp_path / "pool" / name)
    for place, name in (("jay", "1.png"), ("jay/again", "1.png"), ("wren", "2.png")):
        (tmp_path / "photos" / place).mkdir(parents=True)
        (tmp_path / "photos" / place / name).symlink_to(tmp_path / "pool" / name)
    found = [
        (found.image_id, found.label) for found in ImageFolder(tmp_path / "photos").annotations
    ]
    assert found == [("jay/1.png", 0), ("jay/again/1.png", 0), ("wren/2.png", 1)]
