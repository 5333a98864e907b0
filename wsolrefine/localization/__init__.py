"""From a model to the whole object: refined maps, masks and boxes."""

from wsolrefine.localization.instances import Instances
from wsolrefine.localization.localizer import Localizer, localize
from wsolrefine.localization.result import Localization

__all__ = ["Instances", "Localization", "Localizer", "localize"]
