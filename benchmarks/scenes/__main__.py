"""Draw 40 scenes, to see what the benchmarks measure on.

python -m benchmarks.scenes --sheet scenes.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.scenes import SPLITS, Scenes, load_sources
from wsolrefine.viz import contact_sheet, draw_boxes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sheet", type=Path, default=Path("scenes.png"))
    parser.add_argument("--folder", type=Path, help="folder with the unpacked packages")
    parser.add_argument("--split", choices=[*SPLITS], default="test")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sources = load_sources(options.folder)
    for split in SPLITS:
        all_of = Scenes(sources, split)
        print(f"{split}: {len(all_of.stamps)} cut-outs, {len(all_of.backgrounds)} backgrounds")
    scenes = Scenes(sources, options.split, 40, seed=options.seed)
    shown = [draw_boxes(scene.image, scene.box) for scene in map(scenes.__getitem__, range(40))]
    contact_sheet([shown[i : i + 8] for i in range(0, 40, 8)], [""] * 8, options.sheet, cell=1.5)


if __name__ == "__main__":
    main()
