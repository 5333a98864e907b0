"""The code of ``wsolrefine refine``."""
