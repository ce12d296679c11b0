"""Periodic images around some atoms of a frame, unwrapped, and the bonds among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray
from scipy.spatial import cKDTree

BOND_FACTOR = (
    1.3  # a bond is shorter than this times the covalent sum: between the first two peaks of tetrahedral solids
)
VACUUM_GAP = 6.0  # Å: no contact between molecules or layers is that wide


@dataclass(frozen=True, kw_only=True)
class Images:
    """Atoms near a centre, every periodic image its own row; row 0 is the centre.

    parents: (n,) row of the atom in the frame; numbers: (n,); positions: (n, 3) Å relative to the centre, unwrapped.
    """

    parents: NDArray[np.int64]
    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.parents)


@dataclass(frozen=True, kw_only=True)
class FrameIndex:
    """A frame and the search tree of its wrapped atoms: built once, then a cutout costs what is near its epicentre.

    wrapped: (n, 3) Å, the atoms in the cell along periodic directions; cell: (3, 3) Å, missing vectors completed.
    """

    atoms: Atoms
    cell: NDArray[np.float64]
    wrapped: NDArray[np.float64]
    tree: cKDTree

    @cached_property
    def elements(self) -> list[int]:
        """The atomic numbers that occur."""
        return [int(number) for number in np.unique(self.atoms.numbers)]

    @cached_property
    def vacuum(self) -> NDArray[np.bool_]:
        """(3,) which directions end: not periodic, or with an empty layer of ``VACUUM_GAP`` between the images."""
        inverse = np.linalg.inv(self.cell)
        heights = 1.0 / np.linalg.norm(inverse, axis=0)
        ends = ~np.asarray(self.atoms.pbc)
        for axis in np.flatnonzero(~ends):
            places = np.sort(self.wrapped @ inverse[:, axis])
            gaps = np.diff(places, append=places[0] + 1.0)
            ends[axis] = gaps.max() * heights[axis] >= VACUUM_GAP
        return ends

    @cached_property
    def slab(self) -> FrameIndex:
        """The frame without periodicity along its only open direction, nothing of it across the border."""
        axis = int(np.flatnonzero(self.vacuum)[0])
        inverse = np.linalg.inv(self.cell)
        atoms = self.atoms.copy()
        if atoms.pbc[axis]:
            places = np.sort(self.wrapped @ inverse[:, axis])
            gaps = np.diff(places, append=places[0] + 1.0)
            after = places[(int(gaps.argmax()) + 1) % len(places)]
            moved = np.floor(self.wrapped @ inverse[:, axis] - after + 1e-9)
            atoms.positions = self.wrapped - np.outer(moved, self.cell[axis])
            atoms.pbc[axis] = False
        return index_frame(atoms)


def index_frame(atoms: Atoms) -> FrameIndex:
    """Return the frame with its search tree; one copy of the positions in all."""
    cell = np.asarray(atoms.cell.complete(), dtype=float)
    wrapped = np.array(atoms.positions, dtype=float)
    if atoms.pbc.any():
        shifts = np.floor(np.linalg.solve(cell.T, wrapped.T).T)
        shifts[:, ~atoms.pbc] = 0.0
        wrapped -= shifts @ cell
    return FrameIndex(atoms=atoms, cell=cell, wrapped=wrapped, tree=cKDTree(wrapped))


def images_near(frame: Atoms | FrameIndex, centre: int, offsets: NDArray[np.float64], *, radius: float) -> Images:
    """Return every image of every atom within ``radius`` (Å) of any of the points ``centre + offsets``.

    offsets: (m, 3) Å relative to the atom ``centre``. Rows are ordered by distance from the centre, ties by parent.
    """
    if isinstance(frame, Atoms):
        frame = index_frame(frame)
    origin = frame.wrapped[centre]
    reach = radius + float(np.linalg.norm(offsets, axis=1).max())
    points = cKDTree(offsets)
    parents, positions = [], []
    for shift in _shifts(frame, origin, reach):
        moved = shift @ frame.cell - origin
        rows = np.array(frame.tree.query_ball_point(-moved, reach + 1e-9), dtype=np.int64)
        near = frame.wrapped[rows] + moved
        kept = points.query(near)[0] <= radius + 1e-9 if len(rows) else np.zeros(0, dtype=bool)
        parents.append(rows[kept])
        positions.append(near[kept])
    rows, places = np.concatenate(parents), np.concatenate(positions)
    order = np.lexsort((rows, np.round(np.linalg.norm(places, axis=1), 9)))
    numbers = frame.atoms.numbers[rows[order]].astype(np.int64)
    return Images(parents=rows[order], numbers=numbers, positions=places[order])


def _shifts(frame: FrameIndex, origin: NDArray[np.float64], reach: float) -> list[NDArray[np.float64]]:
    """Return the lattice shifts whose copies of the cell come within ``reach`` (Å) of ``origin``."""
    if not frame.atoms.pbc.any():
        return [np.zeros(3)]
    inverse = np.linalg.inv(frame.cell)
    place = origin @ inverse
    across = reach * np.linalg.norm(inverse, axis=0) + 1e-9
    ranges = [
        range(int(np.floor(low)), int(np.floor(high)) + 1) if periodic else range(1)
        for low, high, periodic in zip(place - across, place + across, frame.atoms.pbc, strict=True)
    ]
    return [np.asarray(shift, dtype=float) for shift in product(*ranges)]


def longest_bond(numbers: Sequence[int] | NDArray[np.int64]) -> float:
    """Return the length (Å) below which any two of these elements are bonded."""
    return 2 * BOND_FACTOR * float(covalent_radii[np.asarray(numbers)].max())


def bonded_neighbours(images: Images) -> tuple[NDArray[np.int64], ...]:
    """Return for each row the rows it is bonded to: closer than ``BOND_FACTOR`` times the covalent sum."""
    radii = covalent_radii[images.numbers]
    pairs = cKDTree(images.positions).query_pairs(longest_bond(images.numbers), output_type='ndarray')
    lengths = np.linalg.norm(images.positions[pairs[:, 0]] - images.positions[pairs[:, 1]], axis=1)
    pairs = pairs[lengths < BOND_FACTOR * radii[pairs].sum(axis=1)]
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    starts = np.searchsorted(both[:, 0], np.arange(len(images) + 1))
    return tuple(both[starts[row] : starts[row + 1], 1].astype(np.int64) for row in range(len(images)))


def smallest_distance_ratio(atoms: Atoms) -> float:
    """Return the smallest distance over covalent sum of any pair, images included (inf where none is near)."""
    radii = covalent_radii[atoms.numbers]
    first, second, lengths = neighbor_list('ijd', atoms, longest_bond(atoms.numbers))
    return float(np.min(lengths / (radii[first] + radii[second]), initial=np.inf))
