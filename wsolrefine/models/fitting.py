"""Weights of a checkpoint under the names that an architecture has for them."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from torch import Tensor, nn

WRAPPERS = {"module", "model", "net", "_orig_mod"}
"""What wrappers put in front of names: DataParallel, Lightning, training code, torch.compile."""

PROBE = 1013
"""A number of classes that no architecture has as another size, being a prime."""

SHOWN = 4


def without_prefix(weights: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Return the weights of one model, without the prefix of the wrapper that it was saved in.

    The prefix is the one under which most of the names are; weights under others belong to other
    parts of what was trained, such as a loss.

    Args:
        weights: as in the checkpoint.
        names: those of the architecture's weights.

    Raises:
        ValueError: several models have equally many of the names.

    Example:
        >>> import torch
        >>> weights = {"model.fc.bias": torch.ones(1), "loss.weight": torch.ones(2)}
        >>> without_prefix(weights, ["fc.weight", "fc.bias"])
        {'fc.bias': tensor([1.])}

    """
    known = {*names}
    # torch.compile of a part of the model has its name in the middle.
    plain = {_joined(p for p in key.split(".") if p != "_orig_mod"): key for key in weights}
    counts: Counter[str] = Counter()
    for key in plain:
        parts = key.split(".")
        counts.update(
            _joined(parts[:at], end=".") for at in range(len(parts)) if _joined(parts[at:]) in known
        )
    prefix = _choose(counts)
    return {
        key.removeprefix(prefix): weights[original]
        for key, original in plain.items()
        if key.startswith(prefix)
    }


def _joined(parts: Iterable[str], end: str = "") -> str:
    joined = ".".join(parts)
    return joined + end if joined else ""


def _choose(counts: Counter[str]) -> str:
    best = [prefix for prefix, count in counts.items() if count == max(counts.values())]
    if len(best) < 2:
        return best[0] if best else ""
    usual = [prefix for prefix in best if {*prefix.split(".")} <= {*WRAPPERS, ""}]
    if len(usual) != 1:
        shown = ", ".join(map(repr, best[:SHOWN]))
        raise ValueError(f"checkpoint: expected the weights of one model, got several: {shown}")
    return usual[0]


def head_size(probe: nn.Module, weights: Mapping[str, Tensor]) -> int | None:
    """Return the number of classes that the head in a checkpoint has; None if it has no head.

    Args:
        probe: the architecture with :data:`PROBE` classes.
        weights: those of the checkpoint, without prefix.

    """
    sizes = [
        weights[name].shape[0]
        for name, value in probe.state_dict().items()
        if value.shape[:1] == (PROBE,) and name in weights and weights[name].dim() > 0
    ]
    return sizes[0] if sizes else None


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], name: str, file: str) -> None:
    """Load weights into a model, or raise an error that names all that does not fit.

    Batch counters of normalization layers may be missing, as in old checkpoints: they have no
    effect on a trained model.

    Args:
        model: the architecture.
        weights: those of the checkpoint, without prefix.
        name: shown in the error.
        file: shown in the error.

    Raises:
        ValueError: names or shapes differ.

    """
    expected = model.state_dict()
    extra = [key for key in weights if key not in expected]
    needed = [key for key in expected if not key.endswith("num_batches_tracked")]
    missing = [key for key in needed if key not in weights]
    other = [k for k in expected if k in weights and weights[k].shape != expected[k].shape]
    if not (extra or missing or other):
        model.load_state_dict({**expected, **weights})
        return
    fit = len({*needed} - {*missing} - {*other})
    got = [f"{fit} of its {len(needed)} weights in {file}"]
    if missing:
        got.append(f"without {_listed(missing, lambda key: repr(key) + _close(key, extra))}")
    if extra:
        got.append(f"with {_listed(extra, lambda key: repr(key) + _close(key, missing))}")
    if other:
        got.append(f"with {_listed(other, lambda key: _shapes(key, weights, expected))}")
    raise ValueError(f"checkpoint: expected the weights of {name}, got {'; '.join(got)}")


def _listed(keys: Sequence[str], shown: Callable[[str], str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(map(shown, keys[:SHOWN])) + more


def _close(key: str, others: Sequence[str]) -> str:
    """Return the most similar name; the ends of names say more than what they are in."""
    end = [other for other in others if other.rpartition(".")[2] == key.rpartition(".")[2]]
    close = difflib.get_close_matches(key, end or others, n=1, cutoff=0.4)
    return f" (close: {close[0]!r})" if close else ""


def _shapes(key: str, weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    return f"{key!r} of shape {(*weights[key].shape,)} instead of {(*expected[key].shape,)}"
