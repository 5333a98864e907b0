"""Groups of ImageNet's classes: few enough to be learned from some hundreds of photographs."""

from __future__ import annotations

from collections.abc import Mapping

CLASSES = 1000
THINGS = "other things"
GROUPS: dict[str, list[tuple[int, int]]] = {  # first and last class
    "fish and sea animals": [(0, 6), (107, 126), (327, 329), (389, 397)],
    "birds": [(7, 24), (80, 100), (127, 146)],
    "reptiles and amphibians": [(25, 68)],
    "insects and spiders": [(69, 79), (300, 326)],
    "dogs": [(151, 268)],
    "other mammals": [(101, 106), (147, 150), (269, 299), (330, 388)],
    "food and plants": [(924, 969), (984, 998)],
}
# The classes of things are in alphabetical order.
VEHICLES = {
    *(403, 404, 405, 407, 408, 417, 436, 444, 450, 466, 468, 472, 484, 510, 511, 547, 554, 555),
    *(565, 569, 573, 576, 586, 595, 603, 609, 612, 625, 627, 628, 654, 656, 661, 665, 670, 671),
    *(675, 690, 705, 717, 724, 734, 751, 757, 779, 780, 802, 803, 812, 814, 817, 820, 829, 833),
    *(847, 856, 864, 866, 867, 870, 871, 874, 880, 895, 914),
}
NAMES = [*GROUPS, "vehicles", THINGS]


def group_of(label: int) -> str:
    """Return the group of a class of ImageNet."""
    if not 0 <= label < CLASSES:
        raise ValueError(f"label: expected a class of ImageNet, 0 to {CLASSES - 1}, got {label}")
    if label in VEHICLES:
        return "vehicles"
    for name, ranges in GROUPS.items():
        if any(first <= label <= last for first, last in ranges):
            return name
    return THINGS


def parsed_groups(texts: list[str]) -> Mapping[str, str]:
    """Return the group of each data set whose labels are not ImageNet's, from ``NAME=GROUP``."""
    found = {}
    for text in texts:
        name, _, group = text.partition("=")
        if not name or group not in NAMES:
            raise ValueError(
                f"group: expected NAME=GROUP with GROUP one of {', '.join(NAMES)}, got {text!r}"
            )
        found[name] = group
    return found
