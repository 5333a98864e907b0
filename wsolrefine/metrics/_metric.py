"""What the metrics share: torchmetrics' base class if it is installed, states, results, devices."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor

from wsolrefine._options import kind_of
from wsolrefine.metrics._plot import axes_for, check_results

if TYPE_CHECKING or find_spec("torchmetrics") is not None:
    from torchmetrics import Metric
else:

    class Metric:
        """Stands in for torchmetrics.Metric, so that the functions work without torchmetrics."""

        def __init__(self, **kwargs: Any) -> None:
            raise ImportError(
                f"{type(self).__name__} needs torchmetrics: pip install 'wsolrefine[metrics]'"
            )


Details = TypeVar("Details", bound=tuple[Any, ...])


class CountMetric(Metric, Generic[Details]):
    """A metric whose states are whole numbers that add up over batches and processes.

    Subclasses say what follows from the states (``_details``), which scalars of it are logged
    (``compute``), and how it is drawn (``_draw``).
    """

    is_differentiable = False
    higher_is_better: bool | None = True
    full_state_update = False
    identity = ""
    """Which class and settings the counts belong to: set by :func:`keep_apart`."""

    def details(self) -> Details:
        """Return the whole result, with thresholds and curves, as a named tuple.

        As in ``compute``, the counts of all processes are added, and what nothing was counted for
        is NaN.
        """
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn, should_sync=self.sync_on_compute, should_unsync=True
        ):
            return self._details()

    def plot(self, val: Any = None, ax: Any = None) -> tuple[Any, Any]:
        """Draw the result, as metrics of torchmetrics do.

        Args:
            val: what ``details`` returned; or what ``compute`` or ``forward`` returned, or a list
                of these, one for each step. None: what ``details`` returns now.
            ax: axes of matplotlib to draw on; None: those of a new figure.

        Returns:
            The figure and the axes.

        Raises:
            ImportError: matplotlib is not installed.
            TypeError: ``val`` or ``ax`` is none of these.

        """
        axes = axes_for(f"{type(self).__name__}.plot", ax)
        details = self.details() if val is None else val
        if type(details) is self._result:
            self._draw(details, axes)
        else:
            check_results(val)
            self._plot(val, axes)
        return axes.get_figure(), axes

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch and return its own result. If it is refused, the earlier counts stay."""
        # torchmetrics puts the earlier counts aside meanwhile, and does not bring them back then.
        before = dict(vars(self))
        try:
            result = super().forward(*args, **kwargs)
            self._check_counts()
            return result
        except BaseException:
            vars(self).update(before)
            raise

    def merge_state(self, incoming_state: Any) -> None:
        """Add the counts of another metric, or its states, which must have the same settings.

        Args:
            incoming_state: a metric of the same class and settings, or its ``metric_state``.

        Raises:
            TypeError: ``incoming_state`` is neither, or a state is no tensor of whole numbers.
            ValueError: its class or settings differ, or a state is missing or of another shape.

        """
        if isinstance(incoming_state, Metric):
            if getattr(incoming_state, "identity", None) != self.identity:
                expected = "incoming_state: expected a metric of the same class and settings"
                raise ValueError(f"{expected}, got others")
        elif isinstance(incoming_state, Mapping):
            missing = [name for name in self._defaults if name not in incoming_state]
            if missing:
                expected = f"incoming_state: expected states {', '.join(self._defaults)}"
                raise ValueError(f"{expected}, got none of name {', '.join(missing)}")
            self._check_states("incoming_state", incoming_state)
            incoming_state = dict(incoming_state)
        else:
            expected = "incoming_state: expected a metric or a dict of its states"
            raise TypeError(f"{expected}, got {kind_of(incoming_state)}")
        before = dict(vars(self))
        try:
            super().merge_state(incoming_state)
            self._check_counts()
        except BaseException:
            vars(self).update(before)
            raise
        self._computed = None  # torchmetrics would return the result from before

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Load states, as ``load_state_dict`` does, but only those of the same settings."""
        stored = {name: state_dict.get(prefix + name) for name in self._defaults}
        found = {name: state for name, state in stored.items() if state is not None}
        self._check_states("state_dict", found, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._computed = None

    def _check_states(self, name: str, states: Mapping[str, Any], prefix: str = "") -> None:
        """Raise unless states are counts of this class and these settings.

        ``settings`` are added up as counts are, so they may be a multiple of their default.
        """
        for key, state in states.items():
            default = self._defaults.get(key)
            if not isinstance(default, Tensor):
                continue
            if not isinstance(state, Tensor):
                raise TypeError(
                    f"{name}[{prefix + key!r}]: expected a tensor, got {kind_of(state)}"
                )
            if state.dtype != default.dtype:
                raise TypeError(
                    f"{name}[{prefix + key!r}]: expected dtype {default.dtype}, got {state.dtype}"
                )
            if state.shape != default.shape:
                raise ValueError(
                    f"{name}[{prefix + key!r}]: expected shape {tuple(default.shape)}, as of a "
                    f"metric of the same class and settings, got {tuple(state.shape)}"
                )
            if key == "settings" and not _is_multiple(state, default):
                raise ValueError(
                    f"{name}[{prefix + key!r}]: expected a metric of the same class and settings, "
                    "got others"
                )

    def set_dtype(self, dst_type: Any) -> Metric:
        """Do nothing: counts are whole numbers, which another dtype would round."""
        return self

    _result: type[Details]

    def _check_counts(self) -> None:
        """Raise if the counts cannot be those of one evaluation."""

    def _details(self) -> Details:
        """Return the result of the states as they are."""
        raise NotImplementedError

    def _draw(self, details: Details, axes: Any) -> None:
        """Draw a result."""
        raise NotImplementedError


def _is_multiple(state: Tensor, default: Tensor) -> bool:
    """Return whether a state of whole numbers is its default, added up once or more."""
    state, default = state.to("cpu", torch.int64), default.to("cpu", torch.int64)
    times = int(state.sum()) // int(default.sum())
    return times >= 1 and torch.equal(state, times * default)


def scalars(result: Any, *names: str) -> dict[str, Tensor]:
    """Return fields of a named tuple by their names."""
    return {name: getattr(result, name) for name in names}


def float64_device(tensor: Tensor) -> torch.device:
    """Return the tensor's device, or the CPU where that device has no float64 (MPS)."""
    return torch.device("cpu") if tensor.device.type == "mps" else tensor.device


def keep_apart(metric: CountMetric[Any], *settings: object) -> None:
    """Give a metric a constant state that only metrics of its class and settings share.

    ``MetricCollection`` merges metrics whose states are equal after the first batch into one
    compute group, even if their settings differ. Call this before any other state is added: older
    torchmetrics compares the first state alone.
    """
    metric.identity = repr((type(metric).__name__, settings))
    digest = torch.tensor(list(hashlib.sha256(metric.identity.encode()).digest()))
    metric.add_state("settings", digest, dist_reduce_fx="sum")


__all__ = ["CountMetric", "Metric", "float64_device", "keep_apart", "scalars"]
