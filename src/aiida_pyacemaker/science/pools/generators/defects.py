"""Point defects besides the vacancy: interstitials, antisites, pairs of vacancies, Frenkel pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.geometry import find_mic
from ase.neighborlist import neighbor_list
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.spatial import Voronoi

from .vacancy import relaxed_copies

SAME_SITE_A = 0.1  # Voronoi vertices closer than this are one hole
SHELL = 1.05  # neighbours of a hole: up to this factor of the nearest one


def holes(atoms: Atoms) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return positions (m, 3) in Å of the holes of a crystal, and their numbers of nearest atoms (m,).

    Holes are the vertices of the Voronoi tessellation: the tetrahedral one of fcc has 4 nearest atoms, the octahedral
    one 6.
    """
    images = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T
    points = (atoms.positions[None] + (images @ atoms.cell.array)[:, None]).reshape(-1, 3)
    vertices = Voronoi(points).vertices
    fractional = vertices @ np.linalg.inv(atoms.cell.array)
    inside = fractional[((fractional > -0.01) & (fractional < 1.01)).all(axis=1)] % 1.0
    probes = Atoms(f'X{len(inside)}', cell=atoms.cell, scaled_positions=inside, pbc=True)
    first, second = neighbor_list('ij', probes, SAME_SITE_A)
    repeated = np.unique(first[second < first])
    del probes[repeated]
    both = atoms + probes
    host = len(atoms)
    reach = float(both.cell.lengths().min())
    first, second, distance = neighbor_list('ijd', both, reach)
    to_host = (first >= host) & (second < host)
    nearest = np.full(len(both), np.inf)
    np.minimum.at(nearest, first[to_host], distance[to_host])
    in_shell = to_host & (distance < SHELL * nearest[first])
    return probes.positions, np.bincount(first[in_shell], minlength=len(both))[host:]


def make_interstitials(
    atoms: Atoms, *, count: int, amplitudes: Sequence[float], calculator: Calculator, rng: Generator
) -> list[Atoms]:
    """Return ``count`` frames in runs of ``COPIES_PER_SITE`` with one atom more: each kind of hole in turn, relaxed."""
    positions, coordinations = holes(atoms)
    kinds = np.unique(coordinations)
    turn = 0

    def insert() -> Atoms:
        nonlocal turn
        candidates = np.flatnonzero(coordinations == kinds[turn % len(kinds)])
        turn += 1
        number = int(rng.choice(atoms.numbers))
        return atoms + Atoms([number], positions=[positions[rng.choice(candidates)]])

    return relaxed_copies(insert, count=count, amplitudes=amplitudes, calculator=calculator, rng=rng)


def make_antisites(
    atoms: Atoms, *, count: int, amplitudes: Sequence[float], calculator: Calculator, rng: Generator
) -> list[Atoms]:
    """Return ``count`` frames in runs of ``COPIES_PER_SITE``: in turn one atom of another kind, and a swapped pair."""
    turn = 0

    def place() -> Atoms:
        nonlocal turn
        defective = atoms.copy()
        site = int(rng.integers(len(atoms)))
        other = int(rng.choice(np.flatnonzero(atoms.numbers != atoms.numbers[site])))
        defective.numbers[site] = atoms.numbers[other]
        if turn % 2:
            defective.numbers[other] = atoms.numbers[site]
        turn += 1
        return defective

    return relaxed_copies(place, count=count, amplitudes=amplitudes, calculator=calculator, rng=rng)


def make_divacancies(
    atoms: Atoms, *, count: int, amplitudes: Sequence[float], calculator: Calculator, rng: Generator
) -> list[Atoms]:
    """Return ``count`` frames in runs of ``COPIES_PER_SITE`` without two atoms: in turn neighbours, and any."""
    turn = 0

    def remove() -> Atoms:
        nonlocal turn
        site = int(rng.integers(len(atoms)))
        distances = atoms.get_distances(site, np.arange(len(atoms)), mic=True)
        distances[site] = np.inf
        others = np.flatnonzero(distances < SHELL * distances.min() if turn % 2 == 0 else np.isfinite(distances))
        turn += 1
        defective = atoms.copy()
        del defective[[site, int(rng.choice(others))]]
        return defective

    return relaxed_copies(remove, count=count, amplitudes=amplitudes, calculator=calculator, rng=rng)


def make_frenkel_pairs(
    atoms: Atoms, *, count: int, amplitudes: Sequence[float], calculator: Calculator, rng: Generator
) -> list[Atoms]:
    """Return ``count`` frames in runs of ``COPIES_PER_SITE`` with an atom moved from its site into a distant hole.

    The hole is one of the farther half as seen from the vacancy: a near pair recombines while it is relaxed.
    """
    positions, _ = holes(atoms)

    def move() -> Atoms:
        site = int(rng.integers(len(atoms)))
        _, distances = find_mic(positions - atoms.positions[site], atoms.cell, atoms.pbc)
        far = np.flatnonzero(distances >= np.median(distances))
        defective = atoms.copy()
        defective.positions[site] = positions[rng.choice(far)]
        return defective

    return relaxed_copies(move, count=count, amplitudes=amplitudes, calculator=calculator, rng=rng)
