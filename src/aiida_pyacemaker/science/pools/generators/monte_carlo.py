"""Monte-Carlo rattle: large displacements that keep atoms apart."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import erf

from ..images import ShortestVectors

CYCLES = 10  # accepted moves of each atom; displacements grow to about sqrt(CYCLES) times the standard deviation
WIDTH_A = 0.1  # of the error function
MAX_ATTEMPTS = 200  # for one move; the atom stays where it is afterwards


def make_monte_carlo_rattled(
    atoms: Atoms, *, count: int, amplitude: float, min_distance_fraction: float, rng: Generator
) -> list[Atoms]:
    """Return ``count`` copies whose atoms made ``CYCLES`` Gaussian moves each, of total deviation ``amplitude`` (Å).

    A move is accepted with probability (erf((d - d_min) / ``WIDTH_A``) + 1) / 2 of its smallest margin over all
    neighbours, d_min being ``min_distance_fraction`` of the sum of the covalent radii of each pair. Rule:
    F. Eriksson, E. Fransson and P. Erhart, Adv. Theory Simul. 2, 1800184 (2019), there with one d_min for all pairs.
    """
    radii = covalent_radii[atoms.numbers]
    limits = min_distance_fraction * (radii[:, None] + radii)
    np.fill_diagonal(limits, -np.inf)
    rattled, shortest = [], ShortestVectors(atoms.cell.array, atoms.pbc)
    for _ in range(count):
        copy = atoms.copy()
        for _ in range(CYCLES):
            for index in range(len(copy)):
                _move(copy, index, limits[index], amplitude / np.sqrt(CYCLES), shortest, rng)
        rattled.append(copy)
    return rattled


def _move(
    atoms: Atoms,
    index: int,
    limits: NDArray[np.float64],
    step: float,
    shortest: ShortestVectors,
    rng: Generator,
) -> None:
    """Move atom ``index`` in place once; ``limits`` are (n,) Å, the distances to keep from every other atom."""
    others = np.delete(np.arange(len(atoms)), index)
    start, around, least = atoms.positions[index].copy(), atoms.positions[others], limits[others]
    for _ in range(MAX_ATTEMPTS):
        trial = start + rng.normal(scale=step, size=3)
        margin = float((shortest.lengths(around - trial) - least).min()) if len(others) else np.inf
        if (erf(margin / WIDTH_A) + 1.0) / 2.0 > rng.random():
            atoms.positions[index] = trial
            return
