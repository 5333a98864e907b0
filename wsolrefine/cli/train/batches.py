"""The batches of ``train``: order and crops depend only on the seed and the epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from wsolrefine.data import UnreadableImage
from wsolrefine.data._opened import share_turn
from wsolrefine.data.augment import RandomCrop
from wsolrefine.data.images import reading
from wsolrefine.data.reader import Reader


class SampleIndex(NamedTuple):
    """The index of an image, with the epoch, which workers would not know otherwise."""

    epoch: int
    image: int


def derive_seed(*parts: int) -> int:
    """Hash several numbers to one seed, so that similar numbers give unrelated seeds.

    Example:
        >>> derive_seed(0, 1) == derive_seed(1, 0), 0 <= derive_seed(0, 1) < 2**63
        (False, True)

    """
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


class TrainingImages(Dataset[tuple[Tensor, int] | UnreadableImage]):
    """Images of a reader with their labels, randomly cropped and preprocessed.

    They are read like in ``evaluate``, by the image policy of the data set. If an image cannot be
    read, the error is returned, because an error raised in a worker loses its message.
    """

    def __init__(
        self,
        reader: Reader,
        crop: RandomCrop,
        preprocess: Callable[[Image.Image], Tensor],
        seed: int,
    ) -> None:
        self.reader, self.crop, self.preprocess, self.seed = reader, crop, preprocess, seed

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: SampleIndex) -> tuple[Tensor, int] | UnreadableImage:
        path = self.reader.image_path(index.image)
        try:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, *index))
            with reading(path, self.reader.policy) as image:
                pixels = self.preprocess(self.crop(image, generator))
        except UnreadableImage as error:
            return error
        except OSError as error:
            return UnreadableImage(path, f"none ({error.strerror or error})")
        except Exception as error:  # preprocessing may be the user's code
            return UnreadableImage(path, repr(error), "an image that preprocessing accepts")
        return pixels, self.reader.annotations[index.image].label


class Batches(Sampler[list[SampleIndex]]):
    """The batches of one epoch in random order, distributed over several processes.

    A last batch of a single image is skipped, because batch norm cannot train on it. With several
    processes, the images left after dividing by their number are skipped too.

    Args:
        count: number of images.
        batch_size: images per batch, in each process.
        seed: random seed of the run.
        epoch: number of the epoch; it determines the order together with the seed.
        rank: number of this process.
        processes: number of processes.

    Example:
        >>> [len(batch) for batch in Batches(9, 4, seed=0, epoch=0)]
        [4, 4]

    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        seed: int,
        epoch: int,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.count, self.batch_size, self.seed, self.epoch = count, batch_size, seed, epoch
        self.rank, self.processes = rank, processes

    def __len__(self) -> int:
        whole, rest = divmod(self.count // self.processes, self.batch_size)
        return whole + (rest > 1)

    def __iter__(self) -> Iterator[list[SampleIndex]]:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
        order = torch.randperm(self.count, generator=generator).tolist()
        share = order[self.rank :: self.processes][: self.count // self.processes]
        for number in range(len(self)):
            part = share[number * self.batch_size : (number + 1) * self.batch_size]
            yield [SampleIndex(self.epoch, image) for image in part]


class Loader(DataLoader[Any]):
    """A loader that raises the errors of unreadable images in the main process."""

    def __init__(self, images: TrainingImages, batches: Batches, workers: int, pinned: bool):
        lock = torch.multiprocessing.get_context().RLock() if workers else None
        super().__init__(
            images,
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=stack,
            pin_memory=pinned,
            worker_init_fn=partial(_share_turn, lock) if lock else None,
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for batch in super().__iter__():
            if isinstance(batch, UnreadableImage):
                raise batch
            yield batch


def _share_turn(lock: Any, worker: int) -> None:
    share_turn(lock)  # large images are read one at a time, in all workers together


def stack(
    samples: Sequence[tuple[Tensor, int] | UnreadableImage],
) -> tuple[Tensor, Tensor] | UnreadableImage:
    """Return images ``(B, 3, H, W)`` and labels ``(B,)`` of a batch, or its first error."""
    readable = []
    for sample in samples:
        if isinstance(sample, UnreadableImage):
            return sample
        readable.append(sample)
    images, labels = zip(*readable, strict=True)
    return torch.stack(images), torch.tensor(labels)
