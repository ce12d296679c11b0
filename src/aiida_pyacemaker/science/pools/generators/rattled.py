"""Rattled supercells: independent Gaussian displacements in slightly strained cells."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms
from numpy.random import Generator

from .strained import apply_strain, random_strain


def make_rattled(
    atoms: Atoms, *, count: int, amplitudes: Sequence[float], strain_max: float, rng: Generator
) -> list[Atoms]:
    """Return ``count`` copies with normal displacements, the standard deviations (Å) of ``amplitudes`` in turn.

    Cells of structures periodic in all directions get a random strain within ``±strain_max`` first.
    """
    rattled = []
    for index in range(count):
        copy = apply_strain(atoms, random_strain(strain_max, rng)) if atoms.pbc.all() else atoms.copy()
        copy.positions += rng.normal(scale=amplitudes[index % len(amplitudes)], size=copy.positions.shape)
        rattled.append(copy)
    return rattled
