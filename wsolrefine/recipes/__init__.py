"""The five papers and distillation as training recipes, for any backbone of feature maps."""

try:
    import lightning  # noqa: F401
except ImportError as error:
    raise ImportError("recipes: expected lightning (pip install 'wsolrefine[train]')") from error

from wsolrefine.recipes._recipe import Recipe
from wsolrefine.recipes.checkpoint import load_recipe, save_recipe
from wsolrefine.recipes.csoa import Csoa
from wsolrefine.recipes.distill import Distill
from wsolrefine.recipes.metadata import RecipeMetadata, read_metadata
from wsolrefine.recipes.ornet import Ornet
from wsolrefine.recipes.sem_edges import SemEdges
from wsolrefine.recipes.spa import Spa
from wsolrefine.recipes.spol import Spol

__all__ = [
    "Csoa",
    "Distill",
    "Ornet",
    "Recipe",
    "RecipeMetadata",
    "SemEdges",
    "Spa",
    "Spol",
    "load_recipe",
    "read_metadata",
    "save_recipe",
]
