"""The code of ``wsolrefine app``: a page in the browser."""
