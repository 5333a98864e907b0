"""How the results of ``evaluate`` came about, printed beside them."""

from __future__ import annotations

from collections.abc import Collection

from wsolrefine.cli.evaluate.counts import IOUS, Counts, Rule
from wsolrefine.cli.evaluate.dataset import Data, Split
from wsolrefine.cli.evaluate.score_maps import MapFolder, ModelMaps, Sources

Protocol = dict[str, str]
ITSELF = "best threshold on the evaluated split itself (as published; optimistic)"


def protocol(
    data: Data, sources: Sources, rule: Rule, counts: Counts, sizes: Collection[tuple[int, int]]
) -> Protocol:
    """Say what was measured and how, one line for each question that changes a result.

    Args:
        data: what was evaluated.
        sources: of the maps.
        rule: how boxes were counted.
        counts: of the evaluated split.
        sizes: (height, width) of all its score maps.

    """
    split, source = data.split, sources.evaluated
    boxes, masks = "single" in counts, "masks" in counts
    shown = " and ".join(f"{h} x {w}" for h, w in sorted(sizes)) if len(sizes) <= 2 else (
        f"{len(sizes)} sizes"
    )  # fmt: skip
    lines = {"data set": str(data.folders), "split": split.name, "images": split.size}
    if isinstance(source, ModelMaps):
        lines |= _model(split, source)
    elif isinstance(source, MapFolder):
        lines["maps"] = f"files in {source.folder}"
        lines["resize"] = f"none, maps as they are ({shown})"
        lines["normalisation"] = (
            "each map min-maxed" if source.normalize else "none, maps in [0, 1]"
        )
    flat = int(counts["flat"])
    if flat:
        lines["maps without contrast"] = f"{flat} (their box is empty, or the whole map)"
    if boxes:
        if counts["boxed"] < split.count:
            lines["true boxes"] = f"of {int(counts['boxed'])} images; the others are left out"
        steps = len(rule.thresholds)
        lines["thresholds"] = f"{steps}, step {rule.step:g}, as a share of each map's maximum"
        lines["grey levels"] = "maps truncated to 8 bits: at most 255 different cuts of a map"
        lines["candidate boxes"] = "largest outline (MaxBoxAcc); every outline (MaxBoxAccV2)"
        lines["IoU rule"] = f">= 0.5 (MaxBoxAcc); >= {', '.join(map(str, IOUS))} (MaxBoxAccV2)"
        lines["box convention"] = (
            "true boxes brought to the map and truncated, corners inclusive (wsolevaluation)"
        )
    if "classified" in counts:
        relation = ">" if rule.hit_iou > 0.5 else ">="
        lines["Top-1, Top-5, GT-known"] = f"IoU {relation} 0.5, the boxes of MaxBoxAcc"
        lines["errors"] = "SPA's rules (right: IoU > 0.5), the boxes of MaxBoxAcc"
    if masks:
        lines["masks"] = (
            f"of {int(counts['masks'])} images; nearest to the size of the map (PxAP); "
            "the map in 8 bits to the size of the mask (Peak-IoU)"
        )
    if boxes or masks:
        lines["threshold"] = ITSELF
        if data.chosen_on is not None:
            other = sources.chosen_on
            where = f", maps in {other.folder}" if isinstance(other, MapFolder) and (
                other is not source
            ) else ""  # fmt: skip
            lines["threshold"] = f"chosen on {data.chosen_on.name} ({data.chosen_on.size}{where})"
    return lines


def _model(split: Split, source: ModelMaps) -> Protocol:
    if source.same_classes:
        classes = f"{split.classes} in data set and classifier, taken as the same by index"
    else:
        outputs = source.localizer.num_classes
        classes = (
            f"{split.classes} in the data set, {outputs} in the classifier: not the same, "
            "so no Top-1, Top-5, GT-known or errors"
        )
    return {
        "maps": source.localizer.title,
        "pixels": str(split.reader.policy),
        "classes": classes,
        "class of the map": "the true one" if source.true_class else "the predicted one",
        "resize": f"bicubic to {source.size} x {source.size}",
        "normalisation": "each map min-maxed, after the resize",
    }
