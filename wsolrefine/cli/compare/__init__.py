"""The code of ``wsolrefine compare``."""
