"""The results file of ``refine``: COCO JSON with the settings and the finished images."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wsolrefine import __version__
from wsolrefine.cli.files import replacing
from wsolrefine.cli.refine.finished import Finished
from wsolrefine.cli.refine.outputs import FOLDERS, bases_of, without_suffix
from wsolrefine.cli.refine.records import Records
from wsolrefine.cli.refine.stored import FORMAT, Record, read_listed
from wsolrefine.localization.run_lengths import region

RESULTS = "wsolrefine.json"


def annotation(
    mask: npt.NDArray[np.bool_], size: tuple[int, int], category: int, score: float
) -> Record | None:
    """Return the COCO annotation of a mask: run lengths, area and box; None if it is empty.

    Args:
        mask: ``(h, w)``.
        size: (height, width) of the image, to which the mask is enlarged.
        category: index of the class.
        score: how probable the object is.

    Example:
        >>> import numpy as np
        >>> mask = np.zeros((4, 5), dtype=bool)
        >>> mask[1:3, 2:5] = True
        >>> found = annotation(mask, (8, 10), 7, 0.9)
        >>> found["bbox"], found["area"]
        ([4.0, 2.0, 6.0, 4.0], 24)

    """
    found = region(mask, size)
    if found is None:  # a box without area breaks most readers of COCO files
        return None
    x0, y0, x1, y1 = found.box
    return {
        "category_id": category,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": found.area,
        "segmentation": {"size": list(size), "counts": found.counts},
        "iscrowd": 0,
        "score": round(score, 6),
    }


class Known(NamedTuple):
    """Name of a finished image, and base of its results; None if it has no files."""

    name: str
    base: str | None


class Results:
    """The results in a folder: one COCO file, and while a run writes, a file of lines beside it.

    ``categories`` maps the index of every class of the model to its name. ``model`` is the model's
    hash; None in a file that has none, or before the model is known. ``images`` maps the name of
    each finished image to its COCO image with its ``"annotations"``; they are read when asked for.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.out, self.settings = out, dict(settings)
        self.categories: dict[int, str] = {}
        self.model: str | None = None
        self.finished = Finished(out, RESULTS)
        self.images = Records(out / RESULTS, self.finished.path)

    @classmethod
    def read(cls, out: Path) -> Results | None:
        """Read the results of a folder, also those of a killed run; None if there are none.

        Raises:
            BadResults: there is a file of that name that this command did not write.

        """
        try:
            listed = read_listed(out / RESULTS)
        except FileNotFoundError:
            return None
        results = cls(out, listed.info["settings"])
        results.model, results.categories = listed.info.get("model"), listed.categories
        results.images.replace(listed.images)
        found = results.finished.read(results.settings, results.model, results.categories)
        results.images.finish(found)
        return results

    def files(self) -> set[str]:
        """Return the paths of all results below the folder."""
        return {file for image in self.images.values() for file in image["files"]}

    def sources(self) -> dict[str, Known]:
        """Map the real path of each finished image to what it is known by."""
        found = {}
        for name, image in self.images.items():
            bases = {base for file in image["files"][:1] for base in bases_of(file)}
            base = next((base for base in (name, without_suffix(name)) if base in bases), None)
            found[os.path.realpath(self.out / image["source"])] = Known(name, base)
        return found

    def add(self, batch: Sequence[Record]) -> None:
        """Add the finished images of a batch; if the run is killed meanwhile, all or none of them.

        Raises:
            OSError: they cannot be written.

        """
        if batch:
            places = self.finished.add(batch, self.settings, self.model)
            names = [image["file_name"] for image in batch]
            self.images.finish(zip(names, places, strict=True))

    def is_done(self, name: str, path: Path) -> bool:
        """Tell whether an image is finished: its file is unchanged and all its results exist."""
        if name not in self.images:
            return False
        image = self.images[name]
        try:
            same = file_identity(path, self.out).items() <= image.items()
        except OSError:
            return False
        return same and all((self.out / file).is_file() for file in image["files"])

    def write(self) -> None:
        """Write the COCO file atomically; ids number the images in the order of their names.

        Each image and annotation has a line of its own.
        """
        info = {
            "description": "maps, masks and boxes by wsolrefine",
            "version": __version__,
            "format": FORMAT,
            "settings": self.settings,
            **({} if self.model is None else {"model": self.model}),
        }
        # With ASCII escapes, because a file name may contain bytes that UTF-8 cannot encode.
        with replacing(self.out / RESULTS) as temporary, temporary.open("wb") as file:
            file.write(b'{"info": ' + _json(info) + b',\n"licenses": [],\n')
            places, used = self.images.write(file)
            names = {number: f"class {number}" for number in used} | self.categories
            categories = [{"id": number, "name": names[number]} for number in sorted(names)]
            file.write(b'"categories": ' + _json(categories) + b"}\n")
            self.images.close()  # some systems replace no file that is open
        self.images.replace(places)
        self.finished.clear()

    def start(self) -> None:
        """Write the COCO file at the start of a run, which also tells whether it can be written.

        If there are no results, the lines of a killed run are those of others, which are given up.
        """
        if not self.images:
            self.finished.clear()
        self.write()

    def delete(self, name: str) -> None:
        """Remove an image and delete its files."""
        delete_files(self.out, self.images.pop(name)["files"])


def delete_files(out: Path, files: Iterable[str]) -> None:
    """Delete results, but nothing to which a link leads out of their folders."""
    for file in files:
        path = Path(os.path.realpath(out / file))
        if any((out / folder) in path.parents for folder in FOLDERS):
            path.unlink(missing_ok=True)


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


def _json(value: object) -> bytes:
    return json.dumps(value, allow_nan=False).encode("ascii")
