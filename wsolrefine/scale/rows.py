"""What workers do last: one row for each image and class, with mask and box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wsolrefine.localization.masks import Parts, enlarge, label_objects, mask_size
from wsolrefine.localization.run_lengths import Region, region
from wsolrefine.scale.images import Batch, Picture


@dataclass(frozen=True)
class RowFormat:
    """How images become rows.

    Attributes:
        threshold: value of a map above which a pixel belongs to the object.
        parts: what one object is, ``largest`` or ``all``.
        regions: whether maps show objects; False for edges, which have no masks or boxes.
        maps: whether the rows have the maps.
        numbered: whether ids are integers.
        class_names: a name for each class, or None.

    """

    threshold: float
    parts: Parts
    regions: bool
    maps: bool
    numbered: bool
    class_names: list[str] | None

    def table(self, batch: Batch) -> Any:
        """Return the rows of a batch, an Arrow table of :func:`schema`."""
        import pyarrow as pa

        rows = [row for picture in batch.pictures for row in self._of(picture)]
        return pa.Table.from_pylist(rows, schema(self.numbered, self.maps))

    def _of(self, picture: Picture) -> list[dict[str, Any]]:
        item = picture.item
        path = item.path.encode("utf-8", "backslashreplace").decode()
        known: dict[str, Any] = {
            "id": item.id if self.numbered else str(item.id),
            "path": path,
            "error": picture.error,
        }
        if picture.size is not None:
            known["width"], known["height"] = picture.size
        if picture.maps is None or picture.labels is None or picture.scores is None:
            return [known]
        rows = []
        for k, (label, score) in enumerate(zip(picture.labels, picture.scores, strict=True)):
            own = {
                "label": label,
                "category": picture.categories[k] if picture.categories else None,
                "class_name": self.class_names[label] if self.class_names else f"class {label}",
                "score": score,
                **map_columns(picture.maps[k]),
            }
            if self.regions and picture.size is not None:
                own |= mask_columns(
                    mask_of(picture.maps[k], picture.size[::-1], self.threshold, self.parts)
                )
            rows.append(known | own)
        return rows


def schema(numbered: bool, maps: bool) -> Any:
    """Return the columns of the results.

    Args:
        numbered: whether ids are integers.
        maps: whether there are maps.

    """
    import pyarrow as pa

    stored = {"map": pa.binary(), "map_width": pa.int32(), "map_height": pa.int32()}
    return pa.schema(
        {
            "id": pa.int64() if numbered else pa.string(),
            "path": pa.string(),
            "width": pa.int32(),
            "height": pa.int32(),
            "label": pa.int32(),
            "category": pa.int64(),
            "class_name": pa.string(),
            "score": pa.float32(),
            "box": pa.list_(pa.float32()),
            "area": pa.int64(),
            "mask": pa.string(),
            **(stored if maps else {}),
            "error": pa.string(),
        }
    )


def mask_of(map: Tensor, size: tuple[int, int], threshold: float, parts: Parts) -> Region | None:
    """Return the mask of a map ``(h, w)`` for an image of ``size`` (height, width); None: empty.

    It is the mask of :class:`wsolrefine.Localization`, as run lengths.
    """
    large = enlarge(map[None, None], mask_size(size))
    return region((label_objects(large, threshold, parts)[0, 0] > 0).numpy(), size)


def mask_columns(found: Region | None) -> dict[str, Any]:
    """Return the columns of a mask; an empty one has none of them."""
    if found is None:
        return {"box": None, "area": 0, "mask": None}
    return {"box": list(found.box), "area": found.area, "mask": found.counts}


def map_columns(map: Tensor) -> dict[str, Any]:
    r"""Return the columns of a map ``(h, w)`` in [0, 1], which is stored in steps of 1/255.

    Example:
        >>> map_columns(torch.tensor([[0.0, 0.5, 1.0]]))["map"]
        b'\x00\x80\xff'

    """
    gray = (map * 255).round().to(torch.uint8).contiguous().numpy()
    return {"map": gray.tobytes(), "map_width": gray.shape[1], "map_height": gray.shape[0]}


def stored_map(row: dict[str, Any]) -> Tensor:
    """Return the map of a row."""
    gray = torch.frombuffer(bytearray(row["map"]), dtype=torch.uint8)
    return gray.reshape(row["map_height"], row["map_width"]).float() / 255
