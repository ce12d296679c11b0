"""Isolated pairs of every two elements: what the baseline potential is fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from numpy.random import Generator

from ...frames import Frames

PAIR_RANGE_A = (0.5, 6.0)


def dimer_scan(elements: Sequence[str], *, count: int, shortest: float = 0.5, longest: float = 2.0) -> Frames:
    """Return ``count`` non-periodic pairs for every unordered pair of ``elements``, one group a pair.

    The distances are equally spaced between ``shortest`` and ``longest`` times the sum of the covalent radii.
    """
    structures, groups = [], []
    for group, pair in enumerate(combinations_with_replacement(sorted(elements), 2)):
        covalent_sum = sum(covalent_radii[atomic_numbers[symbol]] for symbol in pair)
        for distance in np.linspace(shortest, longest, count) * covalent_sum:
            structures.append(Atoms(pair, positions=[[0.0, 0.0, 0.0], [0.0, 0.0, distance]]))
            groups.append(group)
    return Frames.from_atoms(structures, config_type=['dimer'] * len(structures), group=groups)


def make_pair_scan(pair: Sequence[str], *, count: int, rng: Generator) -> list[Atoms]:
    """Return ``count`` non-periodic pairs at distances evenly spaced from 0.5 to 6 Å; nothing is random."""
    del rng
    return [Atoms(list(pair), positions=[[0.0, 0.0, 0.0], [0.0, 0.0, d]]) for d in np.linspace(*PAIR_RANGE_A, count)]
