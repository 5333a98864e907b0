"""The code of ``wsolrefine report``."""
