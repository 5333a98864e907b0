"""The base class of the metrics: torchmetrics' own, where it is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or find_spec("torchmetrics") is not None:
    from torchmetrics import Metric
else:

    class Metric:
        """Stands in for torchmetrics.Metric, so that the functions beside it work without."""

        def __init__(self, **kwargs: Any) -> None:
            raise ImportError(
                f"{type(self).__name__} needs torchmetrics: pip install 'wsolrefine[metrics]'"
            )


__all__ = ["Metric"]
