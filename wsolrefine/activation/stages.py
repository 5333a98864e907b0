"""The stages of a network: what runs on one grid, and the layer that ends it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

from torch import nn

from wsolrefine.activation.probe import Map


class Stages:
    """The grids of a network, with the outermost layer that runs last on each.

    Args:
        model: the network.
        maps: outputs that are maps of the image, in running order.
        grids: of all outputs with a grid, in running order, also of those that are no maps.

    """

    def __init__(
        self, model: nn.Module, maps: Iterable[Map], grids: Mapping[str, tuple[int, int]]
    ) -> None:
        maps = list(maps)
        # Pooling or padding alone makes no stage: some layer with weights has an output on it.
        sizes = {one.size for one in maps if one.weighted}
        self.maps = [one for one in maps if one.size in sizes]
        self._named = {one.name for one in self.maps}
        passed_over = {one.name for one in maps} - self._named
        self._grids = {name: grid for name, grid in grids.items() if name not in passed_over}
        self._modules = dict(model.named_modules())
        # Keys and values that attention pools, inside a block on a finer grid, are no stage.
        outermost = [one for one in self.maps if self.depth(one) == 0] or self.maps
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
        return sum(self._grids[around] == one.size for around in self._around(one.name))

    def _around(self, name: str) -> list[str]:
        """Return the modules around a layer that return a grid, from outside to inside."""
        # A list of modules without an output, like ``blocks`` of ``blocks.3``, does not count.
        parts = name.split(".")
        names = [".".join(parts[:end]) for end in range(1, len(parts))]
        return [name for name in names if name in self._grids]

    def _is_inside_finer(self, one: Map) -> bool:
        around = [name for name in self._around(one.name) if name in self._named]
        return any(prod(self._grids[name]) > prod(one.size) for name in around)

    def _begins_a_block(self, one: Map) -> bool:
        """Return whether a module around the layer leads from its grid to the next coarser one."""
        return any(self._leads_on(around, one.size) for around in self._around(one.name))

    def _leads_on(self, around: str, size: tuple[int, int]) -> bool:
        inside = self._inside(around, size)
        others = {grid for grid in inside.values() if grid != size} | {self._grids[around]}
        if len(others) > 1 or self._grids[around] == size:
            return False  # it holds several stages
        # A stage that ends with its downsampling: most of it runs before, blocks among it.
        before = [grid == size for name, grid in inside.items() if self._is_leaf(name)]
        fine = [name for name, grid in inside.items() if grid == size]
        at_its_end = before == sorted(before, reverse=True) and 2 * sum(before) > len(before)
        is_stage = at_its_end and any(self._is_block(name) for name in fine)
        return not (is_stage and self._keeps_channels(around, size))

    def _inside(self, around: str, size: tuple[int, int]) -> dict[str, tuple[int, int]]:
        """Return the grids inside a module, but for those that are no steps from its grid on.

        Queries for a whole stage are made on coarser grids than the stage itself ends on, and a
        table for each pair of tokens has as many cells a side as there are tokens.
        """
        end = prod(self._grids[around])
        return {
            name: grid
            for name, grid in self._grids.items()
            if name.startswith(f"{around}.")
            and not prod(grid) < end < prod(size)
            and (name in self._named or prod(grid) <= prod(size))
        }

    def _keeps_channels(self, around: str, size: tuple[int, int]) -> bool:
        """Return whether the last layer on a grid in a module has the channels of what it read.

        The blocks of a stage have; the layers in front of a block's strided one change them.
        """
        before, last = None, None
        for one in self.maps:
            if one.size == size and self._around(one.name)[-1:] == [around]:
                last = one.channels
            elif one.size == size and last is None and not one.name.startswith(f"{around}."):
                before = one.channels
        return before is None or last is None or last == before

    def _is_leaf(self, name: str) -> bool:
        return next(self._modules[name].children(), None) is None

    def _is_block(self, name: str) -> bool:
        """Return whether a module holds at least two layers with weights."""
        module = self._modules[name]
        inside = [
            part for part in module.modules() if next(part.parameters(False), None) is not None
        ]
        return len([part for part in inside if part is not module]) > 1
