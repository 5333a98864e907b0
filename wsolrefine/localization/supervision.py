"""What a localizer found as the detections of supervision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from wsolrefine.localization.result import Localization


def detections_of(found: Localization) -> list[Any]:
    """Return a ``supervision.Detections`` for each image, see ``Localization.to_supervision``.

    Raises:
        ImportError: supervision is not installed.

    """
    try:
        import supervision as sv
    except ImportError as error:
        raise ImportError(
            "to_supervision: expected the package supervision: pip install supervision"
        ) from error
    size = (found.maps.shape[-2], found.maps.shape[-1])
    names = found.class_names
    result = []
    for labels, instances in zip(found.labels.tolist(), found.instances, strict=True):
        counts = [len(one.masks) for one in instances]
        class_ids = np.repeat(np.array(labels, dtype=np.int64), counts)
        named = [names[label] if names else f"class {label}" for label in class_ids.tolist()]
        parts = [[part.float().cpu().numpy() for part in one] for one in instances]
        masks, boxes, scores = (np.concatenate(several) for several in zip(*parts, strict=True))
        result.append(
            sv.Detections(
                xyxy=boxes.astype(np.float32).reshape(-1, 4),
                mask=masks.astype(bool).reshape(-1, *size),
                confidence=scores.astype(np.float32),
                class_id=class_ids,
                data={"class_name": np.array(named, dtype=np.str_)},
            )
        )
    return result
