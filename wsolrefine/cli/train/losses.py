"""The table of losses of ``train``, one for the whole run however often it was interrupted."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from wsolrefine.cli.train.run_folder import HEADER, write_durably


class LossTable(Callback):
    """Writes the losses to a CSV file after every epoch, before its checkpoint.

    A resumed run keeps the rows of the finished epochs and repeats the others, so the table is that
    of an uninterrupted run.

    Args:
        path: the file.
        every: number of steps between rows.

    """

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every
        self.rows: list[str] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the rows of finished epochs."""
        self.rows = rows_before(self.path, trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add a row."""
        if trainer.is_global_zero and (batch_idx + 1) % self.every == 0:
            loss = float(outputs["loss"])
            self.rows.append(f"{trainer.current_epoch},{trainer.global_step},{loss!r}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the table."""
        if trainer.is_global_zero:
            write_durably(self.path, "".join(f"{row}\n" for row in (HEADER, *self.rows)).encode())


def rows_before(path: Path, epoch: int) -> list[str]:
    r"""Return the rows of a table before an epoch; what is no such row is left out.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table = pathlib.Path(folder) / "losses.csv"
        ...     _ = table.write_text("epoch,step,loss\n0,1,0.5\n1,2,0.25\n")
        ...     rows_before(table, 1)
        ['0,1,0.5']

    """
    rows = []
    with contextlib.suppress(OSError, ValueError):
        for row in path.read_text("utf-8").splitlines() if path.is_file() else ():
            with contextlib.suppress(ValueError):
                number, step, loss = row.split(",")
                if int(number) < epoch and int(step) > 0 and float(loss) is not None:
                    rows.append(row)
    return rows
