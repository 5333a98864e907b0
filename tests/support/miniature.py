"""Data sets of a few tiny images in the real layouts, written to a folder, with what they hold.

Every ``write_...`` returns a :class:`Written`; sizes are (height, width), boxes half-open, masks as
the readers give them: 1 object, 0 background, 255 not counted.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

VOTES = np.array([0, 51, 102, 153, 204, 255], dtype=np.uint8)  # of CUB's five annotators
CUB_CLASSES = ["001.Black_footed_Albatross", "002.Laysan_Albatross"]
SYNSETS = {
    "n01440764": "tench, Tinca tinca",
    "n01443537": "goldfish, Carassius auratus",
    "n02123045": "tabby, tabby cat",
}


class Truth(NamedTuple):
    """What was written of one image."""

    image_id: str
    label: int
    size: tuple[int, int]
    boxes: list[tuple[int, int, int, int]]
    mask: np.ndarray | None = None
    instances: tuple[np.ndarray, ...] = ()


class Written(NamedTuple):
    """Where a data set lies and what it holds, by split."""

    root: Path
    splits: dict[str, list[Truth]]
    class_names: list[str] | None = None
    metadata: Path | None = None
    masks: Path | None = None


def save_image(path, size, boxes, generator):
    """Save dark noise with a bright rectangle in each box; JPEG or PNG by the suffix."""
    pixels = generator.integers(0, 60, (*size, 3), dtype=np.uint8)
    for x0, y0, x1, y1 in boxes:
        pixels[y0:y1, x0:x1] += generator.integers(100, 190, 3, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def save_mask(path, gray):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(gray).save(path)


def write_lines(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def drawn_size(generator):
    height, width = generator.integers(20, 41, 2).tolist()
    return height, width


def drawn_boxes(generator, size, count):
    """Draw half-open boxes of at least 4 x 4 pixels inside an image; the first touches its end."""
    height, width = size
    boxes = []
    for number in range(count):
        x0, y0 = (int(generator.integers(0, side - 4)) for side in (width, height))
        x1, y1 = (
            int(generator.integers(x0 + 4, width + 1)),
            int(generator.integers(y0 + 4, height + 1)),
        )
        boxes.append((x0, y0, width, y1) if number == 0 else (x0, y0, x1, y1))
    return boxes


def filled(size, boxes):
    mask = np.zeros(size, dtype=np.uint8)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = 1
    return mask


def write_cub(folder, *, count=3, masks=True, seed=0):
    """CUB-200-2011 as it is downloaded; ``count`` images of each of two classes in each split."""
    generator, root = np.random.default_rng(seed), Path(folder)
    splits = {"train": [], "test": [], "all": []}
    files = {
        name: [] for name in ("images", "image_class_labels", "train_test_split", "bounding_boxes")
    }
    number = 0
    for label, name in enumerate(CUB_CLASSES):
        for n in range(2 * count):
            number, train, size = number + 1, n % 2, drawn_size(generator)
            (box,) = boxes = drawn_boxes(generator, size, 1)
            image_id = f"{name}/{name[4:]}_{n:04d}_{796000 + number}.jpg"
            save_image(root / "images" / image_id, size, boxes, generator)
            mask = None
            if masks:
                votes = generator.choice(VOTES, size) * filled(size, boxes)
                save_mask((root / "segmentations" / image_id).with_suffix(".png"), votes)
                mask = (votes > 127).astype(np.uint8)
            truth = Truth(image_id, label, size, boxes, mask)
            splits["train" if train else "test"].append(truth)
            splits["all"].append(truth)
            files["images"].append(f"{number} {image_id}")
            files["image_class_labels"].append(f"{number} {label + 1}")
            files["train_test_split"].append(f"{number} {train}")
            corner = (float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1]))
            files["bounding_boxes"].append(" ".join(map(str, (number, *corner))))
    for name, lines in files.items():
        write_lines(root / f"{name}.txt", lines)
    write_lines(root / "classes.txt", [f"{n + 1} {name}" for n, name in enumerate(CUB_CLASSES)])
    return Written(root, splits, CUB_CLASSES)


def annotation_xml(image_id, size, objects):
    """ILSVRC's annotation of one image; objects: (synset, inclusive box)."""
    lines = [
        "<annotation>",
        *(f"\t<folder>val</folder>\n\t<filename>{image_id}</filename>").splitlines(),
        "\t<source>\n\t\t<database>ILSVRC_2012</database>\n\t</source>",
        f"\t<size>\n\t\t<width>{size[1]}</width>\n\t\t<height>{size[0]}</height>",
        "\t\t<depth>3</depth>\n\t</size>\n\t<segmented>0</segmented>",
    ]
    for synset, (xmin, ymin, xmax, ymax) in objects:
        lines += [
            f"\t<object>\n\t\t<name>{synset}</name>\n\t\t<pose>Unspecified</pose>",
            "\t\t<truncated>0</truncated>\n\t\t<difficult>0</difficult>\n\t\t<bndbox>",
            f"\t\t\t<xmin>{xmin}</xmin>\n\t\t\t<ymin>{ymin}</ymin>",
            f"\t\t\t<xmax>{xmax}</xmax>\n\t\t\t<ymax>{ymax}</ymax>\n\t\t</bndbox>\n\t</object>",
        ]
    return "\n".join([*lines, "</annotation>"]) + "\n"


def last_pixels(box):
    """Turn a half-open box into an inclusive one."""
    x0, y0, x1, y1 = box
    return x0, y0, x1 - 1, y1 - 1


