"""The first half of a batch of ``refine``: images are read and preprocessed, in threads."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from wsolrefine import Localizer
from wsolrefine.cli.refine.coco import file_identity
from wsolrefine.cli.refine.inputs import Found
from wsolrefine.cli.refine.outputs import FOLDERS, OVERLAY_SIZE
from wsolrefine.cli.refine.pictures import Pixels, is_enough, preview
from wsolrefine.cli.refine.stored import Record
from wsolrefine.data import UnreadableImage
from wsolrefine.data.images import reading, reading_reduced
from wsolrefine.localization.inputs import pixels_needed


class Plan(NamedTuple):
    """What to do with each image, and where to write the results.

    ``classes`` is the number K of the top classes, or a list of class indices, or such a list for
    each image by its name. ``write`` lists the folders of the pictures to write.
    """

    localizer: Localizer
    classes: int | list[int] | dict[str, list[int]]
    out: Path
    write: tuple[str, ...] = FOLDERS
    overlay_size: int = OVERLAY_SIZE


class Loaded(NamedTuple):
    """What is kept of an image while its batch is processed, which excludes the full image.

    ``identity`` is that of the file before it was opened. If the file is replaced meanwhile, the
    next run sees another one and processes it. ``size`` is the (width, height) of the full image.
    """

    found: Found
    identity: Record
    pixels: Tensor
    size: tuple[int, int]
    preview: Pixels | None


class Failed(NamedTuple):
    """An image that could not be read or written, and why."""

    found: Found
    reason: str


def load(plan: Plan, found: Found) -> Loaded | Failed:
    """Read and preprocess one image."""
    small, needed = None, pixels_needed(plan.localizer.preprocess)
    try:
        identity = file_identity(found.path, plan.out)
        with reading_reduced(found.path, needed) as (image, size):
            pixels = plan.localizer.prepare_image(image)
            if "overlays" in plan.write:
                with contextlib.ExitStack() as stack:
                    if not is_enough(image, size, plan.overlay_size):
                        image = stack.enter_context(reading(found.path))
                    small = preview(image, plan.overlay_size)
    except UnreadableImage as error:
        return Failed(found, error.reason)
    except OSError as error:
        return Failed(found, (error.strerror or str(error)).lower())
    except Exception as error:  # preprocessing may be the user's code
        return Failed(found, f"preprocessing failed ({error or type(error).__name__})")
    return Loaded(found, identity, pixels, size, small)
