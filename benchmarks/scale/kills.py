"""Kill ``wsolrefine label`` and its workers at random moments, and compare the rows at the end.

    python -m benchmarks.scale.kills --images 2000 --photographs FOLDER

Every run is in processes of its own. A run whose driver is killed is started again in the same
folder until it ends by itself; workers are killed while a run goes on. Needs Linux.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.common import RESULTS, machine, origin, write_record
from benchmarks.scale.kill_report import render
from benchmarks.scale.killed_runs import Runs
from benchmarks.scale.photographs import repeated, write_photographs
from benchmarks.scale.rows import compared, read_rows
from wsolrefine.data.images import SUFFIXES


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--images", type=int, default=2000, help="images, given ones repeated")
    parser.add_argument("--photographs", type=Path, help="folder; default: those of scikit-image")
    parser.add_argument("--driver", type=int, default=10, help="kills of the driver, at least")
    parser.add_argument("--workers", type=int, default=10, help="kills of workers, at least")
    parser.add_argument("--in-a-row", type=int, default=3, help="kills of one run, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, default=RESULTS, help="folder for scale_kills.json and .md"
    )
    parser.add_argument(
        "label", nargs="*", help="options of label, after --: the model, --part-size, --workers"
    )
    return parser.parse_args()


def photographs_of(options: argparse.Namespace, folder: Path) -> tuple[Path, int]:
    """Return a folder with so many images, and how many files they are copies of."""
    if options.photographs is None:
        files = write_photographs(folder / "photographs", (320, 240))
    else:
        found = sorted(options.photographs.rglob("*"))
        files = [file for file in found if file.suffix.lower() in SUFFIXES and file.is_file()]
    if not files:
        raise SystemExit(f"--photographs: expected images, got none in {options.photographs}")
    return repeated(files, folder / "images", options.images), min(len(files), options.images)


def main() -> None:
    options = parsed()
    record: dict[str, Any] = {"command": _command(options), **origin(), **machine()}
    begin = time.monotonic()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images, files = photographs_of(options, folder)
        runs = Runs(images, options.label, options.seed)
        runs.undisturbed(folder / "whole")
        whole = read_rows(folder / "whole")
        folders: list[Path] = []
        for kill, wanted in (
            (runs.with_kills_of_the_driver, options.driver),
            (runs.with_kills_of_workers, options.driver + options.workers),
        ):
            while len(runs.kills) < wanted:
                folders.append(folder / f"{len(folders)}")
                kill(folders[-1], min(options.in_a_row, wanted - len(runs.kills)))
        differences = [compared(whole, read_rows(out)) for out in folders]
        record |= {
            "images": options.images,
            "files": files,
            "rows": len(whole),
            "undisturbed": round(runs.seconds, 1),
            "folders": len(folders),
            "differences": {key: sum(one[key] for one in differences) for key in differences[0]},
            "kills": runs.kills,
        }
    record["seconds"] = round(time.monotonic() - begin)
    text = render(record)
    write_record(options.out, "scale_kills", record, text)
    print(text)
    if any(record["differences"].values()) or any(kill.get("left") for kill in runs.kills):
        raise SystemExit(1)


def _command(options: argparse.Namespace) -> str:
    """Return the command without the folders of this machine."""
    words = [f"--images {options.images}", f"--driver {options.driver}"]
    words += [f"--workers {options.workers}", f"--in-a-row {options.in_a_row}"]
    words.append(f"--seed {options.seed}")
    if options.photographs is not None:
        words.insert(1, f"--photographs {options.photographs.name}")
    if options.label:
        words.append(f"-- {' '.join(options.label)}")
    return f"python -m benchmarks.scale.kills {' '.join(words)}"


if __name__ == "__main__":
    main()
