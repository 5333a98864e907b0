"""The code of ``wsolrefine export-model``."""
