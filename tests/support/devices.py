"""What tests ask of a GPU."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def never_waiting() -> Iterator[None]:
    """Raise where the CPU waits for the GPU.

    Call the function once before: libraries may wait when they start.
    """
    with warnings.catch_warnings():
        # torch says that it does not see every wait.
        warnings.filterwarnings("ignore", "Synchronization debug mode", UserWarning)
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")
