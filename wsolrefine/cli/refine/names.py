"""Names of results: below their folder, and no two for one file, on any disk."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from wsolrefine.cli.refine.stored import results_of

LONGEST = 200
"""Bytes of one name: most disks take 255, and the results add their suffixes."""

LONGEST_PATH = 800
"""Bytes of the whole name with its folders: systems take 1024 or 4096 with those of ``--out``."""

_ODD = re.compile(r"[\x00-\x1f\x7f\\]|^[A-Za-z]:|[. ]+$")


class Names:
    """The names in use. Known ones keep theirs.

    Args:
        known: real path of an image to its name.

    """

    def __init__(self, known: Mapping[str, str]) -> None:
        self._known = dict(known)
        self._names: set[str] = set()
        self._folders: set[str] = set()  # images whose result would be a folder in use
        for name in known.values():
            self._use(name)

    def of(self, source: str, relative: str) -> str:
        """Return the name of an image: its path below the given folder, where possible.

        Parent folders are added until no other image has the name, and no file of results would be
        where a folder is needed. The parts of the name are made :func:`safe`; the results file has
        the path of the image too.

        Args:
            source: real path of the image.
            relative: its path below the given folder.

        """
        if source in self._known:
            return self._known[source]
        name, number, plain = safe(relative), 1, safe(relative)
        for folder in list(Path(source).parents)[relative.count("/") :]:
            if self._is_free(name):
                break
            relative = f"{folder.name}/{relative}" if folder.name else relative
            name = safe(relative)
        while not self._is_free(name):
            number += 1
            name = f"{number}/{plain}"
        self._use(name)
        self._known[source] = name
        return name

    def _is_free(self, name: str) -> bool:
        key = folded(name)
        if key in self._names or key in self._folders:
            return False
        return self._names.isdisjoint(_images_in_the_way(key))

    def _use(self, name: str) -> None:
        key = folded(name)
        self._names.add(key)
        self._folders.update(_images_in_the_way(key))


def _images_in_the_way(name: str) -> set[str]:
    """Return the images whose result would have the name of a folder of this image's results."""
    folders = (str(folder) for folder in PurePosixPath(name).parents)
    return {image for folder in folders for image in results_of(folder)}


def folded(name: str) -> str:
    """Return what is equal for names of one file."""
    # On some disks, names that differ only in case or in the encoding of accents are one file.
    return unicodedata.normalize("NFC", name).casefold()


def safe(relative: str) -> str:
    r"""Return a relative path without what breaks a path on some systems.

    That is control characters, backslashes, drives, dots and blanks at the end, and names that are
    too long. Other characters that Windows does not allow, such as ``*``, are kept.

    Example:
        >>> safe("birds/wren.jpg"), safe("a\nb/c:\\d.png")
        ('birds/wren.jpg', 'a_b/__d.png')

    """
    parts = [_shortened(_ODD.sub("_", part)) for part in relative.split("/")]
    name = "/".join(part for part in parts if part)
    if len(_bytes(name)) > LONGEST_PATH:
        return f"{_digest(relative)}/{parts[-1]}"
    return name


def _shortened(part: str) -> str:
    if len(_bytes(part)) <= LONGEST:
        return part
    suffix = PurePosixPath(part).suffix if len(_bytes(PurePosixPath(part).suffix)) <= 16 else ""
    kept = _bytes(part)[: LONGEST - 24 - len(_bytes(suffix))]
    return f"{kept.decode('utf-8', 'ignore')}~{_digest(part)}{suffix}"


def _digest(text: str) -> str:
    return hashlib.sha256(_bytes(text)).hexdigest()[:16]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
