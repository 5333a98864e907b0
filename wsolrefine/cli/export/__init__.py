"""The code of ``wsolrefine export``."""
