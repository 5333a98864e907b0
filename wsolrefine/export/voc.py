"""Pascal VOC: an XML file for each image."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor
from os import PathLike
from pathlib import PurePosixPath
from xml.etree import ElementTree

from wsolrefine.export.folders import (
    Images,
    Stems,
    check_images,
    new_folder,
    place_image,
    suffix_of,
    write_text,
)
from wsolrefine.export.records import Object, Record, checked, detections


def write_voc(
    records: Iterable[Record], out: str | PathLike[str], *, images: Images = "link"
) -> None:
    """Write a data set of Pascal VOC: ``Annotations/``, ``JPEGImages/`` and a list of all images.

    The list is ``ImageSets/Main/trainval.txt``. Corners are pixels counted from 1, the last one
    included, as in VOC: the half-open box ``0 0 4 3`` is ``1 1 4 3``. Readers subtract 1 from
    ``xmin`` and ``ymin`` to have the half-open box again. There are no scores; the number of
    channels is given as 3.

    Args:
        records: of :func:`wsolrefine.export.records_of` or :func:`wsolrefine.export.read_results`.
        out: a new or empty folder.
        images: ``"link"``, ``"copy"`` or ``"none"``.

    Raises:
        OSError: something cannot be read or written.
        TypeError: an argument is of another kind.
        ValueError: ``out`` is no new or empty folder, or ``images`` is none of these.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from wsolrefine.export import Object, Record
        >>> record = Record("a.jpg", 4, 3, [Object(0, "cat", 0.5, (1, 0, 3, 2))])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_voc([record], Path(folder) / "set", images="none")
        ...     text = (Path(folder) / "set/Annotations/a.xml").read_text()
        >>> "<xmin>2</xmin>" in text, "<xmax>3</xmax>" in text
        (True, True)

    Reference:
        Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010.

    """
    how, found, stems = check_images(images), checked(records), Stems()
    with new_folder(out) as folder:
        listed = []
        for record in found:
            stem = stems.of(record)
            file = f"{stem}{suffix_of(record)}"
            place_image(record, folder / "JPEGImages" / file, how)
            write_text(folder / "Annotations" / f"{stem}.xml", _xml(record, file))
            listed.append(f"{stem}\n")
        write_text(folder / "ImageSets/Main/trainval.txt", "".join(listed))


def _xml(record: Record, file: str) -> str:
    root = ElementTree.Element("annotation")
    path = PurePosixPath(file)
    _add(root, "folder", "JPEGImages")
    _add(root, "filename", path.as_posix())
    size = ElementTree.SubElement(root, "size")
    for name, number in (("width", record.width), ("height", record.height), ("depth", 3)):
        _add(size, name, number)
    _add(root, "segmented", 0)
    for found in detections(record):
        _object(root, found)
    ElementTree.indent(root)
    return ElementTree.tostring(root, "unicode") + "\n"


def _object(root: ElementTree.Element, found: Object) -> None:
    x0, y0, x1, y1 = found.box or (0.0, 0.0, 0.0, 0.0)
    element = ElementTree.SubElement(root, "object")
    _add(element, "name", found.name)
    _add(element, "pose", "Unspecified")
    _add(element, "truncated", 0)
    _add(element, "difficult", 0)
    box = ElementTree.SubElement(element, "bndbox")
    corners = floor(x0) + 1, floor(y0) + 1, ceil(x1), ceil(y1)
    for name, number in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
        _add(box, name, number)


def _add(parent: ElementTree.Element, name: str, value: object) -> None:
    # XML has no control characters.
    text = "".join(c if c.isprintable() else "_" for c in str(value))
    ElementTree.SubElement(parent, name).text = text.encode("utf-8", "replace").decode("utf-8")
