"""A maximum matching of a bipartite graph, starting from any matching."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def largest_matching(graph: Any, mate: Ints) -> Ints:
    """Return the column of each row in a maximum matching, -1 for unmatched rows.

    All unmatched rows search at once, level by level, each growing a tree of its own. Trees share
    no column, so every tree that ends at a free column gives an augmenting path: swapping the pairs
    along it gains one pair. When no such path is left, the matching is maximum (Berge). These are
    the searches of Hopcroft and Karp, SIAM J. Comput. 1973, as whole-array steps. Starting from a
    matching that is nearly maximum, such as that of the next higher threshold, costs very little.

    Args:
        graph: sparse CSR array whose entries are the possible pairs.
        mate: a matching to start from, ``(rows,)``, -1 for unmatched rows.

    """
    rows, columns = graph.shape
    starts, neighbors = graph.indptr, graph.indices
    mate = mate.copy()
    paired = np.flatnonzero(mate >= 0)
    owner = np.full(columns, -1)  # the row of each column
    owner[mate[paired]] = paired
    while True:
        parent = np.full(columns, -1)  # the row that each column was reached from
        root, end = np.full(rows, -1), np.full(rows, -1)
        front = np.flatnonzero(mate < 0)
        root[front] = front
        while len(front):
            lengths = starts[front + 1] - starts[front]
            source = np.repeat(front, lengths)
            skipped = np.repeat(starts[front] - (np.cumsum(lengths) - lengths), lengths)
            column = neighbors[np.arange(len(source)) + skipped]
            new = parent[column] < 0
            column, source = column[new], source[new]
            parent[column] = source  # one of those that reach it at this level
            column = np.unique(column)
            tree = root[parent[column]]
            free = owner[column] < 0
            end[tree[free]] = column[free]  # one of those that the tree reaches at this level
            following = owner[column[~free]]
            root[following] = tree[~free]
            front = following[end[root[following]] < 0]
        column = end[end >= 0]
        if len(column) == 0:
            return mate
        while len(column):  # swap along all paths, back to their roots
            row = parent[column]
            before = mate[row]
            mate[row], owner[column] = column, row
            column = before[before >= 0]
