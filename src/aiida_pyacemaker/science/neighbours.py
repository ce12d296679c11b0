"""Neighbour pairs: of one structure, and of moving atoms, kept with a skin and rebuilt by a rule on positions alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase.geometry import complete_cell
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray

from .neighbour_kernels import near_pairs

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """
    All ordered pairs closer than the cut-off, in compressed rows.

    starts: (n + 1,) rows of the atoms; second: (n_pairs,) the other atom; vectors: (n_pairs, 3) Å from the atom to (an
    image of) the other.
    """

    starts: Integers
    second: Integers
    vectors: Floats

    @cached_property
    def first(self) -> Integers:
        """The atom of every pair, (n_pairs,)."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


def box_around(positions: Floats, cell: Floats, pbc: Flags) -> tuple[Floats, Floats]:
    """Return cell (3, 3) Å and origin (3,) Å in which a side without length holds all atoms."""
    cell, origin = np.array(cell, dtype=float), np.zeros(3)
    flat = np.flatnonzero(~pbc & (np.linalg.norm(cell, axis=1) < 1e-8))
    if len(flat):
        cell = np.array(complete_cell(cell))
        for axis in flat:
            along = positions @ cell[axis]
            origin += along.min(initial=0.0) * cell[axis]
            cell[axis] *= np.ptp(np.append(along, 0.0)) + 1.0
    return cell, origin


def _listed(what: str, positions: Floats, box: tuple[Floats, Floats], pbc: Flags, cutoff: float) -> tuple[Any, ...]:
    """Return the quantities of all pairs below ``cutoff``, sorted by the first atom."""
    return tuple(
        neighbour_list(
            what,
            positions=positions,
            cell=box[0],
            pbc=pbc,
            cell_origin=box[1],
            numbers=np.ones(len(positions), np.int32),
            cutoff=cutoff,
        )
    )


def pairs_of(positions: Floats, cell: Floats, pbc: Flags, cutoff: float) -> Pairs:
    """Return the pairs of one structure; positions: (n, 3) Å; cell: (3, 3) Å rows; pbc: (3,)."""
    first, second, vectors = _listed('ijD', positions, box_around(positions, cell, pbc), pbc, cutoff)
    counts = np.bincount(first, minlength=len(positions))
    return Pairs(starts=np.concatenate([[0], np.cumsum(counts)]), second=second.astype(np.int64), vectors=vectors)


def _row_order(first: Integers, second: Integers, images: Integers, count: int) -> Integers:
    """Return the order by first, second, image, however the list was found; one key sorts faster than five."""
    key = first.astype(np.int64) * count + second
    for axis in images.T.astype(np.int64):
        key = key * (np.ptp(axis) + 1 if len(axis) else 1) + axis - axis.min(initial=0)
    return np.argsort(key)


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
        self._cell, self._pbc = np.zeros((3, 3)), np.zeros(3, bool)
        self._pairs: tuple[Integers, Integers, Floats] = (np.zeros(1, int), np.zeros(0, int), np.zeros((0, 3)))
        self._shifts: tuple[Floats, Floats] = (np.zeros((3, 3)), np.zeros((0, 3)))

    def pairs(self, positions: Floats, cell: Floats, pbc: Flags) -> Pairs:
        """Return the pairs; positions: (n, 3) Å, wrapped in any way; cell: (3, 3) Å rows; pbc: (3,)."""
        held = np.where(pbc[:, None], cell, self._cell)  # a free side is as long as its atoms need: no strain
        unwrapped = self._unwrap(positions, held, pbc)
        if unwrapped is None:
            unwrapped = np.array(positions, dtype=float)
            held = self._build(unwrapped, cell, pbc)
        starts, second, images = self._pairs
        if not np.array_equal(self._shifts[0], held):
            self._shifts = (held, images @ held)
        found = (np.empty_like(starts), np.empty_like(second), np.empty((len(second), 3)))
        count = near_pairs(starts, second, self._shifts[1], unwrapped, self.cutoff, *found)
        return Pairs(starts=found[0], second=found[1][:count], vectors=found[2][:count])

    def _unwrap(self, positions: Floats, cell: Floats, pbc: Flags) -> Floats | None:
        """Return positions moved by lattice vectors next to those of the last build; ``None``: it is out of date."""
        if self._fractions is None or len(self._fractions) != len(positions) or not np.array_equal(pbc, self._pbc):
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

    def _build(self, positions: Floats, cell: Floats, pbc: Flags) -> Floats:
        """List all pairs; returns the cell, whose sides without length got one."""
        box = box_around(positions, cell, pbc)
        first, second, images = _listed('ijS', positions, box, pbc, self.cutoff + self.skin)
        order = _row_order(first, second, images, len(positions))
        starts = np.concatenate([[0], np.cumsum(np.bincount(first, minlength=len(positions)))])
        self._pairs = (starts, second[order].astype(np.int64), images[order].astype(float))
        self._fractions, self._cell, self._pbc = positions @ np.linalg.inv(box[0]), box[0], np.array(pbc, bool)
        self._shifts = (box[0], self._pairs[2] @ box[0])
        self.n_builds += 1
        return box[0]
