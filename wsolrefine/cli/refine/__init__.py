"""How ``wsolrefine refine`` works: inputs, batches, maps and masks, one results file."""
