"""How ``wsolrefine demo`` works: six photographs, every stage of each, one picture."""
