"""Reading annotation files line by line; errors read ``FILE:LINE: expected ..., got ...``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from wsolrefine._files import MAX_TEXT, read_bytes

WHOLE = re.compile(r"[0-9]{1,9}")
DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


class Row(NamedTuple):
    """The fields of one line, with its file and line number."""

    file: Path
    line: int
    form: str
    fields: list[str]

    def error(self, expected: str, got: object) -> ValueError:
        """Return an error that names this line."""
        return broken(self.file, self.line, expected, got)

    def whole(self, index: int) -> int:
        """Return a field as an integer >= 0."""
        if not WHOLE.fullmatch(self.fields[index]):
            raise self.error(f"{self.form} with a whole number", self.fields[index])
        return int(self.fields[index])

    def decimal(self, index: int) -> float:
        """Return a field as a decimal number >= 0."""
        if not DECIMAL.fullmatch(self.fields[index]):
            raise self.error(f"{self.form} with a number", self.fields[index])
        return float(self.fields[index])

    def path(self, index: int) -> str:
        """Return a field that is a path below a folder."""
        if not stays_below(self.fields[index]):
            raise self.error(
                f"{self.form} with a path that stays below its folder", self.fields[index]
            )
        return self.fields[index]


def broken(file: Path, line: int, expected: str, got: object) -> ValueError:
    """Return an error that names a line of a file."""
    shown = got if isinstance(got, str) else str(got)
    shown = repr(shown if len(shown) <= 100 else f"{shown[:100]}...")
    return ValueError(f"{file}:{line}: expected {expected}, got {shown}")


def stays_below(path: str) -> bool:
    r"""Return whether a path with ``/`` stays below the folder it is joined to.

    Refused: ``..`` and other parts that are not names, absolute paths, drive letters, ``\``,
    control characters. Links are followed: they belong to the owner of the folder.
    """
    odd = "\\" in path or re.match(r"[A-Za-z]:", path) or any(ord(c) < 32 for c in path)
    return not odd and all(part not in ("", ".", "..") for part in path.split("/"))


def read_text(file: Path, limit: int = MAX_TEXT) -> str:
    """Return the content of a UTF-8 file of limited size, without its byte order mark."""
    content = read_bytes(file, limit)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        got = content[error.start : error.start + 1].hex()
        raise broken(file, line, "UTF-8 text", f"byte {got}") from None


def read_rows(file: Path, form: str, *, open_end: bool = False) -> list[Row]:
    """Return the lines of a file as fields; empty lines at its end are skipped.

    Args:
        file: a text file; its lines may end in CR LF.
        form: what a line looks like, such as ``id,label`` or ``id x y``: gives the separator and
            the number of fields.
        open_end: the last field is the rest of the line, including separators.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not UTF-8, or a line has another number of fields.

    """
    separator = "," if "," in form else " "
    count = form.count(separator) + 1  # a single field is the whole line
    lines = [line.removesuffix("\r") for line in read_text(file).split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    rows = []
    for number, line in enumerate(lines, 1):
        fields = line.split(separator, count - 1 if open_end or count == 1 else -1)
        if "\r" in line:  # the only line, or some of them, end in CR alone
            raise broken(file, number, "lines that end in LF or CR LF", line)
        if len(fields) != count or not line:
            raise broken(file, number, form, line)
        rows.append(Row(file, number, form, fields))
    return rows


def by_id(rows: Iterable[Row]) -> dict[str, Row]:
    """Return the rows by their first field, which must be unique."""
    found: dict[str, Row] = {}
    for row in rows:
        other = found.setdefault(row.fields[0], row)
        if other is not row:
            raise row.error(f"an id that is not in line {other.line}", row.fields[0])
    return found


def grouped(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows by their first field."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.fields[0], []).append(row)
    return found


def check_same_ids(first: dict[str, Row], rows: Iterable[Row], name: str) -> None:
    """Raise unless a file's rows have the ids of the first file, no more and no fewer.

    Args:
        first: the rows of the file that lists the ids.
        rows: those of the other file.
        name: name of the other file.

    Raises:
        ValueError: an id is in only one of them; the message names its line.

    """
    seen = set()
    for row in rows:
        if row.fields[0] not in first:
            listing = next(iter(first.values())).file.name if first else "the list of ids"
            raise row.error(f"an id that is in {listing}{_alike(first, row)}", row.fields[0])
        seen.add(row.fields[0])
    for key, row in first.items():
        if key not in seen:
            raise row.error(f"an id that is in {name}", key)


def _alike(first: dict[str, Row], row: Row) -> str:
    """Return a hint if an id that is not listed looks like one that is."""
    wanted = _folded(row.fields[0])
    for key, other in first.items():
        if _folded(key) == wanted:
            return (
                f" (that of line {other.line} differs in case, blanks or the form of its accents)"
            )
    return ""


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip()).casefold()
