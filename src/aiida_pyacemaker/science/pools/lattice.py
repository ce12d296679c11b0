"""Prototypes made ready for sampling: relaxed by a calculator, repeated to a compact supercell."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import Literal

import numpy as np
from ase import Atoms
from ase.build import make_supercell
from ase.calculators.calculator import Calculator
from ase.filters import FrechetCellFilter
from ase.geometry import minkowski_reduce
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


def compact_supercell_of(primitive: Atoms, n_atoms: int) -> Atoms:
    """Return the supercell of a crystal with exactly ``n_atoms`` atoms whose shortest lattice height is largest.

    All integer matrices in Hermite normal form of that determinant are tried (Minkowski-reduced cells are compared).
    Raise ``ValueError`` when ``n_atoms`` is no multiple of the atoms in ``primitive``.
    """
    size, rest = divmod(n_atoms, len(primitive))
    if rest or not size:
        raise ValueError(f'n_atoms is {n_atoms}, expected a multiple of the {len(primitive)} atoms of the crystal')
    shape = primitive.cell.array / primitive.get_volume() ** (1 / 3)
    rounded = tuple(tuple(float(number) for number in row) for row in shape.round(8))
    return make_supercell(primitive, np.array(_compact_matrix(rounded, size)))


@lru_cache(maxsize=64)
def _compact_matrix(cell: tuple[tuple[float, ...], ...], size: int) -> tuple[tuple[int, ...], ...]:
    """Return the integer matrix of the most compact superlattice; some seconds for a hundred atoms, hence kept."""
    vectors, best, highest = np.array(cell), np.eye(3, dtype=int), 0.0
    for matrix in _hermite_normal_forms(size):
        reduced, _ = minkowski_reduce(matrix @ vectors)
        shortest = round(float((1.0 / np.linalg.norm(np.linalg.inv(reduced), axis=0)).min()), 6)
        if shortest > highest:
            best, highest = np.rint(reduced @ np.linalg.inv(vectors)).astype(int), shortest
    return tuple(tuple(int(number) for number in row) for row in best)


def _hermite_normal_forms(determinant: int) -> Iterator[NDArray[np.int64]]:
    """Yield every upper triangular integer matrix that stands for one superlattice of this size."""
    divisors = [number for number in range(1, determinant + 1) if determinant % number == 0]
    for a in divisors:
        for b in (number for number in divisors if determinant // a % number == 0):
            c = determinant // (a * b)
            for d, e, f in product(range(b), range(c), range(c)):
                yield np.array([[a, d, e], [0, b, f], [0, 0, c]])


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
