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

    The list holds atoms and lattice vectors, so it outlives a change of the cell. A pair that is not in it was more
    than cutoff + skin apart; since then the box has turned that into at least σ (cutoff + skin), σ the smallest
    singular value of the strain, and the two atoms have moved by at most 2u, u the largest displacement that is not the
    box's. The list is rebuilt when σ (cutoff + skin) - 2u < cutoff. This depends on positions and cell alone: the same
    trajectory gives the same pairs in the same order, bit for bit. Lengths in Å.
    """

    def __init__(self, cutoff: float, skin: float = 1.0) -> None:
        self.cutoff = cutoff
        self.skin = skin
        self.n_builds = 0
        self._fractions: Floats | None = None
        self._cell = np.zeros((3, 3))
        self._pairs: tuple[Integers, Integers, Integers] = (np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3), int))

    def pairs(self, positions: Floats, cell: Floats, pbc: NDArray[np.bool_]) -> Pairs:
        """Return the pairs; positions: (n, 3) Å, wrapped in any way; cell: (3, 3) Å rows; pbc: (3,)."""
        if self._fractions is not None and not pbc.all():  # a free side is as long as its atoms need: no strain
            cell = np.where(pbc[:, None], cell, self._cell)
        unwrapped = self._unwrap(positions, cell, pbc)
        if unwrapped is None:
            unwrapped = np.array(positions, dtype=float)
            self._build(unwrapped, np.array(cell, dtype=float), pbc)
        first, second, images = self._pairs
        vectors = unwrapped[second] - unwrapped[first] + images @ cell
        near = np.einsum('ij,ij->i', vectors, vectors) < self.cutoff**2
        return Pairs(first=first[near], second=second[near], vectors=vectors[near])

    def _unwrap(self, positions: Floats, cell: Floats, pbc: NDArray[np.bool_]) -> Floats | None:
        """Return positions moved by lattice vectors next to those of the last build; ``None``: it is out of date."""
        if self._fractions is None or len(self._fractions) != len(positions):
            return None
        carried = self._fractions @ cell
        turns = np.round((positions - carried) @ np.linalg.inv(cell))
        turns[:, ~pbc] = 0.0
        unwrapped = positions - turns @ cell
        moved = unwrapped - carried
        largest = np.sqrt(np.einsum('ij,ij->i', moved, moved).max(initial=0.0))
        strained = np.linalg.svd(np.linalg.solve(self._cell, cell), compute_uv=False)[-1]
        if not strained * (self.cutoff + self.skin) - 2 * largest >= self.cutoff:
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
        self._pairs = (first[order].astype(np.int64), second[order].astype(np.int64), images[order].astype(np.int64))
        self._fractions, self._cell = positions @ np.linalg.inv(cell), cell
        self.n_builds += 1
