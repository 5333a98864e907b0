"""A folder of results, local or at an address of fsspec, whose files appear whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TEMPORARY = ".wsolrefine-tmp-"
"""How the names of files begin that are being written; readers of Parquet pass over them."""


class Store:
    """A folder of results.

    A file is written under a temporary name and then renamed, so that a run that is killed leaves
    no half of one. On object stores a rename is a copy on the server, which is as atomic.

    Args:
        address: a path, or an address of fsspec such as ``s3://bucket/labels``.

    Example:
        >>> store = Store("memory://example")
        >>> store.write("labels/0.txt", b"whole")
        >>> store.names("labels"), store.read("labels/0.txt")
        (['0.txt'], b'whole')

    """

    def __init__(self, address: str | os.PathLike[str]) -> None:
        from fsspec.core import url_to_fs
        from fsspec.implementations.local import LocalFileSystem

        self.address = os.fspath(address)
        self._files, self._root = url_to_fs(self.address)
        self.folder = Path(self._root) if isinstance(self._files, LocalFileSystem) else None
        """The folder as a path; None if it is not on this machine."""

    def path(self, name: str = "") -> str:
        """Return where a file is, in the words of the file system."""
        return f"{self._root.rstrip('/')}/{name}" if name else str(self._root)

    def exists(self, name: str) -> bool:
        """Tell whether there is a file of this name."""
        return bool(self._files.exists(self.path(name)))

    def names(self, folder: str = "") -> list[str]:
        """Return the names in a folder in order, without those that begin with a dot."""
        return [name for name in self._all(folder) if not name.startswith(".")]

    def size(self, name: str) -> int:
        """Return the bytes of a file."""
        return int(self._files.size(self.path(name)))

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return bytes(self._files.cat_file(self.path(name)))

    def read_json(self, name: str) -> Any:
        """Return the content of a JSON file.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is no JSON.

        """
        try:
            return json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self.path(name)}: expected JSON, got {error}") from None

    def open(self, name: str) -> Any:
        """Open a file for reading."""
        return self._files.open(self.path(name), "rb")

    def write(self, name: str, content: bytes) -> None:
        """Write a file, all of it or nothing."""
        with self.writing(name) as file:
            file.write(content)

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Any]:
        """Yield a file to write to, which appears under its name when the body has ended.

        If the body raises, nothing is left. On a local disk the content is there before the name,
        also if the power fails.
        """
        folder = name.rpartition("/")[0]
        self._files.makedirs(self.path(folder), exist_ok=True)
        hidden = self.path(f"{folder}/{TEMPORARY}{uuid.uuid4().hex}".lstrip("/"))
        try:
            with self._files.open(hidden, "wb") as file:
                yield file
                if self.folder is not None:
                    file.flush()
                    os.fsync(file.fileno())
            if self.folder is not None:
                os.replace(hidden, self.path(name))  # noqa: PTH105 - addresses are text
            else:
                self._files.mv(hidden, self.path(name))
        except BaseException:
            with contextlib.suppress(OSError):
                self._files.rm_file(hidden)
            raise

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._files.rm_file(self.path(name))

    def remove_temporary(self, *folders: str) -> None:
        """Remove what killed runs have left in these folders; no other run may be writing there."""
        for folder in folders:
            for name in self._all(folder):
                if name.startswith(TEMPORARY):
                    self._files.rm_file(self.path(f"{folder}/{name}".lstrip("/")))

    def _all(self, folder: str) -> list[str]:
        self._files.invalidate_cache()
        try:
            found = self._files.ls(self.path(folder), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in found)
