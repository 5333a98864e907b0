"""The five papers as training recipes, on any backbone that returns a list of maps."""

try:
    import lightning  # noqa: F401
except ImportError as error:
    raise ImportError("recipes: expected lightning (pip install 'wsolrefine[train]')") from error

from wsolrefine.recipes.checkpoint import About, Trained, load_trained, read_about, save_trained
from wsolrefine.recipes.csoa import Csoa
from wsolrefine.recipes.localization import Localization
from wsolrefine.recipes.ornet import Ornet
from wsolrefine.recipes.sem_edges import SemEdges
from wsolrefine.recipes.spa import Spa
from wsolrefine.recipes.spol import Spol

__all__ = [
    "About",
    "Csoa",
    "Localization",
    "Ornet",
    "SemEdges",
    "Spa",
    "Spol",
    "Trained",
    "load_trained",
    "read_about",
    "save_trained",
]
