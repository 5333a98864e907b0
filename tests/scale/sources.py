"""Data sets of a few small images in every form that a source can have."""

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def picture(number, size=(24, 16)):
    """Return an image of smooth colors that no other number has."""
    small = np.random.default_rng(number).integers(0, 256, (3, 4, 3), np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def content(number, **options):
    """Return an image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    picture(number, **options).save(buffer, "PNG")
    return buffer.getvalue()


def write_folder(folder, count=5):
    """Write images, one of them in a folder of its own, and files that are none."""
    (folder / "deep").mkdir(parents=True)
    names = names_of(count)
    for number, name in enumerate(names):
        (folder / name).write_bytes(content(number))
    (folder / "notes.md").write_text("no image")
    (folder / ".hidden.png").write_bytes(content(99))
    return sorted(names)


def names_of(count):
    """Return the names of the images that ``write_folder`` writes."""
    return [*(f"{i}.png" for i in range(count - 1)), f"deep/{count - 1}.png"]


def write_tar(file, count=3, *, damaged=False):
    """Write a tar as webdataset has it: image and class of each sample beside each other."""
    with tarfile.open(file, "w") as tar:
        for number in range(count):
            for suffix, data in (("png", content(number)), ("cls", str(number).encode())):
                member = tarfile.TarInfo(f"s/{number:03d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    if damaged:
        file.write_bytes(file.read_bytes()[:1200])


def write_images_as_parquet(file, count=5, group=2):
    """Write a Parquet file as Hugging Face has it, with images inside."""
    rows = {
        "image": [{"bytes": content(i), "path": f"{i}.png"} for i in range(count)],
        "label": list(range(count)),
    }
    pq.write_table(pa.table(rows), file, row_group_size=group)


def write_coco(file, count=3):
    """Write a COCO file: image 10 has category 0, image 11 the categories 7 and 0, the last none."""
    content = {
        "images": [{"id": 10 + i, "file_name": f"{i}.png"} for i in range(count)],
        "categories": [{"id": 7 * i, "name": f"kind {i}"} for i in range(count)],
        "annotations": [
            {"id": k, "image_id": 10 + i, "category_id": 7 * i}
            for k, i in enumerate(range(count - 1))
        ]
        + [
            {"id": 90, "image_id": 11, "category_id": 0},
            {"id": 91, "image_id": 11, "category_id": 7},
        ],
    }
    file.write_text(json.dumps(content))
