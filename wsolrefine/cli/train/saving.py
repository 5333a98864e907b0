"""When ``train`` saves and removes checkpoints; files that are not its own stay."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from rich.console import Console
from rich.text import Text

from wsolrefine.cli.console import printable
from wsolrefine.cli.train.checkpoints import Whole, checkpoint_name, find_checkpoints, is_own
from wsolrefine.cli.train.run_folder import CHECKPOINTS


class SaveEveryEpoch(Checkpoint):
    """Saves a checkpoint after every epoch, and removes the one before once the new one is whole.

    Only checkpoints of this run are replaced or removed. A damaged one cannot be told from a file
    of the user, so it is renamed if it is in the way.

    Args:
        out: folder of the run.
        run: what identifies the run.
        keep_all: keep the checkpoints of all epochs.

    """

    def __init__(self, out: Path, run: str, *, keep_all: bool) -> None:
        self.out, self.run, self.keep_all = out, run, keep_all
        self.epochs = 0
        self._written: set[Path] = set()

    def resume(self, whole: Whole | None) -> None:
        """Remember how far the run has come."""
        if whole is not None:
            self.epochs = whole.epochs

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove what a run left that was killed before it removed the last checkpoint but one."""
        self._remove_earlier(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save a checkpoint. A folder of its name is the user's, and stays."""
        path = self.out / CHECKPOINTS / checkpoint_name(trainer.current_epoch)
        if path.is_dir():
            return
        if trainer.is_global_zero and os.path.lexists(path) and not is_own(path, self.run):
            set_aside(path)
        trainer.save_checkpoint(path)
        self.epochs = trainer.current_epoch + 1
        self._written.add(path)
        self._remove_earlier(trainer)

    def _remove_earlier(self, trainer: Trainer) -> None:
        if self.keep_all or not trainer.is_global_zero:
            return
        for epoch, path in find_checkpoints(self.out):
            # Not those before: they are of a part of the run that kept all.
            if self.epochs - 3 <= epoch < self.epochs - 1 and (
                path in self._written or is_own(path, self.run)
            ):
                path.unlink()


def set_aside(path: Path) -> Path:
    """Rename a file to the first free name of ``NAME.damaged``, ``NAME.damaged-2``...

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for _ in range(2):
        ...         (path := Path(folder, "epoch-001.ckpt")).touch()
        ...         set_aside(path).name
        'epoch-001.ckpt.damaged'
        'epoch-001.ckpt.damaged-2'

    """
    names = (f"{path.name}.damaged" + (f"-{number}" if number > 1 else "") for number in count(1))
    free = next(new for name in names if not os.path.lexists(new := path.with_name(name)))
    path.rename(free)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble(printable(path, console), ": kept as ", free.name))
    return free
