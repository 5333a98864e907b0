"""Whole data sets on Ray Data: images in, rows of labels, boxes and masks out, as Parquet."""
