"""Stillinger-Weber silicon on our neighbour pairs: a truth that is cheap enough for every step of 10⁵ atoms."""

from __future__ import annotations

import math

import numba
import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from aiida_pyacemaker.science.neighbours import Pairs, pairs_of

Floats, Integers = NDArray[np.float64], NDArray[np.int64]
# Stillinger and Weber, Phys. Rev. B 31, 5262 (1985); ε in eV as LAMMPS ships it, lengths in Å
EPSILON, SIGMA, REACH = 2.1683, 2.0951, 1.8 * 2.0951
BIG_A, BIG_B, LAMBDA, GAMMA, COS0 = 7.049556277, 0.6022245584, 21.0, 1.2, -1.0 / 3.0
LAMMPS_FILE = 'Si Si Si 2.1683 2.0951 1.80 21.0 1.20 -0.333333333333 7.049556277 0.6022245584 4.0 0.0 0.0\n'


@numba.njit(cache=True)
def add_pairs(i: int, near: Integers, units: Floats, lengths: Floats, forces: Floats) -> float:
    """Add the forces of the pair term of atom ``i`` and its neighbours; return their half of the energy."""
    energy = 0.0
    for a in range(len(near)):
        r = lengths[a]
        gap = SIGMA / (r - REACH)
        well = BIG_B * (SIGMA / r) ** 4 - 1.0
        tail = BIG_A * EPSILON * math.exp(gap)
        energy += 0.5 * well * tail
        slope = 0.5 * tail * (-4.0 * BIG_B * (SIGMA / r) ** 4 / r - well * gap * gap / SIGMA)
        for axis in range(3):
            forces[i, axis] += slope * units[a, axis]
            forces[near[a], axis] -= slope * units[a, axis]
    return energy


@numba.njit(cache=True)
def add_triple(  # noqa: PLR0913
    i: int, a: int, b: int, near: Integers, units: Floats, lengths: Floats, forces: Floats
) -> float:
    """Add the forces of the angle at ``i`` between its neighbours ``a`` and ``b``; return its energy."""
    cosine = 0.0
    for axis in range(3):
        cosine += units[a, axis] * units[b, axis]
    gap_a, gap_b = SIGMA / (lengths[a] - REACH), SIGMA / (lengths[b] - REACH)
    size, off = LAMBDA * EPSILON * math.exp(GAMMA * (gap_a + gap_b)), cosine - COS0
    d_cos, square = 2.0 * size * off, size * off * off
    d_a, d_b = -square * GAMMA * gap_a * gap_a / SIGMA, -square * GAMMA * gap_b * gap_b / SIGMA
    for axis in range(3):
        on_a = d_a * units[a, axis] + d_cos * (units[b, axis] - cosine * units[a, axis]) / lengths[a]
        on_b = d_b * units[b, axis] + d_cos * (units[a, axis] - cosine * units[b, axis]) / lengths[b]
        forces[near[a], axis] -= on_a
        forces[near[b], axis] -= on_b
        forces[i, axis] += on_a + on_b
    return square


@numba.njit(cache=True)
def add_forces(starts: Integers, second: Integers, vectors: Floats, forces: Floats) -> float:
    """Add the forces (n, 3) eV/Å and return the energy in eV."""
    energy = 0.0
    near, units, lengths = np.empty(64, np.int64), np.empty((64, 3)), np.empty(64)
    for i in range(len(starts) - 1):
        count = 0
        for p in range(starts[i], starts[i + 1]):
            r = math.sqrt(vectors[p, 0] ** 2 + vectors[p, 1] ** 2 + vectors[p, 2] ** 2)
            if r < REACH - 1e-9 and count < 64:
                near[count], lengths[count], units[count] = second[p], r, vectors[p] / r
                count += 1
        energy += add_pairs(i, near[:count], units, lengths, forces)
        for a in range(count):
            for b in range(a + 1, count):
                energy += add_triple(i, a, b, near, units, lengths, forces)
    return energy


def forces_of(pairs: Pairs) -> tuple[float, Floats]:
    """Return energy in eV and forces (n, 3) in eV/Å of pairs that reach at least 3.78 Å."""
    forces = np.zeros((len(pairs.starts) - 1, 3))
    return float(add_forces(pairs.starts, pairs.second, pairs.vectors, forces)), forces


def label(atoms: Atoms) -> tuple[float, Floats]:
    """Return energy and forces of a structure."""
    return forces_of(pairs_of(atoms.positions, np.asarray(atoms.cell), atoms.pbc, 3.8))
