"""Images that are finished and not yet in the results file: a JSON line for each batch of them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path

from wsolrefine.cli.refine.entries import check_annotation, check_image, of_kind
from wsolrefine.cli.refine.stored import BadResults, Record
from wsolrefine.cli.refine.stream import Place, Stream, loads


class Finished:
    """The file of lines, which exists while a run writes results, and after it if it was killed.

    The first line tells which results the others belong to. If a line is incomplete, because the
    run was killed or the disk was full, its batch counts as not done: the next run has the same
    batches, and so the same results.

    Args:
        out: the folder of the results.
        index: name of the results file.

    """

    def __init__(self, out: Path, index: str) -> None:
        self.path = out / f".{index}.finished"
        self._index, self._begun = index, False

    def is_ours(self) -> bool:
        """Tell whether the file is one of these, or not there; else it is the user's own."""
        if not self.path.is_file():
            return not os.path.lexists(self.path)
        expected = json.dumps({"finished": self._index})[:-1].encode("ascii")
        with self.path.open("rb") as file:
            begin = file.read(len(expected))
        return expected.startswith(begin)

    def read(
        self, settings: Mapping[str, object], model: str | None, categories: Mapping[int, str]
    ) -> Iterator[tuple[str, Place]]:
        """Yield name and place of each image that a killed run has finished, with these settings.

        Raises:
            BadResults: the file cannot be read, or its values are not those that are written here.

        """
        if not self.path.is_file():
            return
        try:
            with self.path.open("rb") as file:
                start = 0
                for number, line in enumerate(file):
                    if not line.endswith(b"\n"):
                        return
                    if number == 0:
                        header = loads(line)
                        if (header.get("settings"), header.get("model")) != (settings, model):
                            return  # what it belonged to was deleted
                    else:
                        where = f"line {number + 1}"
                        for record, place in [*Stream(BytesIO(line)).elements()]:
                            _check(record, categories, where)
                            yield record["file_name"], Place(start + place.start, place.length)
                    start += len(line)
        except OSError as error:
            raise BadResults(f"{self.path}: cannot be read ({error.strerror or error})") from None
        except (AttributeError, ValueError) as error:
            raise BadResults(f"{self.path}: not a file of wsolrefine ({error})") from None

    def add(
        self, batch: Sequence[Record], settings: Mapping[str, object], model: str | None
    ) -> list[Place]:
        """Write a line, all of it or nothing; return the place of each image in the file.

        Raises:
            OSError: it cannot be written.

        """
        header = b""
        if not self._begun:
            first = {"finished": self._index, "settings": settings, "model": model}
            header = json.dumps(first).encode("ascii") + b"\n"
        texts = [json.dumps(record, allow_nan=False).encode("ascii") for record in batch]
        # A new file at first: one that is there is what start() should have removed.
        create = 0 if self._begun else os.O_CREAT | os.O_EXCL
        flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0) | create
        handle = os.open(self.path, flags, 0o666)
        try:
            begin = os.fstat(handle).st_size
            _write(handle, header + b"[" + b",".join(texts) + b"]\n", begin)
        finally:
            os.close(handle)
        self._begun = True
        places, start = [], begin + len(header) + 1
        for text in texts:
            places.append(Place(start, len(text)))
            start += len(text) + 1
        return places

    def clear(self) -> None:
        """Remove the file: the results file lists what it lists."""
        self.path.unlink(missing_ok=True)
        self._begun = False


def _write(handle: int, text: bytes, begin: int) -> None:
    """Append a text; if the disk is full, leave the file as it was."""
    left = memoryview(text)
    try:
        while left:
            left = left[os.write(handle, left) :]
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(handle, begin)
        raise


def _check(record: Record, categories: Mapping[int, str], where: str) -> None:
    annotations = of_kind(list, record, "annotations", where)
    check_image({key: value for key, value in record.items() if key != "annotations"}, where)
    for entry in annotations:
        check_annotation(entry, record, categories, where)
