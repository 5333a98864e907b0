"""The code of ``wsolrefine layers``."""
