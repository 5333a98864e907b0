"""Python in a process of its own, and two processes of torch.distributed."""

import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]

HEAVY = {
    *("cv2", "lightning", "matplotlib", "numba", "PIL", "pycocotools", "pytorch_lightning", "ray"),
    *("rich", "scipy", "skimage", "timm", "torchmetrics", "torchvision", "typer"),
}
"""Packages that ``import wsolrefine`` must not load."""


def run_python(code, path=ROOT):
    """Run code in a process of its own, in which ``path`` comes first."""
    lines = f"import sys; sys.path[:0] = [{str(path)!r}, {str(ROOT)!r}]\n{code}"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def join(rank, folder):
    """Become one of the two processes."""
    torch.distributed.init_process_group(
        "gloo", init_method=(Path(folder) / "rendezvous").as_uri(), rank=rank, world_size=2
    )


def run_two(module, folder):
    """Run ``module.run_rank(rank, folder)`` in two processes; return what each saved, by rank.

    It calls :func:`join` and saves its results as ``RANK.pt`` in the folder.
    """
    code = f"import sys; from {module} import run_rank; run_rank(int(sys.argv[1]), sys.argv[2])"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(rank), str(folder)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        errors = [process.communicate(timeout=120)[1] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], "\n".join(errors)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]
