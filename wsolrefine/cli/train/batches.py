"""The batches of ``train``: what comes when and how it is cut, by seed and epoch alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from wsolrefine.data import UnreadableImage
from wsolrefine.data.augment import RandomCrop
from wsolrefine.data.reader import Reader


class Draw(NamedTuple):
    """An image of an epoch: the epoch travels with the number, so that workers know it."""

    epoch: int
    image: int


def number_of(*parts: int) -> int:
    """Make one seed of several numbers; near ones give seeds far apart.

    Example:
        >>> number_of(0, 1) == number_of(1, 0), 0 <= number_of(0, 1) < 2**63
        (False, True)

    """
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


class TrainingImages(Dataset[tuple[Tensor, int] | UnreadableImage]):
    """Images of a reader, cut at random and preprocessed, with their labels.

    They are read as ``evaluate`` reads them, by the policy of the data set. An image that cannot be
    read is returned as the error: raised in a worker, its message would be lost.
    """

    def __init__(
        self,
        reader: Reader,
        cut: RandomCrop,
        preprocess: Callable[[Image.Image], Tensor],
        seed: int,
    ) -> None:
        self.reader, self.cut, self.preprocess, self.seed = reader, cut, preprocess, seed

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, int] | UnreadableImage:
        path = self.reader.image_path(draw.image)
        try:
            image = self.reader.image(draw.image)
            generator = torch.Generator().manual_seed(number_of(self.seed, *draw))
            pixels = self.preprocess(self.cut(image, generator))
        except UnreadableImage as error:
            return error
        except OSError as error:
            return UnreadableImage(path, f"none ({error.strerror or error})")
        except Exception as error:  # preprocessing may be anybody's code
            return UnreadableImage(path, repr(error), "an image that preprocessing takes")
        return pixels, self.reader.annotations[draw.image].label


class Batches(Sampler[list[Draw]]):
    """The batches of one epoch in an order of its own, shared out among several processes.

    A last batch of one image is left out, as batch normalisation cannot train on it; with several
    processes also what does not go into equal shares.

    Args:
        count: number of images.
        batch_size: of each process.
        seed: of the run.
        epoch: the order is that of seed and epoch.
        rank: number of this process.
        processes: how many there are.

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

    def __iter__(self) -> Iterator[list[Draw]]:
        generator = torch.Generator().manual_seed(number_of(self.seed, self.epoch))
        order = torch.randperm(self.count, generator=generator).tolist()
        share = order[self.rank :: self.processes][: self.count // self.processes]
        for number in range(len(self)):
            part = share[number * self.batch_size : (number + 1) * self.batch_size]
            yield [Draw(self.epoch, image) for image in part]


class Loader(DataLoader[Any]):
    """Stacks batches, and raises what could not be read in the main process."""

    def __init__(self, images: TrainingImages, batches: Batches, workers: int, pinned: bool):
        super().__init__(
            images,
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=stack,
            pin_memory=pinned,
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for batch in super().__iter__():
            if isinstance(batch, UnreadableImage):
                raise batch
            yield batch


def stack(
    found: Sequence[tuple[Tensor, int] | UnreadableImage],
) -> tuple[Tensor, Tensor] | UnreadableImage:
    """Make images ``(B, 3, H, W)`` and labels ``(B,)`` of a batch, or return its first error."""
    good = []
    for one in found:
        if isinstance(one, UnreadableImage):
            return one
        good.append(one)
    images, labels = zip(*good, strict=True)
    return torch.stack(images), torch.tensor(labels)
