"""The stages of a network: what runs on one grid, and the layer that ends it."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from torch import nn

from wsolrefine.activation.probe import Map


class Stages:
    """The grids of a network, with the outermost layer that runs last on each.

    Args:
        model: the network.
        maps: outputs that are maps of the image, in running order.

    """

    def __init__(self, model: nn.Module, maps: Iterable[Map]) -> None:
        maps = list(maps)
        # Pooling or padding alone makes no stage: some layer with weights has an output on it.
        sizes = {one.size for one in maps if one.weighted}
        self.maps = [one for one in maps if one.size in sizes]
        self._named = {one.name: one for one in self.maps}
        self._modules = dict(model.named_modules())
        # Keys and values that attention pools, inside a block on a finer grid, are no stage.
        outermost = [one for one in self.maps if self.depth(one) == 0]
        outermost = [one for one in outermost if not self._is_inside_finer(one)] or outermost
        # The first layers of a block may still run on the grid of the stage before, as an
        # expansion before a strided convolution does: they belong to the next stage.
        ends = [one for one in outermost if not self._begins_a_block(one)]
        self._ends = {one.size: one for one in (*outermost, *ends)}
        self.sizes = sorted(self._ends, key=prod)
        """From the coarsest grid to the finest."""

    @property
    def last(self) -> Map:
        """The end of the stage that runs last, whatever the size of its grid."""
        return self.end(next(one.size for one in reversed(self.maps) if one.size in self._ends))

    def end(self, size: tuple[int, int]) -> Map:
        """Return the outermost layer on a grid, the last one if there are several."""
        return self._ends[size]

    def depth(self, one: Map) -> int:
        """Return how many of the modules around a layer have their outputs on its grid."""
        return sum(other.size == one.size for other in self._around(one.name))

    def _around(self, name: str) -> list[Map]:
        """Return the modules around a layer that have an output, from outside to inside."""
        # A list of modules without an output, like ``blocks`` of ``blocks.3``, does not count.
        parts = name.split(".")
        names = [".".join(parts[:end]) for end in range(1, len(parts))]
        return [self._named[name] for name in names if name in self._named]

    def _is_inside_finer(self, one: Map) -> bool:
        return any(prod(other.size) > prod(one.size) for other in self._around(one.name))

    def _begins_a_block(self, one: Map) -> bool:
        """Return whether a module around the layer leads from its grid to the next coarser one."""
        return any(self._leads_on(other, one.size) for other in self._around(one.name))

    def _leads_on(self, around: Map, size: tuple[int, int]) -> bool:
        inside = [other for other in self.maps if other.name.startswith(f"{around.name}.")]
        others = {other.size for other in inside if other.size != size} | {around.size}
        if len(others) > 1 or around.size == size:
            return False  # it holds several stages
        # A stage that ends with its downsampling: most of it runs before, blocks among it.
        leaves = [other for other in inside if self._is_leaf(other.name)]
        before = [other.size == size for other in leaves]
        fine = [other for other in inside if other.size == size]
        at_its_end = before == sorted(before, reverse=True) and 2 * sum(before) > len(before)
        return not (at_its_end and any(self._is_block(other.name) for other in fine))

    def _is_leaf(self, name: str) -> bool:
        return next(self._modules[name].children(), None) is None

    def _is_block(self, name: str) -> bool:
        """Return whether a module holds at least two layers with weights."""
        module = self._modules[name]
        inside = [
            part for part in module.modules() if next(part.parameters(False), None) is not None
        ]
        return len([part for part in inside if part is not module]) > 1
