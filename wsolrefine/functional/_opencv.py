"""OpenCV, which few functions need: imported when they are called."""

from __future__ import annotations

from types import ModuleType


def opencv(needed_by: str) -> ModuleType:
    """Return ``cv2``, or raise with the command that installs it.

    ``opencv-python-headless`` will do too, where there is no screen.
    """
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{needed_by} needs OpenCV: pip install 'wsolrefine[opencv]', or opencv-python-headless"
        ) from error
    module: ModuleType = cv2
    return module
