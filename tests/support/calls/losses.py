"""The losses."""

from tests.support import wrong_values as kinds
from tests.support.calls.call import CAM, LABEL, MAPS, MASK, of
from tests.support.wrong_values import Kind
from wsolrefine import losses

LOSS = {"reduction": kinds.choice("mean", "sum", "none")}
PIXELS = {"probability": kinds.tensor_of_any_shape, "logits": kinds.flag, **LOSS}


CALLS = [
    of(losses.area_loss, {"probability": CAM}, PIXELS),
    of(
        losses.coaug_loss,
        {
            "foreground": CAM[0, :2],
            "background": CAM[0, 2:4],
            "confident_background": CAM[1, :2],
            "label": LABEL,
        },
        {"gamma": kinds.not_negative, "delta": kinds.not_negative} | LOSS,
    ),
    of(losses.confseg_loss, {"auxiliary_map": CAM, "cam": CAM}, LOSS),
    of(losses.entropy_loss, {"probability": CAM}, PIXELS),
    of(
        losses.hard_negative_suppression_loss,
        {"probability": CAM, "boundary": MASK},
        {"negative_weight": kinds.not_negative, "suppression": kinds.flag} | PIXELS,
        probability="probability|boundary",
    ),
    of(
        losses.masked_bce_loss,
        {"logits": CAM, "target": MASK.byte()},
        {
            "logits": kinds.tensor_of_any_shape,
            "ignore_index": Kind(255, 7, legal={"zero", "two"}),
        }
        | LOSS,
    ),
    of(
        losses.multiplicative_loss,
        {"deep_logits": CAM[0, :2], "fused_logits": CAM[1, :2], "label": LABEL},
        {"distill": kinds.flag} | LOSS,
    ),
    of(
        losses.restricted_activation_loss,
        {"logit_map": MAPS, "label": LABEL, "threshold": 0.1, "gap": 0.2},
        {"threshold": kinds.number, "gap": kinds.not_negative, "released": kinds.flag} | LOSS,
    ),
    of(
        losses.weighted_entropy_loss,
        {"probability": CAM},
        PIXELS
        | {
            "mean": kinds.number,
            "std": kinds.positive_or_infinite,
            "detach_weight": kinds.flag,
        },
    ),
]
