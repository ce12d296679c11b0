"""Laws of derivatives: forces and stress are those of the energy, with ASE's signs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from .examples import Examples, LawFinding, is_worse

Array = NDArray[np.float64]

TOLERANCE = 1e-6  # times max(1, largest value): four-point differences of an energy in double precision
STEPS = (1e-3, 1e-5)  # Å, and strain: the long one against round-off, the short one where a second derivative jumps
DIRECTIONS = 3


def slope(energy: Callable[[float], float], claimed: float) -> float:
    """Return dE/dx at x = 0 from four points, by that of the steps which agrees better with what is ``claimed``."""
    found = []
    for step in STEPS:
        far, near = (energy(factor * step) - energy(-factor * step) for factor in (2, 1))
        found.append((8.0 * near - far) / (12.0 * step))
    return min(found, key=lambda value: abs(value - claimed))


def force_is_minus_the_slope(examples: Examples) -> LawFinding:
    """Check that F · u = -dE/dx along random displacements of all atoms."""
    rng = examples.rng(5)
    worst, detail = 0.0, 'forces are -dE/dx'
    for atoms in examples.structures:
        forces = examples.forces(atoms)
        for _ in range(DIRECTIONS):
            direction = rng.normal(size=forces.shape)
            direction /= np.linalg.norm(direction)
            claimed = -float(np.sum(forces * direction))
            difference = abs(claimed - slope(partial(_energy_along, examples, atoms, direction), claimed))
            relative = difference / max(1.0, float(np.abs(forces).max()))
            if is_worse(relative, worst):
                worst, detail = relative, f'F · u of {atoms.symbols} differs from -dE/dx by {difference:.3g} eV/Å'
    return LawFinding(law='forces', deviation=worst, tolerance=TOLERANCE, detail=detail)


def stress_is_the_slope_by_strain(examples: Examples) -> LawFinding:
    """Check that σ = (1/V) dE/dε, so that a compressed crystal has a negative stress."""
    worst, detail, applies = 0.0, 'stress is dE/dε / V', False
    for atoms in examples.structures:
        stress = examples.stress(atoms)
        if not len(stress):
            continue
        applies = True
        expected = np.array([_strain_slope(examples, atoms, place, float(stress[place])) for place in range(6)])
        difference = np.abs(stress - expected)
        relative = float(difference.max()) / max(1.0, float(np.abs(expected).max()))
        if is_worse(relative, worst):
            place = ('xx', 'yy', 'zz', 'yz', 'xz', 'xy')[int(np.argmax(difference))]
            worst = relative
            detail = f'{place} of {atoms.symbols} differs from dE/dε / V by {float(difference.max()):.3g} eV/Å³'
    if not applies:
        detail = 'no structure with three periods, or the calculator gives no stress'
    return LawFinding(law='stress', deviation=worst, tolerance=TOLERANCE, detail=detail, applies=applies)


def _energy_along(examples: Examples, atoms: Atoms, direction: Array, step: float) -> float:
    other = atoms.copy()
    other.positions += step * direction
    return examples.energy(other)


def _strain_slope(examples: Examples, atoms: Atoms, component: int, claimed: float) -> float:
    first, second = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))[component]
    shape = np.zeros((3, 3))
    shape[first, second] += 0.5
    shape[second, first] += 0.5

    def energy(step: float) -> float:
        other = atoms.copy()
        other.set_cell(atoms.cell @ (np.eye(3) + step * shape), scale_atoms=True)
        return examples.energy(other)

    volume = float(atoms.get_volume())
    return slope(energy, claimed * volume) / volume
