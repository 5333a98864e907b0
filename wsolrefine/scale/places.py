"""Where files are: paths on this machine, and addresses that fsspec opens."""

from __future__ import annotations

import posixpath
from functools import cache
from typing import Any, NamedTuple


class Place(NamedTuple):
    """A file system of fsspec and a path in it."""

    files: Any
    path: str

    @classmethod
    def of(cls, address: str) -> Place:
        """Return the place of an address or a path.

        Raises:
            ValueError: no package is installed for such an address, or it is none.

        """
        from fsspec.core import url_to_fs

        try:
            return cls(*url_to_fs(address))
        except (ImportError, ValueError) as error:
            raise _no_address(address, error) from None

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        from fsspec.implementations.local import LocalFileSystem

        return isinstance(self.files, LocalFileSystem)

    def address(self, path: str) -> str:
        """Return how a path in this file system is opened from anywhere."""
        return path if self.is_local else str(self.files.unstrip_protocol(path))

    def joined(self, folder: str, name: str) -> str:
        """Return how a file is opened that a list names.

        Args:
            folder: folder in this file system from which relative names lead.
            name: a path or an address.

        Raises:
            ValueError: no package is installed for such an address.

        """
        if "://" not in name:
            return self.address(posixpath.join(folder, name))
        for part in name.split("::"):
            if "://" in part:
                _check_protocol(part.partition("://")[0])
        return name


def absolute(address: str) -> str:
    """Return an address, or a path from the root of this machine's files.

    Raises:
        ValueError: it is no address.

    """
    place = Place.of(address)
    return place.address(place.path)


@cache
def _check_protocol(protocol: str) -> None:
    """Raise now if addresses cannot be opened, or each image would be a row with this error."""
    from fsspec import get_filesystem_class

    try:
        get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        raise _no_address(f"{protocol}://", error) from None


def _no_address(address: str, error: Exception) -> ValueError:
    expected = "SOURCE: expected a path or an address"
    return ValueError(f"{expected}, got {address}: {error}")
