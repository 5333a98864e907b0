"""Pictures and maps, read one after the other and passed on as the page takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wsolrefine.cli.console import Problems
from wsolrefine.cli.report.agreement import Entry
from wsolrefine.cli.report.assets import colored, jpeg, packed_map
from wsolrefine.cli.report.runs import Image
from wsolrefine.data import UnreadableImage
from wsolrefine.data.images import reading_reduced
from wsolrefine.functional._grid import limited_size
from wsolrefine.localization.masks import mask_size

Keep = Callable[[str, bytes], None]
"""Takes an asset: its name, ``picture-IMAGE`` or ``map-ENTRY-RUN``, and its content."""


class Gathered:
    """What is known of the files once they are read.

    Attributes:
        maps: the (height, width) of each map, by number of entry and run.
        lost: numbers of the images that could not be read.
        problems: what could not be read, and why.

    """

    def __init__(self) -> None:
        self.maps: dict[tuple[int, int], tuple[int, int]] = {}
        self.lost: set[int] = set()
        self.problems: Problems = []


def gather(
    images: Sequence[Image],
    entries: Sequence[Entry],
    longest: int,
    keep: Keep,
    advance: Callable[[int], None],
) -> Gathered:
    """Read the files of all images and maps, and pass them on.

    Args:
        images: those of the report.
        entries: their classes.
        longest: longest side of a picture.
        keep: takes each of them.
        advance: called after each image.

    """
    done = Gathered()
    of_image: dict[int, list[int]] = {}
    for number, entry in enumerate(entries):
        of_image.setdefault(entry.image, []).append(number)
    for number, image in enumerate(images):
        first = None
        for place in of_image.get(number, []):
            for run, found in entries[place].found.items():
                if found.map is None:
                    continue
                try:
                    levels = found.map.load()
                except OSError as error:
                    done.problems.append((f"map of {image.name}", error.strerror or str(error)))
                    continue
                first = levels if first is None else first
                done.maps[place, run] = levels.shape[0], levels.shape[1]
                keep(f"map-{place}-{run}", packed_map(levels, mask_size(image.size[::-1])))
        picture = _photograph(image, longest, done.problems)
        if picture is None:
            done.lost.add(number)
            if first is not None:
                picture = jpeg(colored(first, _reduced(image.size, longest)), longest)
        if picture is not None:
            keep(f"picture-{number}", picture)
        advance(1)
    return done


def _photograph(image: Image, longest: int, problems: Problems) -> bytes | None:
    """Return the JPEG file of an image; None if it is no file, or has gone."""
    if image.path is None:
        return None
    try:
        with reading_reduced(image.path, (longest, longest)) as (pixels, size):
            if size == image.size:
                return jpeg(pixels, longest)
        reason = f"expected {image.size} pixels as in the results, got {size}"
    except UnreadableImage as error:
        reason = error.reason
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
    problems.append((str(image.path), f"{reason}; its heatmap is shown instead"))
    return None


def _reduced(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Return a (width, height) with a longest side."""
    height, width = limited_size(size[::-1], longest)
    return width, height
