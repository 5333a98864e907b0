"""The command ``python -m benchmarks.make_cub``."""

from benchmarks.scenes.make_cub import main

if __name__ == "__main__":
    main()
