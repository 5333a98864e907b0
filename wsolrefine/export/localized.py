"""From what a localizer found to records."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import PurePath
from typing import Any

from wsolrefine._options import check_kind, kind_of
from wsolrefine.export.records import Object, Record, RunLengths
from wsolrefine.localization import Localization
from wsolrefine.localization.run_lengths import region


def records_of(
    localization: Localization,
    images: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    names: str | Sequence[str] | None = None,
) -> list[Record]:
    """Return a record for each image of a localization, at the size of its maps.

    If images were resized before, pass the localizer PIL images or ``size``, so that the boxes are
    in pixels of the files.

    Args:
        localization: what a :class:`wsolrefine.Localizer` found in B images.
        images: the paths of their files, B of them; one path for one image.
        names: names of the images in the data set, relative paths that tell them apart; None: those
            of the files without folders.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: there are more or fewer paths or names than images.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from wsolrefine import localize
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.AdaptiveAvgPool2d(1),
        ...                       nn.Flatten(), nn.Linear(8, 10))
        >>> found = localize(model, torch.rand(2, 3, 32, 48))
        >>> [record[:3] for record in records_of(found, ["in/a.jpg", "in/b.jpg"])]
        [('a.jpg', 48, 32), ('b.jpg', 48, 32)]

    """
    check_kind("localization", localization, Localization, "a Localization")
    paths = _texts("images", images, len(localization))
    if names is None:
        names = [PurePath(path).name for path in paths]
    return [
        Record(
            name,
            localization.maps.shape[-1],
            localization.maps.shape[-2],
            _objects(localization, number),
            path,
        )
        for number, (path, name) in enumerate(
            zip(paths, _texts("names", names, len(localization)), strict=True)
        )
    ]


def _objects(found: Localization, image: int) -> list[Object]:
    objects = []
    labels, scores = found.labels[image].tolist(), found.scores[image].tolist()
    for place, (label, score) in enumerate(zip(labels, scores, strict=True)):
        if label < 0:  # another image has more classes
            continue
        map = found.coarse[image, place].float().cpu().numpy()
        names = found.class_names
        known = Object(label, names[label] if names else f"class {label}", score, map=map)
        instances = found.instances[image][place]
        size = (found.maps.shape[-2], found.maps.shape[-1])
        masks, own = instances.masks.cpu().numpy(), instances.scores.tolist()
        for mask, score_of_one in zip(masks, own, strict=True):
            if (one := region(mask, size)) is not None:
                runs = RunLengths(one.counts, size)
                objects.append(known._replace(score=score_of_one, box=one.box, mask=runs))
        if not len(masks):
            objects.append(known)
    return objects


def _texts(name: str, values: Any, number: int) -> list[str]:
    several = [values] if isinstance(values, str | PathLike) else values
    if not isinstance(several, Sequence):
        raise TypeError(f"{name}: expected {number} paths, got {kind_of(values)}")
    for value in several:
        if not isinstance(value, str | PathLike):
            raise TypeError(f"{name}: expected paths, got one of type {kind_of(value)}")
    if len(several) != number:
        raise ValueError(f"{name}: expected {number} as there are images, got {len(several)}")
    return [fspath(value) for value in several]
