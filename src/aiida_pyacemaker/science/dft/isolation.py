"""Clusters and slabs in a periodic program: their box, and whether it allows to cut the images off."""

from __future__ import annotations

import numpy as np
from ase import Atoms

DENSITY_REACH_A = 1.5  # how far the density sticks out of the outermost nuclei
SHORTEST_SLAB_A = 11.0  # pw.x wants half the cell above the 10 bohr to which it integrates pseudopotentials
CLUSTER, SLAB = 'martyna-tuckerman', '2D'


def put_in_box(atoms: Atoms, vacuum_A: float) -> Atoms:
    """Return a copy whose missing cell vectors are box edges with ``vacuum_A`` on both sides of the atoms.

    Only directions that are not periodic can miss theirs; a frame with a full cell is returned as it is.
    """
    boxed = atoms.copy()
    missing = np.linalg.norm(boxed.cell[:], axis=1) == 0
    if missing.any():
        boxed.center(vacuum=vacuum_A, axis=tuple(np.flatnonzero(missing).tolist()))
    return boxed


def choose_isolation(atoms: Atoms) -> str | None:
    """Return how the Coulomb interaction with images is cut off, or ``None`` where the box does not allow it.

    A cluster in an orthogonal box (Martyna-Tuckerman, J. Chem. Phys. 110, 2810) or a slab along z (Sohier, Calandra
    and Mauri, Phys. Rev. B 96, 075448), if the density fills at most half of every direction that is not periodic; a
    slab's cell is at least ``SHORTEST_SLAB_A`` high.
    """
    free = ~np.asarray(atoms.pbc)
    if not free.any():
        return None
    cell = np.asarray(atoms.cell)
    extent = np.ptp(atoms.positions, axis=0) + 2 * DENSITY_REACH_A
    lengths = np.linalg.norm(cell, axis=1)
    if free.all():
        orthogonal = np.allclose(cell, np.diag(np.diag(cell)), atol=1e-6)
        return CLUSTER if orthogonal and (2 * extent <= lengths).all() else None
    if free.tolist() != [False, False, True]:
        return None
    upright = np.allclose(cell[2, :2], 0, atol=1e-6) and np.allclose(cell[:2, 2], 0, atol=1e-6)
    return SLAB if upright and max(2 * extent[2], SHORTEST_SLAB_A) <= lengths[2] else None
