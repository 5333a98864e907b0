"""The code of ``wsolrefine demo``."""
