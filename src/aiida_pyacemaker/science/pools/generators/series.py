"""Series of one deformation: volumes for the equation of state, shears that keep the volume."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.random import Generator

from .strained import apply_strain


def make_volume_series(atoms: Atoms, *, count: int, strain_max: float, rng: Generator) -> list[Atoms]:
    """Return ``count`` isotropic strains, evenly spaced from ``-strain_max`` to ``strain_max``; nothing is random."""
    del rng
    return [apply_strain(atoms, np.eye(3) * strain) for strain in np.linspace(-strain_max, strain_max, count)]


def make_sheared(atoms: Atoms, *, count: int, strain_max: float, rng: Generator) -> list[Atoms]:
    """Return ``count`` simple shears ``1 + s a⊗b`` with random unit vectors a ⟂ b, which keep the volume exactly.

    The strains s grow evenly to ``strain_max``.
    """
    sheared = []
    for strain in strain_max * np.arange(1, count + 1) / count:
        frame, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        sheared.append(apply_strain(atoms, strain * np.outer(frame[:, 0], frame[:, 1])))
    return sheared
