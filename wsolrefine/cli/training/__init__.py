"""How ``wsolrefine train`` works: options, images, run folder, recipe, course."""
