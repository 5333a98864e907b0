"""Names of layers that a user gives: each must be a layer, and its output a map of the image."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from wsolrefine._options import check_texts
from wsolrefine.activation.hooks import submodule
from wsolrefine.activation.probe import Probe


def check_names(model: nn.Module, names: Sequence[str]) -> list[str]:
    """Return a list of one or more names of layers of the model, or raise."""
    names = check_texts("layers", names)
    if not names:
        raise ValueError(f"layers: expected at least one name, got {names!r}")
    for name in names:
        submodule(model, name)
    return names


def check_maps(probe: Probe, names: Sequence[str]) -> None:
    """Raise unless what each of the layers returned in the probe is a map of the image."""
    probed = {module: name for name, module in probe.model.named_modules()}
    for name in names:
        one = probed[submodule(probe.model, name)]  # a layer may have several names
        if one in probe.outputs:
            continue
        if one not in probe.faults:
            raise ValueError(
                "layers: expected a layer that the model runs, and that returns a tensor, "
                f"got {name!r}"
            )
        why, shape = probe.faults[one]
        got = ", ".join(["B", *map(str, shape[1:])])
        raise ValueError(
            f"layers: expected a map of the image from {name!r} (or to_map to lay it out), "
            f"got ({got}), {why}"
        )
