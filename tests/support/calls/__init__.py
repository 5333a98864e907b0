"""Every public function with arguments that work, and what each of its arguments may be."""

from tests.support.calls import (
    core,
    datasets,
    losses,
    metrics,
    models,
    networks,
    pictures,
    recipes,
)

CALLS = {
    "wsolrefine": [*core.CALLS, *models.CALLS],
    "wsolrefine.data": datasets.CALLS,
    "wsolrefine.losses": losses.CALLS,
    "wsolrefine.metrics": metrics.CALLS,
    "wsolrefine.nn": networks.CALLS,
    "wsolrefine.recipes": recipes.CALLS,
    "wsolrefine.viz": pictures.CALLS,
}
METHODS = [*models.METHODS, *networks.FORWARDS, *metrics.METHODS]
"""Methods of the classes among them."""
NOT_HERE = {
    "wsolrefine": {"ClassActivation", "ConfSeg", "Gaussian", "GraphOutput", "Instances", "Layers", "Localization", "OnnxDifferences"},
    "wsolrefine.data": {"Annotation", "UnreadableImage"},
    "wsolrefine.metrics": {
        "BoundaryResult", "BoxAccuracy", "ErrorRates", "LocalizationError", "LocalizationRates",
        "PeakIoUResult", "PixelPrecision",
    },
    "wsolrefine.nn": {"Activation", "MFFMaps"},
    "wsolrefine.recipes": {"Recipe", "RecipeMetadata"},
}  # fmt: skip
"""Results, records and an abstract class: they are made by the library, not by its users."""