def write_ilsvrc(folder, *, count=6, masks=True, seed=0):
    """ILSVRC CLS-LOC with the folder ``ILSVRC`` inside; splits train and val.

    The last training image has no XML file, the first one also an object of another class; the last
    image of val has no mask.
    """
    generator, root = np.random.default_rng(seed), Path(folder)
    base, synsets = root / "ILSVRC", list(SYNSETS)
    splits, mask_folder = {"train": [], "val": []}, root / "masks" if masks else None
    lists = {"train": [], "val": []}
    for split, found in splits.items():
        for n in range(count):
            label, size = n % len(synsets), drawn_size(generator)
            name = f"ILSVRC2012_val_{n + 1:08d}"
            if split == "train":
                name = f"{synsets[label]}/{synsets[label]}_{10026 + n}"
            lists[split].append(f"{name} {n + 1}")
            boxes = drawn_boxes(generator, size, 1 + n % 3)
            objects = [(synsets[label], last_pixels(box)) for box in boxes]
            if split == "train" and n == 0:
                objects.append((synsets[1], (1, 1, 5, 5)))
            image_id = f"{split}/{name}.JPEG"
            save_image(base / "Data/CLS-LOC" / image_id, size, boxes, generator)
            truth = Truth(image_id, label, size, boxes)
            if split == "train" and n == count - 1:
                truth = truth._replace(boxes=[], size=None)
            else:
                xml = (base / "Annotations/CLS-LOC" / image_id).with_suffix(".xml")
                xml.parent.mkdir(parents=True, exist_ok=True)
                xml.write_text(annotation_xml(name, size, objects))
            if masks and split == "val" and n < count - 1:
                gray = np.where(filled(size, boxes), 255, 0).astype(np.uint8)
                gray[0, :2] = (
                    128,
                    129,
                )  # the last gray level of the background, the first of objects
                save_mask(mask_folder / f"{name}.png", gray)
                truth = truth._replace(mask=(gray > 128).astype(np.uint8))
            found.append(truth)
    write_lines(base / "ImageSets/CLS-LOC/val.txt", lists["val"])
    write_lines(base / "ImageSets/CLS-LOC/train_cls.txt", lists["train"])
    write_lines(base / "ImageSets/CLS-LOC/train_loc.txt", lists["train"][:-1])
    write_lines(root / "LOC_synset_mapping.txt", [f"{key} {name}" for key, name in SYNSETS.items()])
    return Written(root, splits, list(SYNSETS.values()), masks=mask_folder)


def write_openimages(folder, *, count=3, seed=0):
    """OpenImages-30k as wsolevaluation ships it: images and masks in one root, lists in another.

    Masks of one image: 1 to 3 instances and an image of what is ignored, which overlaps them.
    """
    generator, root = np.random.default_rng(seed), Path(folder) / "OpenImages"
    metadata, splits = Path(folder) / "metadata/OpenImages", {"train": [], "val": [], "test": []}
    for split, found in splits.items():
        lines = {"image_ids": [], "class_labels": [], "localization": []}
        for n in range(count):
            label, size = n % 2, drawn_size(generator)
            stem = f"{split}/{('01226z', '0138tl')[label]}/{generator.bytes(8).hex()}"
            image_id, boxes = f"{stem}.jpg", drawn_boxes(generator, size, 1 + n % 3)
            save_image(root / image_id, size, boxes, generator)
            lines["image_ids"].append(image_id)
            lines["class_labels"].append(f"{image_id},{label}")
            truth = Truth(image_id, label, size, [])
            if split != "train":
                instances = [filled(size, [box]) for box in boxes]
                ignored = filled(size, drawn_boxes(generator, size, 1))
                save_mask(root / f"{stem}_ignore.png", 255 * ignored)
                for k, instance in enumerate(instances):
                    save_mask(root / f"{stem}_m{k}.png", 255 * instance)
                    ignore = "" if k else f"{stem}_ignore.png"
                    lines["localization"].append(f"{image_id},{stem}_m{k}.png,{ignore}")
                mask = np.maximum.reduce(instances)
                mask[(mask == 0) & (ignored == 1)] = 255
                truth = truth._replace(mask=mask, instances=tuple(instances))
            found.append(truth)
        for name, rows in lines.items():
            if rows:
                write_lines(metadata / split / f"{name}.txt", rows)
    return Written(root, splits, metadata=metadata)


def write_metadata(folder, truths):
    """Write wsolevaluation's four lists of one split; boxes become inclusive."""
    write_lines(folder / "image_ids.txt", [t.image_id for t in truths])
    write_lines(folder / "class_labels.txt", [f"{t.image_id},{t.label}" for t in truths])
    sizes = [f"{t.image_id},{t.size[1]},{t.size[0]}" for t in truths]
    write_lines(folder / "image_sizes.txt", sizes)
    boxes = [",".join(map(str, (t.image_id, *last_pixels(b)))) for t in truths for b in t.boxes]
    write_lines(folder / "localization.txt", boxes)


def write_wsolevaluation(folder, *, count=4, seed=0):
    """Images of three splits, and a folder of lists for each: ``written.metadata / split``."""
    generator, root = np.random.default_rng(seed), Path(folder) / "dataset/CUB"
    metadata, splits = Path(folder) / "metadata/CUB", {"train": [], "val": [], "test": []}
    for split, found in splits.items():
        for n in range(count):
            size, image_id = drawn_size(generator), f"{CUB_CLASSES[n % 2]}/{split}_{n:04d}.jpg"
            boxes = drawn_boxes(generator, size, 1 + n % 2)
            save_image(root / image_id, size, boxes, generator)
            found.append(Truth(image_id, n % 2, size, boxes))
        write_metadata(metadata / split, found)
        write_lines(metadata / split / "image_ids_proxy.txt", [found[0].image_id])
    return Written(root, splits, metadata=metadata)
