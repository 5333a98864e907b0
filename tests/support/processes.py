"""Python in a process of its own, and two processes of torch.distributed."""

import multiprocessing
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]

# The server that forks processes imports this module, and so all that a test needs, once.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.support.kills"])

HEAVY = {
    *("cv2", "lightning", "matplotlib", "numba", "PIL", "pyarrow", "pycocotools"),
    *(
        "pytorch_lightning",
        "ray",
        "rich",
        "scipy",
        "skimage",
        "timm",
        "torchmetrics",
        "torchvision",
        "typer",
    ),
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


def start(process):
    """Start a process of ``PROCESSES``, and before the first the server, which must find the tests."""
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *([path] if path else [])])
    try:
        process.start()
    finally:
        os.environ.pop("PYTHONPATH") if path is None else os.environ.update(PYTHONPATH=path)


def _run_rank(module, rank, folder):
    descriptor = os.open(folder / f"{rank}.log", os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 2)
    import_module(module).run_rank(rank, folder)


def run_two(module, folder):
    """Run ``module.run_rank(rank, folder)`` in two processes; return what each saved, by rank.

    It calls :func:`join` and saves its results as ``RANK.pt`` in the folder.
    """
    running = [PROCESSES.Process(target=_run_rank, args=(module, rank, folder)) for rank in (0, 1)]
    try:
        for process in running:
            start(process)
        for process in running:
            process.join(120)
    finally:
        for process in running:
            process.kill()
    errors = [(folder / f"{rank}.log").read_text() for rank in (0, 1)]
    assert [process.exitcode for process in running] == [0, 0], "\n".join(errors)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]
