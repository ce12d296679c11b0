"""Electrons, spins and charge of a frame, and what no SCF should be started with."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list
from numpy.typing import ArrayLike, NDArray

RARE_EARTHS = frozenset(range(58, 71))
SUSPECTS = frozenset(('V', 'Cr', 'Mn', 'Fe', 'Co', 'Ni'))
CLOSEST_A = 0.5
WHOLE = 1e-3  # electrons: fractional pseudo-hydrogens have to add up to a whole number
MAX_KINDS = 10  # what `pw.x` has room for
ROUNDINGS_muB = (0.1, 0.25, 0.5, 1.0, 2.0, math.inf)


def is_magnetic(symbol: str) -> bool:
    """Say whether an element is on the list that is computed with two spins."""
    return symbol in SUSPECTS or atomic_numbers[symbol] in RARE_EARTHS


def count_electrons(kinds: list[str], valence: Mapping[str, float], charge: float = 0.0) -> float:
    """Return the number of valence electrons of atoms of ``kinds`` with total charge ``charge`` (e)."""
    return float(sum(valence[kind] for kind in kinds) - charge)


def is_closed_shell(n_electrons: float) -> bool:
    """Say whether electrons are an even whole number: caps of fractional charge add up to one to ``WHOLE`` only."""
    return abs(n_electrons - 2 * round(n_electrons / 2)) <= WHOLE


def check_electrons(
    n_electrons: float, *, n_spins: int, fixed_occupations: bool, is_capped_cluster: bool
) -> str | None:
    """Return what is wrong with an electron count, or ``None``.

    An odd number needs two spins, unless smearing may empty half a level of a periodic metal: refused under fixed
    occupations, and in a capped cluster, where it says that a cap is missing.
    """
    if n_electrons <= 0:
        return f'{n_electrons:g} electrons: the charge takes them all, give another charge'
    if not (fixed_occupations or is_capped_cluster):
        return None
    where = 'a capped cluster' if is_capped_cluster else 'fixed occupations'
    if abs(n_electrons - round(n_electrons)) > WHOLE:
        return f'{n_electrons:g} electrons are no whole number in {where}: change caps or charge'
    if not is_closed_shell(n_electrons) and n_spins == 1:
        return f'{round(n_electrons)} electrons are odd without spin in {where}: change caps or charge, or set nspin 2'
    return None


def closest_pair(atoms: Atoms, limit_A: float = CLOSEST_A) -> str | None:
    """Return what is wrong with the distances of ``atoms``: two closer than ``limit_A``, or a position not finite."""
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell[:]).all()):
        return 'a position or a cell vector is not a finite number'
    first, second, distance = neighbor_list('ijd', atoms, limit_A)
    if not len(distance):
        return None
    worst = int(np.argmin(distance))
    return f'atoms {first[worst]} and {second[worst]} are {distance[worst]:.3f} Å apart, allowed: at least {limit_A} Å'


def group_moments(numbers: ArrayLike, moments_muB: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return a tag per atom and the starting moment of its group: (N,), (N,) µB.

    Atoms of one element with about the same moment share a tag, 0 where the element has one group only; the rounding
    is the finest that leaves at most ``MAX_KINDS`` groups, and keeps signs apart.
    """
    numbers, moments = np.asarray(numbers), np.asarray(moments_muB, dtype=float)
    for rounding in ROUNDINGS_muB:
        level = np.sign(moments) if math.isinf(rounding) else np.round(moments / rounding)
        pairs = np.stack([numbers, level], axis=1)
        groups, group_of_atom = np.unique(pairs, axis=0, return_inverse=True)
        if len(groups) <= MAX_KINDS:
            break
    group_of_atom = group_of_atom.reshape(-1)
    means = np.array([moments[group_of_atom == group].mean() for group in range(len(groups))])
    tags = np.zeros(len(groups), dtype=np.int64)
    for number in np.unique(numbers):
        same = np.flatnonzero(groups[:, 0] == number)
        tags[same] = np.arange(1, len(same) + 1) if len(same) > 1 else 0
    return tags[group_of_atom], means[group_of_atom]
