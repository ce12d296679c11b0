"""Prototypes of every subsystem of a list of elements, at the volume that the calculator prefers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from itertools import combinations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from scipy.optimize import minimize_scalar

from ..config import PoolConfig
from .screening import NO_MINIMUM, REFUSALS, Screen
from .structure_types import crystals_of

SCALES = np.linspace(0.8, 2.0, 25)  # of the lattice parameter with the closest pair at the covalent sum
START = 1.15  # metals have their minimum a little below, weakly bound crystals above
SCALE_TOLERANCE, MAX_MINIMISATIONS = 1e-3, 12


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
    """Return ``atoms`` with the cell scaled to the nearest energy minimum, or ``None`` where the window has none.

    The energy is followed downhill over ``SCALES`` of the cell vectors from ``START``, which spares the calculator
    crystals denser than need be, then minimised between the neighbours of the lowest point (Brent). A point that the
    calculator refuses counts as infinitely high.
    """
    energy = lru_cache(maxsize=None)(lambda index: _energy_at(atoms, calculator, float(SCALES[index])))
    lowest = int(np.argmin(np.abs(SCALES - START)))
    while True:
        around = [index for index in (lowest - 1, lowest, lowest + 1) if 0 <= index < len(SCALES)]
        best = min(around, key=energy)
        if best == lowest:
            break
        lowest = best
    inside = len(around) == 3 and all(np.isfinite(energy(index)) for index in around)
    if not inside:
        return None
    bounds = (SCALES[lowest - 1], SCALES[lowest + 1])
    exact = partial(_energy_at, atoms, calculator)
    options = {'xatol': SCALE_TOLERANCE, 'maxiter': MAX_MINIMISATIONS}
    return _scaled(atoms, float(minimize_scalar(exact, bounds=bounds, method='bounded', options=options).x))


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
