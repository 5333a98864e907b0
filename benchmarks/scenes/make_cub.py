"""Write a small data set in CUB's layout to try training: scenes with labels, boxes and masks.

    python -m benchmarks.make_cub scenes-cub --train 200 --test 60

The classes are the folders of the cut-outs: animals, food, vehicles and so on. Train and test share
neither a cut-out nor a background.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from PIL import Image

from benchmarks.scenes import Scenes, Sources, load_sources

TABLES = ("images", "image_class_labels", "train_test_split", "bounding_boxes")


def make_cub(out: Path, counts: dict[str, int], sources: Sources, *, size: int, seed: int) -> None:
    """Write scenes in the layout of the CUB-200-2011 download.

    Args:
        out: a folder that does not exist yet, or is empty.
        counts: number of scenes of ``train`` and ``test``.
        sources: the photographs.
        size: side of the scenes in pixels.
        seed: another seed gives other scenes.

    Raises:
        FileExistsError: the folder is not empty.

    """
    if out.exists() and any(out.iterdir()):
        raise FileExistsError(f"out: expected an empty folder, got {out} with files in it")
    splits = {
        split: Scenes(sources, split, count, seed=seed, size=size)
        for split, count in counts.items()
    }
    # From all cut-outs, so that labels do not depend on the number of scenes.
    names = sorted({s.relative_to(sources.root).parts[0] for s in sources.stamps})
    lines: dict[str, list[str]] = {table: [] for table in TABLES}
    number = 0
    for split, scenes in splits.items():
        for index in range(len(scenes)):
            scene, number = scenes[index], number + 1
            label = names.index(scene.class_name) + 1
            folder = f"{label:03d}.{scene.class_name}"
            path = f"{folder}/{split}_{index:04d}_{scene.stamp}.jpg"
            mask = scene.mask.numpy().astype("uint8") * 255
            for kind, file, pixels in (
                ("images", path, scene.image),
                ("segmentations", str(Path(path).with_suffix(".png")), mask),
            ):
                (out / kind / folder).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(out / kind / file, quality=92)
            x0, y0, x1, y1 = scene.box.tolist()
            lines["images"].append(f"{number} {path}")
            lines["image_class_labels"].append(f"{number} {label}")
            lines["train_test_split"].append(f"{number} {int(split == 'train')}")
            lines["bounding_boxes"].append(f"{number} {x0} {y0} {x1 - x0} {y1 - y0}")
    lines["classes"] = [f"{label} {label:03d}.{name}" for label, name in enumerate(names, 1)]
    for table, rows in lines.items():
        (out / f"{table}.txt").write_text("".join(f"{row}\n" for row in rows), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--train", type=int, default=200, help="number of training scenes")
    parser.add_argument("--test", type=int, default=60, help="number of test scenes")
    parser.add_argument("--size", type=int, default=320, help="side of the scenes in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="folder with the unpacked packages")
    options = parser.parse_args()
    counts = {"train": options.train, "test": options.test}
    try:
        sources = load_sources(options.folder)
        make_cub(options.out, counts, sources, size=options.size, seed=options.seed)
    except (FileExistsError, FileNotFoundError, RuntimeError) as error:
        parser.error(str(error))
    labels = (options.out / "image_class_labels.txt").read_text().split()[1::2]
    classes = (options.out / "classes.txt").read_text().split()[1::2]
    found = Counter(classes[int(label) - 1] for label in labels)
    print(f"{options.out}: {options.train} scenes to train, {options.test} to test")
    print(", ".join(f"{name} {found[name]}" for name in classes))


if __name__ == "__main__":
    main()
