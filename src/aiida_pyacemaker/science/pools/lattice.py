"""Prototypes made ready for sampling: relaxed by a calculator, repeated to a compact supercell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from numpy.typing import NDArray


def relax_structure(
    atoms: Atoms,
    calculator: Calculator,
    *,
    cell: Literal['isotropic', 'full', 'fixed'] = 'isotropic',
    fmax: float = 0.01,
    max_steps: int = 200,
) -> tuple[Atoms, bool]:
    """Return a relaxed copy (no calculator) and whether ``fmax`` (eV/Å) was met.

    ``isotropic`` scales the cell and keeps its shape, so that a prototype stays that prototype; a structure that is
    not periodic in all directions keeps its cell.
    """
    relaxed = atoms.copy()
    relaxed.calc = calculator
    moving = relaxed
    if cell != 'fixed' and relaxed.pbc.all():
        moving = FrechetCellFilter(relaxed, hydrostatic_strain=cell == 'isotropic')
    converged = bool(BFGS(moving, logfile=None).run(fmax=fmax, steps=max_steps))
    relaxed.calc = None
    return relaxed, converged


def most_compact_supercell(atoms: Atoms, *, max_atoms: int) -> Atoms:
    """Return the repetition with at most ``max_atoms`` atoms whose shortest lattice height is largest.

    Only periodic directions are repeated; among equal heights the smallest cell wins. A structure already larger
    than ``max_atoms`` comes back unrepeated.
    """
    periodic = atoms.pbc
    if not periodic.any():
        return atoms.copy()
    heights = _heights(atoms)
    best, best_key = (1, 1, 1), (0.0, 0)
    for repeats in _repeats(periodic, max(1, max_atoms // len(atoms))):
        shortest = float((heights * repeats)[periodic].min())
        key = (round(shortest, 6), -int(np.prod(repeats)))
        if key > best_key:
            best, best_key = repeats, key
    return atoms.repeat(best)


def _repeats(periodic: NDArray[np.bool_], most: int) -> Iterator[tuple[int, int, int]]:
    """Yield every repetition of the periodic directions with at most ``most`` cells."""
    for first in range(1, most + 1) if periodic[0] else (1,):
        for second in range(1, most // first + 1) if periodic[1] else (1,):
            for third in range(1, most // (first * second) + 1) if periodic[2] else (1,):
                yield first, second, third


def _heights(atoms: Atoms) -> NDArray[np.float64]:
    """Return (3,) Å, the distances between opposite faces of the cell (vacuum directions completed by ASE)."""
    cell = atoms.cell.complete()
    return 1.0 / np.linalg.norm(np.linalg.inv(cell.array), axis=0)
