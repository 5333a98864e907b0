"""The protocol of ``evaluate``, printed next to the results."""

from __future__ import annotations

from collections.abc import Collection

from wsolrefine.cli.evaluate.counts import IOUS, Counts, Rule
from wsolrefine.cli.evaluate.dataset import Data, Split
from wsolrefine.cli.evaluate.score_maps import MapFolder, ModelMaps, Sources

Protocol = dict[str, str]
BEST_OF_SPLIT = "the best on the evaluated split itself (as published; optimistic)"


def protocol(
    data: Data, sources: Sources, rule: Rule, counts: Counts, sizes: Collection[tuple[int, int]]
) -> Protocol:
    """Return everything that the results depend on, one line each.

    Args:
        data: what was evaluated.
        sources: where the maps came from.
        rule: how boxes were counted.
        counts: counts of the evaluated split.
        sizes: (height, width) of all its score maps.

    """
    split, source = data.split, sources.split
    boxes, masks = "single" in counts, "masks" in counts
    lines = {"data set": str(data.folders), "split": split.name, "images": split.description}
    if isinstance(source, ModelMaps):
        lines |= _model(split, source)
    elif isinstance(source, MapFolder):
        lines["maps"] = f"files in {source.folder}"
        shown = " and ".join(f"{h} x {w}" for h, w in sorted(sizes))
        shown = shown if len(sizes) <= 2 else f"{len(sizes)} sizes"
        lines["resize"] = f"none, maps used unchanged ({shown})"
        lines["normalization"] = "min-max for each map" if source.normalize else "none"
    if constant := int(counts["constant"]):
        lines["constant maps"] = f"{constant} (their box is empty, or the whole map)"
    if boxes:
        if counts["boxed"] < split.count:
            lines["true boxes"] = f"in {int(counts['boxed'])} images; the others are not counted"
        steps = len(rule.thresholds)
        lines["thresholds"] = f"{steps}, step {rule.step:g}, as a fraction of each map's maximum"
        lines["gray levels"] = "maps truncated to 8 bits: at most 255 different masks per map"
        lines["candidate boxes"] = "largest contour (MaxBoxAcc); all contours (MaxBoxAccV2)"
        lines["IoU"] = f">= 0.5 (MaxBoxAcc); >= {', '.join(map(str, IOUS))} (MaxBoxAccV2)"
        lines["box convention"] = (
            "true boxes scaled to the map and truncated, corners inclusive (wsolevaluation)"
        )
    if "classified" in counts:
        relation = ">" if rule.hit_iou > 0.5 else ">="
        lines["Top-1, Top-5, GT-known"] = f"IoU {relation} 0.5, boxes of MaxBoxAcc"
        lines["errors"] = "SPA's rules (correct: IoU > 0.5), boxes of MaxBoxAcc"
    lines |= split.agreement.protocol()
    if masks:
        lines["masks"] = (
            f"of {int(counts['masks'])} images; PxAP: mask resized to the map (nearest); "
            "Peak-IoU: map in 8 bits, resized to the mask"
        )
    if boxes or masks:
        lines["threshold"] = BEST_OF_SPLIT
        if data.threshold_split is not None:
            split, other = data.threshold_split, sources.threshold_split
            lines["threshold"] = f"chosen on {split.name} ({split.description}"
            if isinstance(other, MapFolder) and other is not source:
                lines["threshold"] += f", maps in {other.folder}"
            lines["threshold"] += ")"
    return lines


def _model(split: Split, source: ModelMaps) -> Protocol:
    number, outputs = split.num_classes, source.localizer.num_classes
    named = bool(split.reader.class_names)
    data = f"{number} in" if named else f"labels up to {number - 1} in"
    if source.same_classes and number == outputs:
        classes = f"{number} in data set and classifier, matched by index"
        if source.difference:
            classes += f" as --labels true says, though {source.difference}"
    elif source.difference:
        classes = f"others, so no Top-1, Top-5, GT-known or errors: {source.difference}"
    elif source.same_classes:
        classes = (
            f"{data} the data set, taken for the {outputs} of the classifier, matched by index "
            "(if they are others: --labels predicted)"
        )
    else:
        classes = (
            f"{number} in the data set, {outputs} in the classifier: different classes, "
            "so no Top-1, Top-5, GT-known or errors"
        )
        if split.may_have(outputs or 0):
            classes += " (if they are the same: --labels true)"
    return {
        "maps": source.localizer.title,
        "pixels": str(split.reader.policy),
        "classes": classes,
        "class of the map": "true class" if source.true_class else "predicted class",
        "resize": f"bicubic to {source.size} x {source.size}",
        "normalization": "min-max for each map, after the resize",
    }
