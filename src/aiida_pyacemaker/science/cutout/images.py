"""Periodic images around some atoms of a frame, unwrapped, and the bonds among them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy.spatial import cKDTree

BOND_FACTOR = (
    1.3  # a bond is shorter than this times the covalent sum: between the first two peaks of tetrahedral solids
)


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


def images_near(atoms: Atoms, centre: int, offsets: NDArray[np.float64], *, radius: float) -> Images:
    """Return every image of every atom within ``radius`` (Å) of any of the points ``centre + offsets``.

    offsets: (m, 3) Å relative to the atom ``centre``. Rows are ordered by distance from the centre, ties by parent.
    """
    cell, periodic = np.asarray(atoms.cell), np.asarray(atoms.pbc)
    reach = radius + float(np.linalg.norm(offsets, axis=1).max())
    relative = atoms.positions - atoms.positions[centre]
    ranges = [range(1)] * 3
    if periodic.any():
        full = np.asarray(atoms.cell.complete())
        inverse = np.linalg.inv(full)
        relative = relative - np.where(periodic, np.round(relative @ inverse), 0.0) @ full
        heights = 1.0 / np.linalg.norm(inverse, axis=0)
        counts = [
            int(np.ceil(reach / height + 0.5)) if flag else 0 for height, flag in zip(heights, periodic, strict=True)
        ]
        ranges = [range(-count, count + 1) for count in counts]
    tree = cKDTree(offsets)
    parents, positions = [], []
    for shift in product(*ranges):
        moved = relative + np.asarray(shift, dtype=float) @ cell
        near = np.flatnonzero(np.einsum('ij,ij->i', moved, moved) <= (reach + 1e-9) ** 2)
        near = near[tree.query(moved[near])[0] <= radius + 1e-9] if len(near) else near
        parents.append(near)
        positions.append(moved[near])
    rows, points = np.concatenate(parents), np.concatenate(positions)
    order = np.lexsort((rows, np.round(np.linalg.norm(points, axis=1), 9)))
    return Images(parents=rows[order], numbers=atoms.numbers[rows[order]].astype(np.int64), positions=points[order])


def bonded_neighbours(images: Images) -> tuple[NDArray[np.int64], ...]:
    """Return for each row the rows it is bonded to: closer than ``BOND_FACTOR`` times the covalent sum."""
    radii = covalent_radii[images.numbers]
    pairs = cKDTree(images.positions).query_pairs(2 * BOND_FACTOR * float(radii.max()), output_type='ndarray')
    lengths = np.linalg.norm(images.positions[pairs[:, 0]] - images.positions[pairs[:, 1]], axis=1)
    pairs = pairs[lengths < BOND_FACTOR * radii[pairs].sum(axis=1)]
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    starts = np.searchsorted(both[:, 0], np.arange(len(images) + 1))
    return tuple(both[starts[row] : starts[row + 1], 1].astype(np.int64) for row in range(len(images)))


def smallest_distance_ratio(atoms: Atoms) -> float:
    """Return the smallest distance over covalent sum of any pair of a non-periodic structure (inf for one atom)."""
    radii = covalent_radii[atoms.numbers]
    rows, columns = np.triu_indices(len(atoms), 1)
    if len(rows) == 0:
        return float('inf')
    lengths = np.linalg.norm(atoms.positions[rows] - atoms.positions[columns], axis=1)
    return float(np.min(lengths / (radii[rows] + radii[columns])))
