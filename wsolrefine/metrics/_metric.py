"""The base class of the metrics: torchmetrics' own, where it is installed."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING or find_spec("torchmetrics") is not None:
    from torchmetrics import Metric
else:

    class Metric:
        """Stands in for torchmetrics.Metric, so that the functions beside it work without."""

        def __init__(self, **kwargs: Any) -> None:
            raise ImportError(
                f"{type(self).__name__} needs torchmetrics: pip install 'wsolrefine[metrics]'"
            )


def keep_apart(metric: Metric, *settings: object) -> None:
    """Give a metric a constant state that only metrics of its class and settings share.

    A MetricCollection counts once for all metrics whose states are equal after the first batch,
    and that may happen to metrics that differ. To be called before any other state is added: older
    torchmetrics compares the first one alone.
    """
    said = repr((type(metric).__name__, settings)).encode()
    digest = torch.tensor(list(hashlib.sha256(said).digest()))
    metric.add_state("settings", digest, dist_reduce_fx="sum")


__all__ = ["Metric", "keep_apart"]
