"""Reading the XML files of ILSVRC: sizes, objects and their line numbers."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from wsolrefine.data._lines import WHOLE, broken, read_text
from wsolrefine.data.reader import Box

CORNERS = ("xmin", "ymin", "xmax", "ymax")
DEPTH = 8  # deeper than all elements that are read; the paths of deep ones would be long
MAX_BYTES = 2**24  # of one image: enough for 50,000 objects


class Element(NamedTuple):
    """An element: its path from the root, its text, and the line that it starts on."""

    path: str
    text: str
    line: int


def read_elements(file: Path) -> list[Element]:
    """Return the elements of an XML file in the order in which they end: children before parents.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not well-formed (the message names the line), or it declares a document
            type, whose entities could grow without bound.

    """
    text = read_text(file, MAX_BYTES)
    if "<!DOCTYPE" in text:
        line = 1 + text.count("\n", 0, text.index("<!DOCTYPE"))
        raise broken(file, line, "XML without a document type", "<!DOCTYPE")
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    found: list[Element] = []
    open_: list[tuple[str, int, list[str]]] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        path = f"{open_[-1][0]}/{name}" if 0 < len(open_) <= DEPTH else name
        open_.append((path, parser.CurrentLineNumber, []))

    def end(name: str) -> None:
        path, line, texts = open_.pop()
        found.append(Element(path, "".join(texts).strip(), line))

    def characters(data: str) -> None:
        open_[-1][2].append(data)

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = characters
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        why = expat.ErrorString(error.code)
        raise broken(file, error.lineno, "well-formed XML", why) from None
    return found


class Objects(NamedTuple):
    """The size of an image and its objects: name, xmin, ymin, xmax, ymax of each."""

    size: tuple[int, int] | None
    objects: list[dict[str, Element]]


def read_objects(file: Path) -> Objects:
    """Return size and objects from an image's XML file; a size that is 0 or missing is None.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is malformed; the message names the line.

    """
    sizes: dict[str, int] = {}
    objects: list[dict[str, Element]] = []
    fields: dict[str, Element] = {}
    for element in read_elements(file):
        parent, _, name = element.path.rpartition("/")
        if parent == "annotation/size" and name in ("width", "height"):
            sizes[name] = _whole(file, element)
        elif parent == "annotation/object/bndbox" or element.path == "annotation/object/name":
            if name in fields:
                raise broken(file, element.line, f"one {name} in an object", "another one")
            fields[name] = element
        elif element.path == "annotation/object":
            for wanted in ("name", *CORNERS):
                if wanted not in fields:
                    raise broken(file, element.line, f"an object with {wanted}", "none")
            objects.append(fields)
            fields = {}
    height, width = sizes.get("height", 0), sizes.get("width", 0)
    return Objects((height, width) if height and width else None, objects)


def half_open(file: Path, fields: dict[str, Element]) -> Box:
    """Return the half-open box of an object, whose corners are its first and its last pixel."""
    xmin, ymin, xmax, ymax = (_whole(file, fields[name]) for name in CORNERS)
    if xmax < xmin or ymax < ymin:
        got = f"{xmin},{ymin},{xmax},{ymax}"
        raise broken(file, fields["xmin"].line, "a box with xmin <= xmax and ymin <= ymax", got)
    return xmin, ymin, xmax + 1, ymax + 1


def _whole(file: Path, element: Element) -> int:
    if not WHOLE.fullmatch(element.text):
        raise broken(file, element.line, f"a whole number in {element.path}", element.text)
    return int(element.text)
