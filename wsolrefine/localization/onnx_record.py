"""A graph of a localizer, recorded by torch's exporter to ONNX."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from typing import Any

import torch
from torch import Tensor

from wsolrefine.functional._graphs import LOOPS
from wsolrefine.localization.graph import GraphOutput, LocalizerGraph

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def require_packages() -> None:
    """Raise unless an ONNX file can be written and run."""
    from importlib.util import find_spec

    for name in PACKAGES:
        if find_spec(name) is None:
            raise ImportError(f"save_onnx needs the package {name}: pip install 'wsolrefine[onnx]'")
    if not LOOPS:
        got = torch.__version__
        raise ImportError(f"save_onnx needs a torch that has torch.while_loop, got {got}")


@contextmanager
def _silent() -> Iterator[None]:
    """Pass over what the exporter says of itself: packages that it lacks, deprecated calls, graphs.

    Before an error it prints the graph up to there, twice, to the standard error.
    """
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.fx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def exported(graph: LocalizerGraph, images: Tensor) -> Any:
    """Return the program of ONNX for any number of images, recorded with some, or raise."""
    # A graph that is recorded with one image may keep that number.
    example = images[:2] if images.shape[0] > 1 else torch.cat([images, images])
    try:
        with _silent():
            return torch.onnx.export(
                graph,
                (example,),
                dynamic_shapes=({0: torch.export.Dim("batch", max=2**31 - 1)},),
                input_names=["images"],
                output_names=[*GraphOutput._fields],
                dynamo=True,
                verbose=False,
                # The optimizer of onnxscript drops additions of numbers below 1e-8, which keep
                # divisors from being zero.
                optimize=False,
            )
    except Exception as error:  # the exporter's, or of the user's code
        if _interrupted(error):
            raise KeyboardInterrupt from error
        cause = error.__cause__ or error
        reason = (str(cause).strip().splitlines() or [""])[0]
        raise ValueError(
            "localizer: expected a model and a refinement that torch.onnx.export can record, got "
            f"{type(cause).__name__}: {reason}"
        ) from error


def _interrupted(error: BaseException | None) -> bool:
    """Return whether an error was raised on the way out of Ctrl-C, as in torch's lazy imports."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
