"""Slabs: a crystal cut along a low-index plane, with vacuum on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import spglib
from ase import Atoms
from ase.build import surface
from numpy.random import Generator

PLANES = ((1, 0, 0), (1, 1, 0), (1, 1, 1), (2, 1, 0), (2, 1, 1))
VACUUM_A = 6.0  # on each side


def make_surfaces(
    atoms: Atoms, *, count: int, max_atoms: int, amplitudes: Sequence[float], rng: Generator
) -> list[Atoms]:
    """Return ``count`` periodic slabs with vacuum: ``PLANES`` of the conventional cell in turn, terminations at random.

    A slab has as many layers of the cell as ``max_atoms`` allows, one at least; standard deviations (Å) of
    ``amplitudes`` follow in turn.
    """
    shifted = _conventional(atoms)
    scaled = shifted.get_scaled_positions()
    slabs = []
    for index in range(count):
        plane = PLANES[index % len(PLANES)]
        origin = scaled[rng.integers(len(scaled))]
        shifted.set_scaled_positions((scaled - origin + 1e-6) % 1.0)  # which layer is cut at depends on the origin
        layers = max(1, max_atoms // len(surface(shifted, plane, 1)))
        slab = surface(shifted, plane, layers, periodic=True)
        slab.center(vacuum=VACUUM_A, axis=2)
        slab.positions += rng.normal(
            scale=amplitudes[index // len(PLANES) % len(amplitudes)], size=slab.positions.shape
        )
        slabs.append(slab)
    return slabs


def _conventional(atoms: Atoms) -> Atoms:
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.standardize_cell(cell, to_primitive=False, symprec=1e-3)
    if found is None:
        return atoms.copy()
    vectors, positions, numbers = found
    return Atoms(np.asarray(numbers), cell=vectors, scaled_positions=positions, pbc=True)
