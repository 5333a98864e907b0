"""The command ``python -m benchmarks.boundaries``."""

from benchmarks.quality.boundaries import main

if __name__ == "__main__":
    main()
