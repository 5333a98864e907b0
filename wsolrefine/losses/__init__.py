"""Losses of the five papers, pure functions of tensors."""

from wsolrefine.losses.area import area_loss
from wsolrefine.losses.coaug import coaug_loss
from wsolrefine.losses.confseg import confseg_loss
from wsolrefine.losses.hard_negative_suppression import hard_negative_suppression_loss
from wsolrefine.losses.masked_bce import masked_bce_loss
from wsolrefine.losses.multiplicative import multiplicative_loss
from wsolrefine.losses.restricted_activation import restricted_activation_loss
from wsolrefine.losses.weighted_entropy import entropy_loss, weighted_entropy_loss

__all__ = [
    "area_loss",
    "coaug_loss",
    "confseg_loss",
    "entropy_loss",
    "hard_negative_suppression_loss",
    "masked_bce_loss",
    "multiplicative_loss",
    "restricted_activation_loss",
    "weighted_entropy_loss",
]
