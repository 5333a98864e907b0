"""Draw the images of the documentation into docs/img: python docs/pictures.py [NAME...]

The photographs ship with scikit-image and the classifier is the offline default. The images are
kept in the repository: run this after a change of a function, and look at what changed.
"""

from __future__ import annotations

import argparse

import torch
from drawings import (
    box_metrics,
    crf,
    edges,
    label_losses,
    map_losses,
    maps,
    masks,
    modules,
    network,
    objects,
    pages,
    panels,
    pixel_metrics,
    positions,
    wrong,
)

MODULES = (
    *(objects, maps, positions, masks, crf, network, wrong, pages),
    *(box_metrics, pixel_metrics, map_losses, label_losses, edges, modules),
)
PICTURES = {
    name.removeprefix("draw_"): function
    for module in MODULES
    for name, function in vars(module).items()
    if name.startswith("draw_") and function.__module__ == module.__name__
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PICTURES))
    names = parser.parse_args().names or list(PICTURES)
    unknown = sorted(set(names) - set(PICTURES))
    if unknown:
        parser.error(f"no such picture: {', '.join(unknown)}")
    for name in names:
        torch.manual_seed(0)
        PICTURES[name]()
        path = panels.FOLDER / f"{name}.webp"
        print(f"{path.stat().st_size / 1000:6.1f} kB  {path.name}")


if __name__ == "__main__":
    main()
