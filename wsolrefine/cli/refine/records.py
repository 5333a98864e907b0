"""Finished images by name: the records stay in their files, memory has only their places."""

from __future__ import annotations

import contextlib
import json
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from wsolrefine.cli.files import FolderInUse
from wsolrefine.cli.refine.stored import Record
from wsolrefine.cli.refine.stream import Place, loads

Places = tuple[Place, tuple[Place, ...]]
"""Where an image and its annotations are in a COCO file."""


class Records(Mapping[str, Record]):
    """The COCO image of each finished image, with its ``"annotations"``.

    The masks of 10,000 photographs fill hundreds of megabytes, and each is needed once. A file that
    another run has replaced since its places were noted raises
    :class:`wsolrefine.cli.files.FolderInUse`.

    Args:
        coco: the COCO file.
        finished: the file of :class:`wsolrefine.cli.refine.finished.Finished`.

    """

    def __init__(self, coco: Path, finished: Path) -> None:
        self._coco, self._finished = coco, finished
        self._places: dict[str, Place | Places] = {}  # the former in the file of finished images
        self._handles: dict[Path, int] = {}
        weakref.finalize(self, _close, self._handles)

    def __getitem__(self, name: str) -> Record:
        """Read an image."""
        image = self._image(name)
        return {**image, "annotations": [*self._annotations(name)]}

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self._places)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        """Tell whether there is an image of that name, without reading it."""
        return name in self._places

    def pop(self, name: str) -> Record:
        """Remove an image and return it."""
        record = self[name]
        del self._places[name]
        return record

    def replace(self, places: Mapping[str, Places]) -> None:
        """Take what a COCO file lists instead of what there was."""
        self.close()
        self._places = dict(places)

    def finish(self, places: Iterable[tuple[str, Place]]) -> None:
        """Add images of the file of finished ones; they take the place of those of their name."""
        self._places.update(places)

    def write(self, file: BinaryIO) -> tuple[dict[str, Places], set[int]]:
        """Write the lists of a COCO file: images by name and their annotations, numbered from 1.

        Returns:
            Where each image is, and the classes of the annotations.

        """
        names, images = sorted(self._places), dict[str, Place]()
        annotations: dict[str, tuple[Place, ...]] = {}
        used: set[int] = set()
        lines = _Lines(file, "images")
        for number, name in enumerate(names, 1):
            first = {"id": number}
            images[name] = lines.add(first | self._image(name) | first)  # also if there was an id
        lines.end()
        lines = _Lines(file, "annotations")
        for number, name in enumerate(names, 1):
            added = []
            for entry in self._annotations(name):
                used.add(entry["category_id"])
                numbers = {"id": lines.count + 1, "image_id": number}
                added.append(lines.add({**entry, **numbers}))
            annotations[name] = tuple(added)
        lines.end()
        return {name: (images[name], annotations[name]) for name in names}, used

    def close(self) -> None:
        """Close the files, which are opened again when they are needed."""
        _close(self._handles)

    def _image(self, name: str) -> Record:
        place = self._places[name]
        if isinstance(place, Place):
            image = self._read(self._finished, place)
            del image["annotations"]
        else:
            image = self._read(self._coco, place[0])
        if image.get("file_name") != name:
            raise FolderInUse
        return image

    def _annotations(self, name: str) -> Iterable[Record]:
        place = self._places[name]
        if isinstance(place, Place):
            found: list[Record] = self._read(self._finished, place)["annotations"]
            return found
        return (self._read(self._coco, one) for one in place[1])

    def _read(self, path: Path, place: Place) -> Record:
        if path not in self._handles:
            self._handles[path] = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        os.lseek(self._handles[path], place.start, os.SEEK_SET)
        try:
            found: Record = loads(os.read(self._handles[path], place.length))
        except ValueError:  # it is another file than the one whose places these are
            raise FolderInUse from None
        return found


class _Lines:
    """A list of a JSON object, with a line for each element."""

    def __init__(self, file: BinaryIO, key: str) -> None:
        self._file, self.count = file, 0
        self._at = file.tell() + file.write(b"%s: [" % json.dumps(key).encode("ascii"))

    def add(self, element: Record) -> Place:
        text = json.dumps(element, allow_nan=False).encode("ascii")
        before = self._file.write(b",\n" if self.count else b"\n")
        place = Place(self._at + before, len(text))
        self._at += before + self._file.write(text)
        self.count += 1
        return place

    def end(self) -> None:
        self._file.write(b"\n],\n" if self.count else b"],\n")


def _close(handles: dict[Path, int]) -> None:
    while handles:
        with contextlib.suppress(OSError):
            os.close(handles.popitem()[1])
