"""Optional packages that classifiers come from."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def require(module: str, spec: str, package: str) -> ModuleType:
    """Import a module, or raise an ImportError that says what to install for which classifier."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{spec} needs the package {module.partition('.')[0]} ({error}); "
            f"install it with: pip install {package}"
        ) from error
