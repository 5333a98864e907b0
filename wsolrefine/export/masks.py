"""Indexed masks, which segmentation networks are trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from wsolrefine._options import check_choice, check_number
from wsolrefine.export.folders import (
    Images,
    Stems,
    check_images,
    new_folder,
    place_image,
    suffix_of,
    write_text,
)
from wsolrefine.export.names import Names, add_names, check_names, without_gaps
from wsolrefine.export.palette import voc_palette
from wsolrefine.export.pixels import map_of, mask_of
from wsolrefine.export.records import Mask, Record, checked

IGNORED = 255
"""Pixels that a loss leaves out."""

Overlap = Literal["score", "map"]
Levels = npt.NDArray[np.float32]


class _Layer(NamedTuple):
    """The pixels of a class or an object."""

    label: int
    score: float
    mask: Mask
    map: Levels | None


def write_masks(
    records: Iterable[Record],
    out: str | PathLike[str],
    *,
    names: Names = None,
    images: Images = "link",
    foreground: float | None = None,
    background: float | None = None,
    overlap: Overlap = "score",
) -> None:
    """Write an indexed PNG for each image: ``masks/``, the images in ``images/``, and two lists.

    A pixel has the class index + 1; 0 is background, and 255 is left out of the loss. The palette
    is that of Pascal VOC. ``train.txt`` lists the names without suffix, ``classes.txt`` the names
    of the values from 0.

    Without thresholds the pixels are those of the masks, and none is left out. With both, they are
    made of the maps anew: class where its map is above ``foreground``, background where all maps
    are below ``background``, 255 in between. An image whose maps are empty is all background.

    Args:
        records: of :func:`wsolrefine.export.records_of` or :func:`wsolrefine.export.read_results`.
        out: a new or empty folder.
        names: names of the classes, by index; None: those of the objects.
        images: ``"link"``, ``"copy"`` or ``"none"``.
        foreground: value of a map above which a pixel is object; None: the masks.
        background: value below which a pixel is background; None: the masks.
        overlap: a pixel that belongs to several objects is of that with the higher ``"score"``, or
            of that with the higher ``"map"`` at this pixel.

    Raises:
        OSError: something cannot be read or written.
        TypeError: an argument is of another kind.
        ValueError: ``out`` is no new or empty folder, an option is out of range, only one threshold
            is given, a class index is above 253, or maps are needed and an object has none.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from wsolrefine.export import Object, Record
        >>> map = np.array([[0.9, 0.4, 0.1]])
        >>> record = Record("a.jpg", 3, 1, [Object(6, "cat", 0.5, (0, 0, 1, 1), map=map)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_masks([record], Path(folder) / "set", images="none", foreground=0.5,
        ...                 background=0.2)
        ...     np.asarray(Image.open(Path(folder) / "set/masks/a.png")).tolist()
        [[7, 255, 0]]

    Reference:
        Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010.

    """
    known, how = check_names(names), check_images(images)
    limits = _check_limits(foreground, background)
    check_choice("overlap", overlap, get_args(Overlap))
    _check_range(known)
    palette, stems, listed = voc_palette(), Stems(), list[str]()
    found = checked(records)
    with new_folder(out) as folder:
        from PIL import Image

        for record in found:
            add_names(known, record)
            _check_range(known)
            stem = stems.of(record)
            place_image(record, folder / "images" / f"{stem}{suffix_of(record)}", how)
            picture = Image.fromarray(indexed_mask(record, limits, overlap))
            picture.putpalette(palette)
            path = folder / "masks" / f"{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
            listed.append(f"{stem}\n")
        write_text(folder / "train.txt", "".join(listed))
        lines = ["background", *without_gaps(known)]
        write_text(folder / "classes.txt", "".join(f"{name}\n" for name in lines))


def indexed_mask(
    record: Record, limits: tuple[float, float] | None, overlap: Overlap
) -> npt.NDArray[np.uint8]:
    """Return the indexed mask ``(height, width)`` of an image.

    Args:
        record: the image.
        limits: the thresholds of object and background; None: the masks as they are.
        overlap: which of several objects a pixel belongs to, see
            :func:`wsolrefine.export.write_masks`.

    """
    size = record.height, record.width
    layers = _of_masks(record, overlap) if limits is None else _of_maps(record, limits[0])
    result = np.zeros(size, dtype=np.uint8)
    if limits is not None:
        for layer in layers:
            if layer.map is not None:
                result[layer.map >= limits[1]] = IGNORED
    best = np.full(size, -np.inf, dtype=np.float32)
    for layer in sorted(layers, key=lambda layer: layer.score):  # of equal maps the higher score
        if layer.label < 0:
            continue
        value = layer.map if overlap == "map" and layer.map is not None else layer.score
        inside = layer.mask & (best <= value)
        result[inside] = layer.label + 1
        best[inside] = value[inside] if isinstance(value, np.ndarray) else value
    return result


def _of_masks(record: Record, overlap: Overlap) -> list[_Layer]:
    layers = []
    for found in record.objects:
        mask = mask_of(found, record)
        if mask is not None:
            map = map_of(found, record) if overlap == "map" else None
            if overlap == "map" and map is None:
                raise _no_map(record)
            layers.append(_Layer(found.label, found.score or 0.0, mask, map))
    return layers


def _of_maps(record: Record, foreground: float) -> list[_Layer]:
    layers: dict[int, _Layer] = {}
    for found in record.objects:
        known = layers.get(found.label)
        if known is not None:  # another object of the class, of the same map
            layers[found.label] = known._replace(score=max(known.score, found.score or 0.0))
            continue
        map = map_of(found, record)
        if map is None:
            raise _no_map(record)
        layers[found.label] = _Layer(found.label, found.score or 0.0, map > foreground, map)
    return list(layers.values())


def _no_map(record: Record) -> ValueError:
    return ValueError(f"records: expected objects with maps, got one without in {record.name!r}")


def _check_limits(foreground: Any, background: Any) -> tuple[float, float] | None:
    given = {"foreground": foreground, "background": background}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == 2:
        return None
    if missing:
        other = "foreground" if missing[0] == "background" else "background"
        raise ValueError(f"{missing[0]}: expected a threshold as {other} has one, got None")
    low = check_number("background", background, low=0, high=1)
    high = check_number("foreground", foreground, low=0, below=1)
    if high < low:
        raise ValueError(f"foreground: expected at least background={low}, got {high}")
    return high, low


def _check_range(names: dict[int, str] | Sequence[int]) -> None:
    if names and (last := max(names)) > IGNORED - 2:
        raise ValueError(
            f"names: expected class indices up to {IGNORED - 2} for masks of 8 bits, got {last}; "
            "used_classes() (--used) counts only the classes that have an object"
        )
