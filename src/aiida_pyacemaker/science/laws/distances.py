"""Laws of distance: interactions end without a jump, and atoms do not fall into each other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from .examples import Examples, LawFinding, bond_length, is_worse

Array = NDArray[np.float64]
Curve = Callable[[float], tuple[float, float]]

SMOOTH_TOLERANCE = 1e-7  # of a jump of energy (eV) and force (eV/Å), times max(1, largest value)
COARSE_STEP = 0.02  # Å
SUSPECTS, ZOOMS, POINTS = 3, 12, 17
SHORTEST = 0.5  # Å, from where atoms must repel each other ...
REPULSIVE_FRACTION = 0.7  # ... up to this fraction of the sum of covalent radii
WEAKEST = 1e-6  # eV/Å, with at least this force
WALL_POINTS = 60


def smooth_cutoff(examples: Examples) -> LawFinding:
    """Check that energy and force of an atom that leaves three others never jump, out to beyond the cut-off."""
    worst, detail = 0.0, 'no jump of energy or force'
    for first, second in combinations_with_replacement(examples.elements, 2):
        curve, start = _leaving(examples, first, second)
        for jump, unit, distance in largest_jumps(curve, start, examples.reach + 1.0):
            if is_worse(jump, worst):
                worst = jump
                detail = f'{second} that leaves {first}2{second}: jump of {jump:.3g} {unit} at {distance:.4f} Å'
    return LawFinding(law='smooth cut-off', deviation=worst, tolerance=SMOOTH_TOLERANCE, detail=detail)


def _leaving(examples: Examples, first: str, second: str) -> tuple[Curve, float]:
    """Return distance -> (energy, force along the way) of an atom that leaves a bent trimer, and where it starts."""
    length = bond_length(first, second)
    corners = length * np.array([[0.0, 0.0, 0.0], [-0.35, 0.9, -0.2], [-0.5, -0.7, 0.55]])
    way = np.array([0.98, 0.15, 0.13]) / np.linalg.norm([0.98, 0.15, 0.13])

    def curve(distance: float) -> tuple[float, float]:
        atoms = Atoms([first, second, first, second], positions=[*corners, distance * way])
        return examples.energy(atoms), float(examples.forces(atoms)[3] @ way)

    return curve, 0.85 * length


def largest_jumps(curve: Curve, start: float, end: float) -> list[tuple[float, str, float]]:
    """Return (jump over max(1, largest value), unit, distance Å) of energy and force between ``start`` and ``end``.

    A jump survives in third differences while anything smooth falls with the cube of the step: the intervals of the
    largest ones are zoomed in to a billionth of an Å, where the largest step left is a jump.
    """
    grid = np.linspace(start, end, int(np.ceil((end - start) / COARSE_STEP)) + 1)
    values = np.array([curve(float(distance)) for distance in grid])
    found = []
    for channel, unit in enumerate(('eV', 'eV/Å')):
        scale = max(1.0, float(np.abs(values[:, channel]).max()))
        rough = np.abs(np.diff(values[:, channel], 3))
        for place in _peaks(rough):
            low, high = float(grid[place]), float(grid[place + 3])
            jump, distance = _zoom(partial(_channel, curve, channel), low, high)
            found.append((jump / scale, unit, distance))
    return found


def _channel(curve: Curve, channel: int, distance: float) -> float:
    return curve(distance)[channel]


def _peaks(rough: Array) -> list[int]:
    """Return the places of the largest values, of the values and of their prominence among neighbours."""
    around = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(rough, 6, mode='edge'), 13), axis=1)
    prominent = rough / (around + 1e-13)
    return sorted({int(place) for row in (rough, prominent) for place in np.argsort(row)[-SUSPECTS:]})


def _zoom(values_at: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """Return the largest step left after zooming in on the roughest interval, and where it is."""
    for _ in range(ZOOMS):
        grid = np.linspace(low, high, POINTS)
        values = np.array([values_at(float(point)) for point in grid])
        place = int(np.argmax(np.abs(np.diff(values, 3))))
        low, high = float(grid[place]), float(grid[place + 3])
    return abs(values_at(high) - values_at(low)), 0.5 * (low + high)


def repulsive_wall(examples: Examples) -> LawFinding:
    """Check that two atoms push each other apart from 0.5 Å to 0.7 of the sum of their covalent radii."""
    weakest, detail = -np.inf, ''
    for first, second in combinations_with_replacement(examples.elements, 2):
        slope, distance = weakest_push(examples.calculator, first, second)
        if is_worse(slope, weakest):
            weakest, detail = slope, f'weakest dE/dr of {first}-{second} is {slope:.3g} eV/Å at {distance:.3f} Å'
    return LawFinding(law='repulsive wall', deviation=weakest, tolerance=-WEAKEST, detail=detail)


def weakest_push(calculator: Any, first: str, second: str) -> tuple[float, float]:
    """Return the largest dE/dr (eV/Å) of a dimer from 0.5 Å to 0.7 of the sum of covalent radii, and where it is (Å).

    It is negative where the atoms push each other apart throughout.
    """
    end = max(REPULSIVE_FRACTION * bond_length(first, second), SHORTEST)
    weakest, place = -np.inf, SHORTEST
    for distance in np.linspace(SHORTEST, end, WALL_POINTS):
        atoms = Atoms([first, second], positions=[[0.0, 0.0, 0.0], [0.0, 0.0, distance]])
        atoms.calc = calculator
        slope = float(atoms.get_forces()[0, 2])
        if is_worse(slope, weakest):
            weakest, place = slope, float(distance)
    return weakest, place
