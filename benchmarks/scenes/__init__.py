"""Composite images with exact masks, made of photographs from Debian packages."""

from benchmarks.scenes.scenes import (
    BACKGROUNDS,
    SPLITS,
    Scene,
    Scenes,
    Sources,
    load_sources,
    split_of,
)

__all__ = ["BACKGROUNDS", "SPLITS", "Scene", "Scenes", "Sources", "load_sources", "split_of"]
