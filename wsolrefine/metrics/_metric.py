"""What the metrics share: torchmetrics' base class if it is installed, states, devices."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING or find_spec("torchmetrics") is not None:
    from torchmetrics import Metric
else:

    class Metric:
        """Stands in for torchmetrics.Metric, so that the functions work without torchmetrics."""

        def __init__(self, **kwargs: Any) -> None:
            raise ImportError(
                f"{type(self).__name__} needs torchmetrics: pip install 'wsolrefine[metrics]'"
            )


def float64_device(tensor: torch.Tensor) -> torch.device:
    """Return the tensor's device, or the CPU where that device has no float64 (MPS)."""
    return torch.device("cpu") if tensor.device.type == "mps" else tensor.device


def keep_apart(metric: Metric, *settings: object) -> None:
    """Give a metric a constant state that only metrics of its class and settings share.

    ``MetricCollection`` merges metrics whose states are equal after the first batch into one
    compute group, even if their settings differ. Call this before any other state is added: older
    torchmetrics compares the first state alone.
    """
    text = repr((type(metric).__name__, settings)).encode()
    digest = torch.tensor(list(hashlib.sha256(text).digest()))
    metric.add_state("settings", digest, dist_reduce_fx="sum")


__all__ = ["Metric", "float64_device", "keep_apart"]
