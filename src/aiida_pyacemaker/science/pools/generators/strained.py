"""Strained cells: a scan of volumes, and random shears that leave the crystal system."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from ase import Atoms
from numpy.random import Generator
from numpy.typing import NDArray

INTERNAL_RATTLE_A = 0.02  # breaks the symmetry of the sites in sheared cells, so that optical forces appear


def make_strained(atoms: Atoms, *, count: int, strain_max: float, rng: Generator) -> list[Atoms]:
    """Return ``count`` homogeneously strained copies, atoms carried along with the cell.

    The first half scans isotropic strains from ``-strain_max`` to ``strain_max`` in order, each jittered within its
    interval; the rest draws symmetric tensors with all six components uniform within bounds that grow evenly to
    ``±strain_max``, so that small strains, which make the elastic constants, are there too.
    """
    n_isotropic = (count + 1) // 2
    edges = np.linspace(-strain_max, strain_max, n_isotropic + 1)
    scan = [apply_strain(atoms, np.eye(3) * rng.uniform(low, high)) for low, high in pairwise(edges)]
    sheared = []
    n_sheared = count - n_isotropic
    for index in range(n_sheared):
        strained = apply_strain(atoms, random_strain(strain_max * (index + 1) / n_sheared, rng))
        strained.positions += rng.normal(scale=INTERNAL_RATTLE_A, size=strained.positions.shape)
        sheared.append(strained)
    return scan + sheared


def random_strain(strain_max: float, rng: Generator) -> NDArray[np.float64]:
    """Return a (3, 3) symmetric strain tensor with components uniform in ``±strain_max``."""
    upper = np.triu(rng.uniform(-strain_max, strain_max, size=(3, 3)))
    return upper + np.triu(upper, 1).T


def apply_strain(atoms: Atoms, strain: NDArray[np.float64]) -> Atoms:
    """Return a copy under the homogeneous deformation ``1 + strain``, fractional coordinates unchanged."""
    strained = atoms.copy()
    strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return strained
