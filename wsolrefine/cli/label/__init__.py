"""The code of ``wsolrefine label``."""
