"""How ``wsolrefine evaluate`` works: options, data set, score maps, counts, results, files."""
