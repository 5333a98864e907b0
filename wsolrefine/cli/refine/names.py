"""Names of results: below their folder, and no two for one file, on any disk."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from wsolrefine.cli.refine.coco import Known
from wsolrefine.cli.refine.outputs import FOLDERS, bases_of, without_suffix

LONGEST = 200
"""Bytes of one name: most disks take 255, and the results add their suffixes."""

LONGEST_PATH = 800
"""Bytes of the whole name with its folders: systems take 1024 or 4096 with those of ``--out``."""

_ODD = re.compile(r"[\x00-\x1f\x7f\\]|^[A-Za-z]:|[. ]+$")


class Names:
    """The names in use, of images and of their results. Known ones keep theirs.

    Args:
        known: real path of an image to what it is known by.

    """

    def __init__(self, known: Mapping[str, Known]) -> None:
        self._known = {source: image.name for source, image in known.items()}
        self._bases = {image.name: image.base for image in known.values() if image.base}
        self._taken = {folded(base) for base in self._bases.values()}
        self._folders: set[str] = set()  # bases whose result would be a folder in use
        for image in known.values():
            self._use(image.name)

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

    def bases(self) -> dict[str, str]:
        """Return the base of the results of each image by its name, once all have one.

        That is the name without the suffix, or with it where it would be that of another image:
        ``a.jpg`` and ``a.png`` in one folder keep theirs.

        Example:
            >>> names = Names({})
            >>> for name in ("a.jpg", "a.png", "b.jpg"):
            ...     _ = names.of(f"/photographs/{name}", name)
            >>> names.bases()
            {'a.jpg': 'a.jpg', 'a.png': 'a.png', 'b.jpg': 'b'}

        """
        plain = {name: without_suffix(name) for name in self._known.values()}
        number = Counter(map(folded, plain.values()))
        for name, base in plain.items():
            if name not in self._bases:
                key = folded(base)
                free = number[key] == 1 and key not in self._taken and key not in self._folders
                self._bases[name] = base if free else name
        return dict(self._bases)

    def _is_free(self, name: str) -> bool:
        key = folded(name)
        if key in self._taken or key in self._folders:
            return False
        return self._taken.isdisjoint(_bases_in_the_way(key))

    def _use(self, name: str) -> None:
        key = folded(name)
        self._taken.add(key)
        self._folders.update(_bases_in_the_way(key))


def _bases_in_the_way(name: str) -> set[str]:
    """Return the bases of which a result would be where this image's results need a folder."""
    folders = (str(folder) for folder in PurePosixPath(name).parents)
    return {base for folder in folders for kind in FOLDERS for base in bases_of(f"{kind}/{folder}")}


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
