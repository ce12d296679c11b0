"""Random structures: a composition put into a random cell, no two atoms too close."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import minkowski_reduce
from numpy.random import Generator

from ..images import ShortestVectors

VOLUME_RANGE = (0.9, 1.4)  # of the parent's volume per atom
MAX_SHEAR = 0.3  # off-diagonal parts of the cell before it is scaled to its volume
MAX_ATTEMPTS, ATTEMPTS_AT_ONCE = 100, 10  # to place one atom
MAX_CELLS = 10  # per structure


def make_random(atoms: Atoms, *, count: int, min_distance_fraction: float, rng: Generator) -> list[Atoms]:
    """Return up to ``count`` structures with the atoms of ``atoms`` at random places in random cells.

    Volumes are uniform in ``VOLUME_RANGE`` of the parent's, and no pair is closer than ``min_distance_fraction`` of
    the sum of its covalent radii. A structure for which ``MAX_CELLS`` cells in a row have no room is left out.
    """
    packed = (_pack(atoms, min_distance_fraction, rng) for _ in range(count))
    return [structure for structure in packed if structure is not None]


def _pack(atoms: Atoms, fraction: float, rng: Generator) -> Atoms | None:
    for _ in range(MAX_CELLS):
        shape = np.eye(3) + rng.uniform(-MAX_SHEAR, MAX_SHEAR, size=(3, 3))
        volume = atoms.get_volume() * rng.uniform(*VOLUME_RANGE)
        cell, _ = minkowski_reduce(shape * (volume / abs(np.linalg.det(shape))) ** (1 / 3))
        numbers = rng.permutation(atoms.numbers)
        placed, shortest = Atoms(cell=cell, pbc=True), ShortestVectors(cell, True)
        while len(placed) < len(numbers) and _place(placed, int(numbers[len(placed)]), fraction, shortest, rng):
            pass
        if len(placed) == len(numbers):
            return placed
    return None


def _place(atoms: Atoms, number: int, fraction: float, shortest: ShortestVectors, rng: Generator) -> bool:
    """Add one atom in place where it is far enough from all others; return whether there was room."""
    limits = fraction * (covalent_radii[atoms.numbers] + covalent_radii[number])
    for _ in range(MAX_ATTEMPTS // ATTEMPTS_AT_ONCE):
        positions = rng.random((ATTEMPTS_AT_ONCE, 3)) @ atoms.cell.array
        free = (shortest.lengths(atoms.positions[None] - positions[:, None]) > limits).all(axis=1)
        if free.any():
            atoms += Atoms([number], positions=[positions[free.argmax()]])
            return True
    return False
