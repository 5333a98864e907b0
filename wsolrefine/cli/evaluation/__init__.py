"""How ``wsolrefine evaluate`` works: options, data set, maps, counts, figures, files."""
