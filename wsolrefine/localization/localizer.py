"""The one way from a model to boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor, nn

from wsolrefine._check import check_tensors, check_values
from wsolrefine._options import (
    check_call,
    check_function,
    check_logits,
    check_size,
    check_texts,
    kind_of,
)
from wsolrefine.activation.calling import Call
from wsolrefine.activation.forward import class_activation
from wsolrefine.activation.labels import Labels, check_columns, gathered, zero_where_none
from wsolrefine.activation.layers import Layers, find_layers
from wsolrefine.activation.names import check_names
from wsolrefine.activation.outputs import Logits
from wsolrefine.data.images import UPRIGHT, ImagePolicy, read_image
from wsolrefine.functional._grid import largest_grid
from wsolrefine.functional._numeric import working
from wsolrefine.functional.boxes import union_box
from wsolrefine.localization.class_maps import ClassMaps, probabilities
from wsolrefine.localization.compositions import accurate, larger, resized, start_map
from wsolrefine.localization.inputs import in_batches, preprocessed
from wsolrefine.localization.masks import (
    Parts,
    check_parts,
    check_threshold,
    enlarge,
    objects_of,
)
from wsolrefine.localization.methods import CAM_ALONE, DEFAULT, METHODS, method_of, refined
from wsolrefine.localization.result import Localization
from wsolrefine.models import Classifier, preprocess_of

if TYPE_CHECKING:
    from PIL.Image import Image


class Localizer(nn.Module):
    """A model and a refinement: images to classes, heatmaps, masks and boxes.

    The model runs in evaluation mode and is left as it was. It runs once, or with ``accurate`` once
    more for each class, see :func:`wsolrefine.localization.accurate`. Gradients are computed where
    they are needed: ``balanced`` and ``accurate`` go back to the last layer of the features, and
    Grad-CAM, which is taken unless a linear head averages features, to its own layer. Layers are
    found once for each size of images.

    A localizer is a module: ``to(device)`` moves the model, pickle and ``torch.save`` take it with
    its layers, and it works under ``inference_mode`` and autocast.

    Several threads may use one localizer, or localizers of one model, at the same time, and each
    gets what it would get alone; the model is back in its own mode when the last one is done. Do
    not train or change the model meanwhile, and lock it if it changes itself when it runs. A model
    must run its layers in the thread that calls it: a ``DataParallel`` of several devices is
    refused, pass its ``.module``.

    Args:
        model: a classifier, images ``(B, 3, H, W)`` to logits ``(B, num_classes)``: any module, or
            a :class:`wsolrefine.Classifier`, which brings preprocessing and names of classes.
        refine: name of a method (``fast``, ``balanced``, ``accurate``, or ``scg``, ``sem``,
            ``gppl``, ``confseg``, ``conv_crf``, ``cam``), the function of that name, or a function
            of your own, ``(cam, features, images) -> maps``: CAM ``(B, K, h, w)`` in [0, 1],
            features, a list of ``(B, C, h, w)`` from fine to coarse, the images as the model gets
            them; maps ``(B, K, h, w)`` in [0, 1] on any grid.
        threshold: value of a map in [0, 1) above which a pixel belongs to the object; None: that of
            the method (0.5 for a function of your own).
        parts: what one object is: ``"largest"``, the largest component of a mask; ``"all"``, the
            whole mask; ``"instances"``, each of several objects of a class, told apart by
            :func:`wsolrefine.instance_labels`, see ``instances`` of
            :class:`wsolrefine.Localization`.
        layers: what :func:`wsolrefine.find_layers` returns, which is used unchecked; or names of
            the layers to take features from, from fine to coarse, which are checked once for each
            size of images, while the CAM's layer is found; None finds all.
        to_map: lays a layer's output out as ``(B, C, h, w)``, see :func:`wsolrefine.find_layers`.
        preprocess: a PIL image to ``(3, H, W)``, for images that are not tensors. It must not crop:
            boxes are scaled back to the whole image. None: the classifier's, or what a model of
            timm says of itself.
        class_names: a name for each class; None: the classifier's.
        logits: how to read the model's output, see :func:`wsolrefine.find_layers`; None: as the
            classifier says, or the only tensor that can be logits.
        call: how the model is called, ``(model, images) -> output``; None: as the classifier says,
            or ``model(images)``.

    Raises:
        TypeError: ``model`` is no module or classifier, or is a localizer already, ``refine`` is
            neither a name nor a function, ``layers`` are no names, ``threshold`` is no number, or
            ``logits`` or ``call`` is of another kind.
        ValueError: there is no method of that name, or ``threshold`` or ``parts`` is out of range.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.AdaptiveAvgPool2d(1),
        ...                       nn.Flatten(), nn.Linear(8, 10))
        >>> localizer = Localizer(model)
        >>> found = localizer(torch.rand(2, 3, 32, 32), top=3)
        >>> found.labels.shape, found.masks.shape, found.boxes.shape
        (torch.Size([2, 3]), torch.Size([2, 3, 32, 32]), torch.Size([2, 3, 4]))

    """

    regions = True
    """Whether maps show objects; False for the edges of :class:`wsolrefine.recipes.SemEdges`, which
    have no boxes."""

    num_classes: int | None = None
    """Number of class scores, known after the first images."""

    def __init__(
        self,
        model: nn.Module | Classifier,
        *,
        refine: str | Callable[..., Tensor] = DEFAULT,
        threshold: float | None = None,
        parts: Parts = "largest",
        layers: Layers | Sequence[str] | None = None,
        to_map: Callable[[Tensor], Tensor] | None = None,
        preprocess: Callable[[Image], Tensor] | None = None,
        class_names: list[str] | None = None,
        logits: Logits | None = None,
        call: Call | None = None,
    ) -> None:
        super().__init__()
        if isinstance(model, Classifier):
            preprocess = model.preprocess if preprocess is None else preprocess
            logits = model.logits if logits is None else logits
            call = model.call if call is None else call
            class_names = model.class_names if class_names is None else class_names
            self.name, self.model = model.name, model.model
        elif isinstance(model, nn.Module) and not isinstance(model, Localizer):
            self.name, self.model = type(model).__name__, model
            preprocess = preprocess_of(model) if preprocess is None else preprocess
        else:
            kind = kind_of(model)
            kind += ", which is a localizer already" if isinstance(model, Localizer) else ""
            raise TypeError(f"model: expected an nn.Module or a Classifier, got {kind}")
        self.method, chosen = method_of(refine)
        self.refine, self._again = chosen.refine, chosen.again
        self._finer: dict[str, Any] = {"layer_cams": chosen.layer_cams, "bagcams": chosen.bagcams}
        self.threshold = chosen.threshold if threshold is None else threshold
        check_threshold(self.threshold)
        self.parts: Parts = check_parts(parts)
        for argument, function in (("to_map", to_map), ("preprocess", preprocess)):
            check_function(argument, function)
        check_logits(logits)
        check_call(call)
        if class_names is not None:
            class_names = check_texts("class_names", class_names)
        self.to_map, self.preprocess, self.class_names = to_map, preprocess, class_names
        self.logits, self.call = logits, call
        if layers is not None and not isinstance(layers, Layers):
            layers = check_names(self.model, layers)
        self._given = layers
        self._found: dict[tuple[int, ...], Layers] = {}
        self._taken: dict[tuple[int, ...], bool] = {}

    @overload
    def forward(
        self, images: Tensor | Image, labels: Labels | None = None, top: int = 1,
        *, size: tuple[int, int] | None = None,
    ) -> Localization: ...  # fmt: skip
    @overload
    def forward(
        self, images: Sequence[Image], labels: Labels | None = None, top: int = 1,
        *, size: tuple[int, int] | None = None,
    ) -> list[Localization]: ...  # fmt: skip

    def forward(
        self,
        images: Tensor | Image | Sequence[Image],
        labels: Labels | None = None,
        top: int = 1,
        *,
        size: tuple[int, int] | None = None,
    ) -> Localization | list[Localization]:
        """Localize the objects of some classes in each image.

        Args:
            images: ``(B, 3, H, W)`` as the model wants them, on its device; or one PIL image, or a
                list of them, of any size, which are preprocessed first. A PIL image is taken in the
                orientation that it has; :meth:`open` turns a file upright.
            labels: classes to map, int64, ``(B,)`` or ``(B, K)``; or one class for all images; None
                takes the most probable ones. Images may have different numbers of classes, as
                lists ``[[3, 7], [5], []]``, filled up with -1, or multi-hot, see
                :func:`wsolrefine.class_activation`.
            top: number of classes an image when ``labels`` is None.
            size: (height, width) of maps and masks, in whose pixels boxes are given; None: that of
                the images. PIL images: their own, whatever the preprocessing made of them.

        Returns:
            A :class:`Localization` of the batch; for a list of PIL images, one for each.

        Raises:
            TypeError: ``images`` or ``labels`` are of another kind or dtype.
            ValueError: shapes or devices disagree, a label, ``top`` or ``size`` is out of range,
                both labels and ``top`` are given, no layer with a grid leads to the logits, there
                are more or fewer ``class_names`` than class scores, or PIL images come without
                preprocessing.

        """
        size = None if size is None else check_size("size", size)
        if isinstance(images, Tensor):
            check_tensors(images=(images, "B 3 H W"))
            check_values(images=images)
            found = self.class_maps(images, labels, top)
            return self._located(found, size or (images.shape[-2], images.shape[-1]), images)
        if isinstance(images, Sequence) and not isinstance(images, (str, bytes)):
            return self._each(images, labels, top, size)
        return self._each([images], labels, top, size)[0]

    def open(
        self,
        path: str | PathLike[str],
        labels: Labels | None = None,
        top: int = 1,
        *,
        size: tuple[int, int] | None = None,
        policy: ImagePolicy = UPRIGHT,
    ) -> Localization:
        """Read an image file and localize in it; boxes are in pixels of the image as it was read.

        Args:
            path: the file.
            labels: see :meth:`forward`.
            top: see :meth:`forward`.
            size: see :meth:`forward`.
            policy: how the file becomes pixels, see :class:`wsolrefine.data.ImagePolicy`. By
                default upright, so that boxes fit what a viewer shows.

        Raises:
            OSError: there is no such file, or it may not be read.
            ValueError: it holds no image, or see :meth:`forward`.

        """
        found: Localization = self(read_image(path, policy), labels, top, size=size)
        return found

    def class_maps(self, images: Tensor, labels: Labels | None = None, top: int = 1) -> ClassMaps:
        """Return class scores and refined maps on their own grid, without masks and boxes.

        Args:
            images: ``(B, 3, H, W)``.
            labels: see :meth:`forward`.
            top: see :meth:`forward`.

        Returns:
            Logits ``(B, num_classes)``, labels ``(B, K)`` and maps in [0, 1], ``(B, K, h, w)``.

        """
        logits, labels, maps = self._see(images, labels, top)
        self.num_classes = logits.shape[1]
        if self._again and len(images):
            crop = not self._takes_larger(images)
            each = [
                accurate(
                    maps[:, k], images, partial(self._see_class, labels[:, k : k + 1]), crop=crop
                )
                for k in range(labels.shape[1])
            ]
            maps = torch.stack(each, 1)
        return ClassMaps(logits, labels, maps)

    def _see(self, images: Tensor, labels: Labels | None, top: int) -> ClassMaps:
        """Run the model once and refine."""
        layers = self._layers(images)
        found = class_activation(
            self.model,
            images,
            labels=labels,
            top=top,
            layers=layers,
            **self._finer_of(layers),
            **self._reading(),
        )
        self._check_names(found.logits)
        cam = found.cam
        finer = [*found.layer_cams, *found.bagcams]
        if finer:
            cam = start_map(cam, finer, largest_grid(found.features))
        maps = refined(self.refine, cam, found.features, images)
        return ClassMaps(found.logits, found.labels, zero_where_none(maps, found.labels))

    @property
    def needs_gradients(self) -> bool:
        """Whether the method starts from LayerCAMs or BagCAMs, which take backward passes."""
        return any(self._finer.values())

    def _finer_of(self, layers: Layers) -> dict[str, Any]:
        """Return how many LayerCAMs and BagCAMs to take, of layers that may be fewer."""
        return {name: min(count, len(layers.features)) for name, count in self._finer.items()}

    def _see_class(self, labels: Tensor, images: Tensor) -> Tensor:
        """Return the map ``(B, h, w)`` of one class ``(B, 1)`` for each image."""
        return self._see(images, labels, 1).maps[:, 0]

    def _takes_larger(self, images: Tensor) -> bool:
        """Return whether the model takes larger images too, tried once for each size."""
        size = larger((images.shape[-2], images.shape[-1]))
        key = (images.shape[1], *size)
        if key not in self._taken:
            given = self._given.features if isinstance(self._given, Layers) else self._given
            try:
                found = find_layers(
                    self.model, resized(images[:1], size), layers=given, **self._reading()
                )
            except (TypeError, ValueError) as error:  # what it raises if the model raises
                if isinstance(error.__cause__, torch.cuda.OutOfMemoryError):
                    raise  # the size may well be taken when there is more memory
                self._taken[key] = False
            else:
                self._taken[key] = True
                self._found.setdefault(key, found)
        return self._taken[key]

    def _layers(self, images: Tensor) -> Layers:
        """Return the layers for images of this size, found when they are first needed."""
        given = self._given
        if isinstance(given, Layers):
            return given
        size = tuple(images.shape[1:])
        if size not in self._found:
            self._found[size] = find_layers(self.model, images, layers=given, **self._reading())
        return self._found[size]

    def _reading(self) -> dict[str, Any]:
        """Return how the model is called and its outputs are read."""
        return {"to_map": self.to_map, "logits": self.logits, "call": self.call}

    def _check_names(self, logits: Tensor) -> None:
        """Raise unless there are as many names of classes as class scores."""
        names, number = self.class_names, logits.shape[1]
        if names is not None and len(names) != number:
            raise ValueError(
                f"class_names: expected {number} as the model has class scores, got {len(names)}"
            )

    def prepare_image(self, image: Image) -> Tensor:
        """Return a PIL image as ``(3, H, W)``, preprocessed for the model.

        Raises:
            ValueError: there is no preprocessing, or it returns something else.

        """
        return preprocessed(image, self.preprocess)

    def prepare_batch(self, pixels: Sequence[Tensor]) -> Tensor:
        """Return preprocessed images as a batch, on the model's device and in its precision."""
        images = torch.stack(list(pixels)).to(self.device)
        dtypes = (p.dtype for p in self.parameters() if p.is_floating_point())
        return images.to(next(dtypes, images.dtype)) if images.is_floating_point() else images

    @property
    def title(self) -> str:
        """What makes the maps, for reports; with the layers that are used, once they are found."""
        if any(self.refine is METHODS[name].refine for name in CAM_ALONE):
            return f"{self.name}, {self.method}"
        found = (
            self._given
            if isinstance(self._given, Layers)
            else next(iter(self._found.values()), None)
        )
        layers = f" on {', '.join(found.features)}" if found else ""
        return f"{self.name}, {self.method}{layers}"

    def extra_repr(self) -> str:
        """Return the choices, for ``repr``."""
        return f"{self.method}, threshold={self.threshold}, parts={self.parts!r}"

    @property
    def device(self) -> torch.device:
        """The device of the model's first parameter; the CPU if it has none."""
        parameter = next(self.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    def _each(
        self, images: Sequence[Image], labels: Labels | None, top: int, size: Any
    ) -> list[Localization]:
        """Localize in PIL images, each at its own size."""
        found = []
        for batch in in_batches(images, labels, self.prepare_image, self.device):
            maps = self.class_maps(self.prepare_batch(batch.pixels), batch.labels, top)
            check_columns(batch.columns, maps.logits.shape[1])
            for i, image in enumerate(batch.images):
                # Copies, so that keeping or pickling one result does not keep the batch.
                one = ClassMaps(*(part[i : i + 1].clone() for part in maps))
                found.append(self._located(one, size or (image.height, image.width), image))
        return found

    def _located(self, found: ClassMaps, size: tuple[int, int], images: Any) -> Localization:
        logits, labels, coarse = found
        self._check_names(logits)
        parts: Parts = self.parts if self.regions else "all"
        check_threshold(self.threshold)  # both may have been assigned
        check_parts(parts)
        objects = objects_of(coarse, size, self.threshold, parts)
        boxes = union_box(objects > 0)
        scores = gathered(probabilities(working(logits)), labels).to(coarse.dtype)
        return Localization(
            labels=labels,
            scores=zero_where_none(scores, labels),
            maps=enlarge(coarse, size),
            masks=objects > 0,
            boxes=boxes if self.regions else torch.zeros_like(boxes),
            coarse=coarse,
            logits=logits,
            threshold=self.threshold,
            parts=parts,
            method=self.method,
            regions=self.regions,
            class_names=self.class_names,
            images=images,
            objects=objects if parts == "instances" else None,
        )


def localize(
    model: nn.Module | Classifier,
    images: Tensor | Image,
    labels: Labels | None = None,
    *,
    top: int = 1,
    size: tuple[int, int] | None = None,
    **options: Any,
) -> Localization:
    """Localize objects with a classifier, in one call. For many batches make a :class:`Localizer`.

    Args:
        model: a classifier, any module or a :class:`wsolrefine.Classifier`.
        images: ``(B, 3, H, W)``, or one PIL image, see :class:`Localizer`.
        labels: classes to map, int64, ``(B,)`` or ``(B, K)``, or one class, or as many as each
            image has, see :func:`wsolrefine.class_activation`; None takes the ``top``.
        top: number of classes an image when ``labels`` is None.
        size: (height, width) of maps and masks, see :class:`Localizer`; None: the images'.
        **options: of :class:`Localizer`, such as ``refine="sem"`` or ``threshold=0.4``.

    Returns:
        A :class:`Localization`.

    Raises:
        TypeError: an argument is of another kind or dtype.
        ValueError: see :class:`Localizer`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.AdaptiveAvgPool2d(1),
        ...                       nn.Flatten(), nn.Linear(8, 10))
        >>> found = localize(model, torch.rand(2, 3, 32, 32))
        >>> found.boxes.shape
        torch.Size([2, 1, 4])

    """
    found: Localization = Localizer(model, **options)(images, labels, top, size=size)
    return found
