"""Neighbour pairs of moving atoms, kept with a skin and rebuilt by a rule on positions alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """All ordered pairs closer than the cut-off, sorted by ``first``.

    first, second: (n_pairs,) rows of the two atoms; vectors: (n_pairs, 3) Å from the first to (an image of) the second.
    """

    first: Integers
    second: Integers
    vectors: Floats


class VerletList:
    """Pairs within ``cutoff``, looked up in a list that reaches ``skin`` further.

    The list is rebuilt when an atom has moved more than skin/2 since the last build, or the cell has changed. This
    depends on positions alone: the same trajectory gives the same pairs in the same order, bit for bit. Lengths in Å.
    """

    def __init__(self, cutoff: float, skin: float = 1.0) -> None:
        self.cutoff = cutoff
        self.skin = skin
        self.n_builds = 0
        self._reference: Floats | None = None
        self._cell = np.zeros((3, 3))
        self._pairs: tuple[Integers, Integers, Floats] = (np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3)))

    def pairs(self, positions: Floats, cell: Floats, pbc: NDArray[np.bool_]) -> Pairs:
        """Return the pairs; positions: (n, 3) Å, wrapped in any way; cell: (3, 3) Å rows; pbc: (3,)."""
        unwrapped = self._unwrap(positions, cell, pbc)
        if unwrapped is None:
            unwrapped = np.array(positions, dtype=float)
            self._build(unwrapped, np.array(cell, dtype=float), pbc)
        first, second, shifts = self._pairs
        vectors = unwrapped[second] - unwrapped[first] + shifts
        near = np.einsum('ij,ij->i', vectors, vectors) < self.cutoff**2
        return Pairs(first=first[near], second=second[near], vectors=vectors[near])

    def _unwrap(self, positions: Floats, cell: Floats, pbc: NDArray[np.bool_]) -> Floats | None:
        """Return positions moved by lattice vectors next to those of the last build; ``None``: it is out of date."""
        if self._reference is None or len(self._reference) != len(positions) or not np.array_equal(cell, self._cell):
            return None
        turns = np.round((positions - self._reference) @ np.linalg.inv(cell))
        turns[:, ~pbc] = 0.0
        unwrapped = positions - turns @ cell
        moved = unwrapped - self._reference
        if not np.einsum('ij,ij->i', moved, moved).max(initial=0.0) <= (0.5 * self.skin) ** 2:
            return None
        return np.asarray(unwrapped, dtype=float)

    def _build(self, positions: Floats, cell: Floats, pbc: NDArray[np.bool_]) -> None:
        first, second, images = neighbour_list(
            'ijS',
            positions=positions,
            cell=cell,
            pbc=pbc,
            numbers=np.ones(len(positions), np.int32),
            cutoff=self.cutoff + self.skin,
        )
        order = np.lexsort((*images.T, second, first))
        self._pairs = (first[order].astype(np.int64), second[order].astype(np.int64), images[order] @ cell)
        self._reference, self._cell = positions, cell
        self.n_builds += 1
