"""Radial functions of the baseline: ZBL, the repulsive wall, and how they are joined and switched off."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

COULOMB = 14.399645478425668  # e²/(4πε0) in eV Å (CODATA 2018)
ZBL_AMPLITUDES = np.array([0.18175, 0.50986, 0.28022, 0.02817])
ZBL_EXPONENTS = np.array([3.19980, 0.94229, 0.40290, 0.20162])
QUADRATURE = np.polynomial.legendre.leggauss(48)


def zbl(distance: Array, charges: tuple[int, int]) -> tuple[Array, Array]:
    """Return (energy eV, derivative eV/Å) of the universal screened nuclear repulsion at ``distance`` (n,) Å.

    V = Z1 Z2 e²/(4πε0 r) Σ_k A_k exp(-B_k r/a), a = 0.46850 / (Z1^0.23 + Z2^0.23) Å
    (Ziegler, Biersack, Littmark, The Stopping and Range of Ions in Matter, 1985).
    """
    first, second = charges
    length = 0.46850 / (first**0.23 + second**0.23)
    terms = ZBL_AMPLITUDES * np.exp(-np.multiply.outer(distance, ZBL_EXPONENTS / length))
    screening = terms.sum(axis=-1)
    slope = -(terms * ZBL_EXPONENTS / length).sum(axis=-1)
    strength = COULOMB * first * second / distance
    return strength * screening, strength * (slope - screening / distance)


def switch(distance: Array, start: float, end: float) -> tuple[Array, Array]:
    """Return (value, derivative 1/Å) of a step that falls from 1 at ``start`` to 0 at ``end``, C4 at both.

    1 - t^5 (126 - 420 t + 540 t² - 315 t³ + 70 t⁴), t = (r - start)/(end - start) clipped to [0, 1].
    """
    t = np.clip((distance - start) / (end - start), 0.0, 1.0)
    value = 1.0 - t**5 * (126.0 + t * (-420.0 + t * (540.0 + t * (-315.0 + 70.0 * t))))
    return value, -630.0 * (t * (1.0 - t)) ** 4 / (end - start)


def wall(distance: Array, end: float, start: float) -> tuple[Array, Array]:
    """Return (energy, derivative 1/Å) of the repulsive part of Lennard-Jones, of unit depth, ended smoothly.

    ((end/r)^6 - 1)² is Lennard-Jones raised by its depth, with its minimum at ``end`` (Weeks, Chandler, Andersen,
    J. Chem. Phys. 54, 5237, 1971); times a switch from 1 at ``start`` to 0 at ``end``, Å.
    """
    power = (end / distance) ** 6
    value, slope = (power - 1.0) ** 2, -12.0 * (power - 1.0) * power / distance
    step, step_slope = switch(distance, start, end)
    inside = distance < end
    return np.where(inside, value * step, 0.0), np.where(inside, slope * step + value * step_slope, 0.0)
