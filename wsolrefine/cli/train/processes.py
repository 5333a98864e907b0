"""Which process of a run this is: ``train`` starts those of several devices itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from wsolrefine.cli.console import stop
from wsolrefine.cli.loading import RANKS

STARTED = "WSOLREFINE_TRAIN_STARTED"
"""Set while the first process trains, so the processes that it starts have it."""

OTHER_RANKS = ("GROUP_RANK", "NODE_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
SIZES = (
    *("WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "JSM_NAMESPACE_SIZE"),
    *("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"),
)
"""The number of processes. A batch script, which is one process, has SLURM_NTASKS too."""

TRAINER = "PL_TRAINER_"
"""Start of the variables by which Lightning changes a trainer, such as the number of batches."""


def is_first_process() -> bool:
    """Tell whether the user started this process; it starts the others with the same command."""
    return STARTED not in os.environ


def check_environment() -> None:
    """Stop if a launcher such as torchrun or srun starts several processes, or seems to.

    All of them would write to one folder. What a launcher has left in the environment cannot be
    told from a launcher, and Lightning would believe it: a process of rank 1 writes nothing.
    """
    if not is_first_process():
        return
    expected = dict.fromkeys(RANKS + OTHER_RANKS, 0) | dict.fromkeys(SIZES, 1)
    for name, number in expected.items():
        value = os.environ.get(name)
        if value is not None and not (value.strip().isdecimal() and int(value) == number):
            stop(
                f"{name}: expected {number}, or no such variable in the environment, got {value!r}:"
                " train starts the processes of --devices itself; start it without torchrun, srun "
                "or mpirun, or unset the variable"
            )
    for name in sorted(os.environ):
        if name.startswith(TRAINER):
            stop(
                f"{name}: expected no such variable in the environment, because it would change "
                f"how Lightning trains, got {os.environ[name]!r}: unset it"
            )


@contextmanager
def starting_others() -> Iterator[None]:
    """Mark the processes that are started in this context as started by ``train``."""
    before = os.environ.get(STARTED)
    os.environ[STARTED] = "1"
    try:
        yield
    finally:
        del os.environ[STARTED]
        if before is not None:
            os.environ[STARTED] = before
