"""From a model to the whole object: refined maps, masks and boxes."""

from wsolrefine.localization.compositions import accurate, balanced, fast, start_map
from wsolrefine.localization.instances import Instances
from wsolrefine.localization.localizer import Localizer, localize
from wsolrefine.localization.result import Localization

__all__ = [
    "Instances",
    "Localization",
    "Localizer",
    "accurate",
    "balanced",
    "fast",
    "localize",
    "start_map",
]
