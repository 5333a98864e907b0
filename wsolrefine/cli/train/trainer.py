"""The trainer of ``train``: data, logging, checkpoints and random seeds."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import (
    LightningEnvironment,
    find_free_network_port,
)
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

from wsolrefine.cli.console import is_quiet, output_console
from wsolrefine.cli.train.batches import Batches, Loader, TrainingImages, derive_seed
from wsolrefine.cli.train.checkpoints import DurableFiles
from wsolrefine.cli.train.losses import LossTable
from wsolrefine.cli.train.run_folder import LOSSES
from wsolrefine.cli.train.saving import SaveEveryEpoch


class TrainingData(LightningDataModule):
    """Gives the trainer a new loader for each epoch, in the order of that epoch."""

    def __init__(self, images: TrainingImages, batch_size: int, workers: int) -> None:
        super().__init__()
        self.images, self.batch_size, self.workers = images, batch_size, workers

    def train_dataloader(self) -> Loader:
        """Return the batches of the current epoch."""
        assert self.trainer is not None
        batches = Batches(
            len(self.images),
            self.batch_size,
            seed=self.images.seed,
            epoch=self.trainer.current_epoch,
            rank=self.trainer.global_rank,
            processes=self.trainer.world_size,
        )
        pinned = self.trainer.strategy.root_device.type == "cuda"
        return Loader(self.images, batches, self.workers, pinned)


class EpochLog(Callback):
    """Sets the seed of every epoch, so that a resumed run is the same, and prints its loss."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make dropout and similar operations depend only on the seed and the epoch."""
        torch.manual_seed(derive_seed(self.seed, trainer.current_epoch, trainer.global_rank, 1))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print one line."""
        if trainer.is_global_zero:
            values = {name: float(value) for name, value in trainer.callback_metrics.items()}
            shown = ", ".join(f"{name} {value:.4g}" for name, value in sorted(values.items()))
            line = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}: {shown}"
            output_console(soft_wrap=True).print(line.rstrip(": "))


class ProgressBar(RichProgressBar):
    """Lightning's progress bar on standard error, without the version number of the log."""

    def __init__(self) -> None:
        super().__init__(console_kwargs={"stderr": True})

    def get_metrics(self, *arguments: Any) -> dict[str, Any]:
        """Return the values shown next to the bar."""
        values: dict[str, Any] = super().get_metrics(*arguments)
        values.pop("v_num", None)
        return values


class OwnProcesses(LightningEnvironment):
    """The processes of one machine: the first starts the others, whatever launcher there is.

    Args:
        first: whether this is the first process. It takes nothing from the environment, because
            variables that a launcher has left there would make it wait for others in vain.

    """

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.first = first
        self._port: int | None = None

    @property
    def creates_processes_externally(self) -> bool:
        """Tell whether somebody else has started the other processes."""
        return not self.first

    @property
    def main_address(self) -> str:
        """Return the address of the first process."""
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        """Return the port of the first process, which tells it the others."""
        if not self.first:
            return super().main_port
        if self._port is None:
            self._port = find_free_network_port()
        return self._port

    def local_rank(self) -> int:
        """Return the number of this process."""
        return 0 if self.first else super().local_rank()

    def node_rank(self) -> int:
        """Return the number of this machine."""
        return 0


def make_trainer(
    out: Path, *, epochs: int, steps: int, seed: int, device: torch.device, devices: int,
    precision: str, saving: SaveEveryEpoch, first: bool,
) -> Trainer:  # fmt: skip
    """Return a trainer that saves a checkpoint after every epoch and logs to a table.

    Nothing is written yet, so that devices and precision are tried before a run is begun.

    Raises:
        Exception: Lightning's own, if the devices or the precision are not available.

    """
    if precision == "16-mixed" and device.type == "cpu":  # Lightning would take bfloat16
        raise ValueError("expected 32-true or bf16-mixed on a CPU")
    every = max(1, min(50, steps))
    numbers = [device.index] if device.index is not None and devices == 1 else devices
    bar = [] if is_quiet() else [ProgressBar()]
    return Trainer(
        accelerator={"cuda": "gpu"}.get(device.type, device.type),
        devices=numbers,
        strategy="ddp_find_unused_parameters_true" if devices > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]
        max_epochs=epochs,
        logger=False,
        callbacks=[EpochLog(seed), LossTable(out / LOSSES, every), *bar, saving],
        plugins=[DurableFiles(saving.run), OwnProcesses(first)],
        default_root_dir=out,
        enable_model_summary=False,
        enable_progress_bar=bool(bar),
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
    )


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence the messages and warnings of Lightning; errors are still raised."""
    names = ("lightning.pytorch", "lightning.fabric")
    levels = [logging.getLogger(name).level for name in names]
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.|torch\.|PIL\.|pkg_resources")
            yield
    finally:
        for name, level in zip(names, levels, strict=True):
            logging.getLogger(name).setLevel(level)
