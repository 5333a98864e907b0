"""The results file of ``refine``: COCO JSON with the settings and the finished images."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask  # type: ignore[import-untyped]

from wsolrefine import __version__
from wsolrefine.cli.files import replacing
from wsolrefine.cli.refine.stored import FOLDERS, FORMAT, Record, read_content

RESULTS = "wsolrefine.json"


def annotation(mask: npt.NDArray[np.bool_], category: int, score: float) -> Record:
    """Return the COCO annotation of a mask: run lengths, area and box.

    Args:
        mask: ``(H, W)`` at the size of the image, not empty: a box without area breaks most readers
            of COCO files.
        category: index of the class.
        score: how probable the object is.

    Example:
        >>> import numpy as np
        >>> mask = np.zeros((4, 5), dtype=bool)
        >>> mask[1:3, 2:5] = True
        >>> found = annotation(mask, 7, 0.9)
        >>> found["bbox"], found["area"]
        ([2.0, 1.0, 3.0, 2.0], 6)

    """
    runs = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "category_id": category,
        "bbox": [float(v) for v in coco_mask.toBbox(runs)],
        "area": int(coco_mask.area(runs)),
        "segmentation": {"size": list(runs["size"]), "counts": runs["counts"].decode("ascii")},
        "iscrowd": 0,
        "score": round(score, 6),
    }


class Results:
    """The results in a folder, written as one COCO file.

    ``categories`` maps the index of every class of the model to its name. ``model`` is the model's
    hash; None in a file that has none, or before the model is known.
    ``images`` maps the name of each finished image to its COCO image. Its annotations are stored
    under ``"annotations"`` until the file is written.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.out, self.settings = out, dict(settings)
        self.categories: dict[int, str] = {}
        self.model: str | None = None
        self.images: dict[str, Record] = {}

    @classmethod
    def read(cls, out: Path) -> Results | None:
        """Read the results file of a folder; None if there is none.

        Raises:
            BadResults: there is a file of that name that this command did not write.

        """
        try:
            content = read_content(out / RESULTS)
        except FileNotFoundError:
            return None
        results = cls(out, content["info"]["settings"])
        results.model = content["info"].get("model")
        results.categories = {entry["id"]: entry["name"] for entry in content["categories"]}
        images = {image["id"]: {**image, "annotations": []} for image in content["images"]}
        for entry in content["annotations"]:
            images[entry["image_id"]]["annotations"].append(entry)
        results.images = {image["file_name"]: image for image in images.values()}
        return results

    def files(self) -> set[str]:
        """Return the paths of all results below the folder."""
        return {file for image in self.images.values() for file in image["files"]}

    def sources(self) -> dict[str, str]:
        """Map the real path of each finished image to its name."""
        return {
            os.path.realpath(self.out / image["source"]): name
            for name, image in self.images.items()
        }

    def add(
        self,
        name: str,
        identity: Record,
        size: tuple[int, int],
        files: list[str],
        annotations: list[Record],
    ) -> None:
        """Add a finished image.

        Args:
            name: its name.
            identity: its :func:`file_identity` before it was read.
            size: ``(width, height)``.
            files: paths of its results below the folder.
            annotations: one for each object.

        """
        self.images[name] = {
            "file_name": name,
            "width": size[0],
            "height": size[1],
            **identity,
            "files": files,
            "annotations": annotations,
        }

    def is_done(self, name: str, path: Path) -> bool:
        """Tell whether an image is finished: its file is unchanged and all its results exist."""
        image = self.images.get(name)
        if image is None:
            return False
        try:
            same = file_identity(path, self.out).items() <= image.items()
        except OSError:
            return False
        return same and all((self.out / file).is_file() for file in image["files"])

    def write(self) -> None:
        """Write the file atomically; ids number the images in the order of their names."""
        images: list[Record] = []
        annotations: list[Record] = []
        for name in sorted(self.images):
            number: Record = {"id": len(images) + 1}
            image = number | self.images[name] | number  # first, and instead of an earlier id
            for entry in image.pop("annotations"):
                numbers = {"id": len(annotations) + 1, "image_id": image["id"]}
                annotations.append({**entry, **numbers})
            images.append(image)
        used = {entry["category_id"] for entry in annotations}
        names = {number: f"class {number}" for number in used} | self.categories
        content = {
            "info": {
                "description": "maps, masks and boxes by wsolrefine",
                "version": __version__,
                "format": FORMAT,
                "settings": self.settings,
                **({} if self.model is None else {"model": self.model}),
            },
            "licenses": [],
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": names[number]} for number in sorted(names)],
        }
        # With ASCII escapes, because a file name may contain bytes that UTF-8 cannot encode.
        with replacing(self.out / RESULTS) as temporary:
            temporary.write_text(json.dumps(content, allow_nan=False), "utf-8")

    def delete(self, name: str) -> None:
        """Remove an image and delete its files."""
        for file in self.images.pop(name)["files"]:
            path = Path(os.path.realpath(self.out / file))
            if any((self.out / folder) in path.parents for folder in FOLDERS):
                path.unlink(missing_ok=True)

    def delete_all(self) -> None:
        """Remove every image and delete its files."""
        for name in list(self.images):
            self.delete(name)


def file_identity(path: Path, out: Path) -> Record:
    """Return what identifies a file: path from the folder of results, size, time of modification.

    Raises:
        OSError: there is no such file, or it cannot be reached.

    """
    status = path.stat()
    try:
        source = Path(os.path.relpath(os.path.realpath(path), out)).as_posix()
    except ValueError:  # another drive on Windows
        source = Path(os.path.realpath(path)).as_posix()
    return {"source": source, "bytes": status.st_size, "modified": status.st_mtime_ns}
