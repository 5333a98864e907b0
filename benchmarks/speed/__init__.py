"""Time and memory of the library next to the least that its results need."""
