"""How ``wsolrefine train`` works: options, data set, run folder, recipe, trainer."""
