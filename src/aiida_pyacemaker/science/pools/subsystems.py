"""Prototypes of every subsystem of a list of elements, at the volume that the calculator prefers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from scipy.optimize import minimize_scalar

from ..config import PoolConfig
from .screening import NO_MINIMUM, REFUSALS, Screen
from .structure_types import crystals_of

SCALES = np.linspace(0.8, 1.4, 13)  # of the lattice parameter with the closest pair at the covalent sum
SCALE_TOLERANCE = 1e-3


def subsystems_of(elements: Sequence[str], *, largest: int) -> list[tuple[str, ...]]:
    """Return all sets of one to ``largest`` of the ``elements``, sorted by size, then by symbol."""
    symbols = sorted(set(elements))
    return [subset for size in range(1, largest + 1) for subset in combinations(symbols, size)]


def relaxed_crystals(
    subsystem: Sequence[str], config: PoolConfig, screen: Screen
) -> tuple[list[Atoms], dict[str, int]]:
    """Return the structure types of one subsystem, each at its volume of lowest energy, and what was lost by reason.

    A type whose energy has no minimum in the window is counted under ``no_minimum``. ``info['structure_type']`` says
    which one a crystal is.
    """
    kept, dropped = [], Counter[str]()
    for name, atoms in crystals_of(subsystem, config.structure_types):
        best = relax_volume(atoms, screen.calculator)
        if best is None:
            dropped[NO_MINIMUM] += 1
        else:
            best.info['structure_type'] = name
            kept.append(best)
    return kept, dict(dropped)


def relax_volume(atoms: Atoms, calculator: Calculator) -> Atoms | None:
    """Return ``atoms`` with the cell scaled to the lowest energy, or ``None`` where that lies on the window's edge.

    The energy is scanned at ``SCALES`` of the cell vectors, then minimised between the neighbours of the lowest
    point (Brent). A point that the calculator refuses counts as infinitely high.
    """
    energy = partial(_energy_at, atoms, calculator)
    energies = np.array([energy(scale) for scale in SCALES])
    lowest = int(energies.argmin())
    inside = 0 < lowest < len(SCALES) - 1 and np.isfinite(energies[lowest - 1 : lowest + 2]).all()
    if not inside:
        return None
    bounds = (SCALES[lowest - 1], SCALES[lowest + 1])
    found = minimize_scalar(energy, bounds=bounds, method='bounded', options={'xatol': SCALE_TOLERANCE})
    return _scaled(atoms, float(found.x))


def _energy_at(atoms: Atoms, calculator: Calculator, scale: float) -> float:
    scaled = _scaled(atoms, scale)
    scaled.calc = calculator
    try:
        energy = float(scaled.get_potential_energy())
    except REFUSALS:
        return np.inf
    return energy if np.isfinite(energy) else np.inf


def _scaled(atoms: Atoms, scale: float) -> Atoms:
    scaled = atoms.copy()
    scaled.set_cell(atoms.cell.array * scale, scale_atoms=True)
    return scaled


def unrelaxed_crystals(systems: Sequence[Sequence[str]], config: PoolConfig) -> Iterator[Atoms]:
    """Yield the prototypes of all ``systems`` before anything is relaxed."""
    for subsystem in systems:
        yield from (atoms for _, atoms in crystals_of(subsystem, config.structure_types))
