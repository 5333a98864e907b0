"""The code of ``wsolrefine threshold``."""
