"""The code of ``wsolrefine merge``."""
