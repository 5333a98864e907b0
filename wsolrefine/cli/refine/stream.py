"""JSON read value by value, with the place of each: a large file need not fit into memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from wsolrefine._files import finite_float, not_finite

CHUNK = 2**20
"""Bytes that are read at once; more where one value is longer."""

_BLANKS = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder(parse_constant=not_finite, parse_float=finite_float)


class Place(NamedTuple):
    """Where a value is in a file, in bytes."""

    start: int
    length: int


class Stream:
    """The values of a JSON text, one after the other.

    A value ends at the same byte whether bytes are read as Latin-1 or as UTF-8, so they are read as
    Latin-1, which has no incomplete characters; what is not ASCII is read once more as UTF-8.

    Args:
        file: the text.

    Example:
        >>> from io import BytesIO
        >>> stream = Stream(BytesIO(b'{"a": [1, 20], "b": null}'))
        >>> for key in stream.members():
        ...     print(key, list(stream.elements()) if key == "a" else stream.value())
        a [(1, Place(start=7, length=1)), (20, Place(start=10, length=2))]
        b (None, Place(start=20, length=4))

    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._text = file, ""
        self._at = self._before = 0

    def members(self) -> Iterator[str]:
        """Yield the keys of an object; the caller reads the value of each before the next one.

        Raises:
            ValueError: there is no object, or it is damaged, or has a key twice.

        """
        seen: set[str] = set()
        self._take("{")
        while self._peek() != "}":
            if seen:
                self._take(",")
            key, _ = self.value()
            if not isinstance(key, str) or key in seen:
                raise ValueError(f"expected a name that no other value has, got {key!r:.80}")
            seen.add(key)
            self._take(":")
            yield key
        self._take("}")

    def elements(self) -> Iterator[tuple[Any, Place]]:
        """Yield the elements of a list.

        Raises:
            ValueError: there is no list, or it is damaged.

        """
        first = True
        self._take("[")
        while self._peek() != "]":
            if not first:
                self._take(",")
            first = False
            yield self.value()
        self._take("]")

    def value(self) -> tuple[Any, Place]:
        """Return the next value.

        Raises:
            ValueError: there is none, or it is damaged, or a number is not finite.

        """
        self._peek()
        while True:
            try:
                found, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._read():  # else it may only be incomplete
                    raise self._damaged(error.msg) from None
                continue
            except RecursionError:
                raise self._damaged("brackets nested too deeply") from None
            if end < len(self._text) or not self._read():  # else a number may go on
                break
        text = self._text[self._at : end]
        if not text.isascii():
            found = _DECODER.decode(text.encode("latin-1").decode("utf-8"))
        place = Place(self._before + self._at, end - self._at)
        self._at = end
        return found, place

    def end(self) -> None:
        """Check that nothing follows.

        Raises:
            ValueError: there is more.

        """
        if more := self._peek():
            raise self._damaged(f"{more!r} after its end")

    def _take(self, expected: str) -> None:
        """Pass over the next character."""
        if (found := self._peek()) != expected:
            raise self._damaged(f"{found!r} instead of {expected!r}" if found else "its end")
        self._at += 1

    def _peek(self) -> str:
        """Return the next character that is no blank; "" at the end."""
        while True:
            blanks = _BLANKS.match(self._text, self._at)
            self._at = self._at if blanks is None else blanks.end()
            if self._at < len(self._text) or not self._read():
                return self._text[self._at : self._at + 1]

    def _read(self) -> bool:
        """Read on; return whether there was more. As much again, so that time stays linear."""
        rest = self._text[self._at :]
        more = self._file.read(max(CHUNK, len(rest)))
        self._before += self._at
        self._text, self._at = rest + more.decode("latin-1"), 0
        return bool(more)

    def _damaged(self, got: str) -> ValueError:
        return ValueError(f"expected JSON, got {got} at byte {self._before + self._at}")


def loads(text: bytes) -> Any:
    """Return one value; its numbers must be finite.

    Raises:
        ValueError: it is no JSON.

    """
    try:
        return _DECODER.decode(text.decode("utf-8"))
    except RecursionError:
        raise ValueError("expected JSON, got brackets nested too deeply") from None
