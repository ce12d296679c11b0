"""Core repulsion between two atoms, and how it takes an atom over from the expansion at short distance."""

from __future__ import annotations

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from .embedding import Embedding
from .radial import Bond, fading

Array = NDArray[np.float64]
COULOMB = 14.399645351950543
"""e²/(4πε0), eV Å."""
SCREENING_LENGTH = 0.46850
SCREENING_WEIGHTS = np.array([0.18175, 0.50986, 0.28022, 0.02817])
SCREENING_RATES = np.array([3.19980, 0.94229, 0.40290, 0.20162])
LARGEST_EXPONENT = 50.0


def pair_core_density(r: Array, bond: Bond, elements: tuple[str, str]) -> tuple[Array, Array]:
    """
    Return what one neighbour at ``r`` (n,) Å adds to the core density of the centre, and its slope, (n,) eV, eV/Å.

    'zbl': half of `screened_nuclei` times the bond's prefactor. Else `gaussian_core`, for 'distance' only inside the
    inner cut-off. 0 from the bond's cut-off on.
    """
    if bond.core_repulsion[0] == 0.0:
        return np.zeros_like(r), np.zeros_like(r)
    if bond.inner_cutoff_type == 'zbl':
        return screened_nuclei(r, bond, elements)
    value, slope = gaussian_core(r, bond)
    if bond.inner_cutoff_type == 'distance':
        f, df = fading(r, bond.inner_cutoff, bond.inner_width)
        value, slope = value * f, slope * f + value * df
    return value, slope


def gaussian_core(r: Array, bond: Bond) -> tuple[Array, Array]:
    """Return |p| exp(-|λ| r²)/r · (1 + cos(πr/r_c))/2 and its slope; 0 where |λ| r² ≥ 50 or r ≥ r_c."""
    prefactor, rate = np.abs(bond.core_repulsion)
    inside = (rate * r**2 < LARGEST_EXPONENT) & (r < bond.cutoff)
    decay = np.where(inside, prefactor * np.exp(-rate * r**2) / r, 0.0)
    d_decay = -decay * (2.0 * rate * r**2 + 1.0) / r
    phase = np.pi / bond.cutoff
    envelope, d_envelope = 0.5 * (1.0 + np.cos(phase * r)), -0.5 * phase * np.sin(phase * r)
    return decay * envelope, d_decay * envelope + decay * d_envelope


def screened_nuclei(r: Array, bond: Bond, elements: tuple[str, str]) -> tuple[Array, Array]:
    """
    Return p K Z_i Z_j/2 (φ(r/a)/r + S(r)) · fading(r; r_c, d_c) and its slope (ZBL; half goes to each atom).

    S is LAMMPS's polynomial that takes the potential and two derivatives to 0 at r_c, from r_c - d_c on.
    J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of Ions in Matter, 1985.
    """
    z_i, z_j = (atomic_numbers[element] for element in elements)
    length = SCREENING_LENGTH / (z_i**0.23 + z_j**0.23)
    end, width = bond.cutoff, bond.cutoff_width
    value, slope, _ = _screened(r, length)
    value_end, slope_end, curvature_end = (float(part[0]) for part in _screened(np.array([end]), length))
    a = (-3.0 * slope_end + width * curvature_end) / width**2
    b = (2.0 * slope_end - width * curvature_end) / width**3
    constant = -value_end + width * slope_end / 2.0 - width**2 * curvature_end / 12.0
    t = np.clip(r - (end - width), 0.0, None)
    scale = 0.5 * bond.core_repulsion[0] * COULOMB * z_i * z_j * (r < end)
    value = scale * (value + a / 3.0 * t**3 + b / 4.0 * t**4 + constant)
    slope = scale * (slope + a * t**2 + b * t**3)
    f, df = fading(r, end, width)
    return value * f, slope * f + value * df


def _screened(r: Array, length: float) -> tuple[Array, Array, Array]:
    """Return φ(r/a)/r, its slope and its curvature."""
    terms = SCREENING_WEIGHTS[:, None] * np.exp(-SCREENING_RATES[:, None] * r / length)
    rates = -SCREENING_RATES[:, None] / length
    phi, d_phi, d2_phi = terms.sum(axis=0), (rates * terms).sum(axis=0), (rates**2 * terms).sum(axis=0)
    return phi / r, d_phi / r - phi / r**2, d2_phi / r - 2.0 * d_phi / r**2 + 2.0 * phi / r**3


def core_switch(core_density: Array, embedding: Embedding) -> tuple[Array, Array]:
    """
    Return what remains of the embedded energy at a core density, (n,), and its slope; not for 'zbl'.

    E_i = F(ρ_i) f(ρ_core) + ρ_core, f fading from ``rho_core_cut - drho_core_cut`` to ``rho_core_cut``.
    """
    return fading(core_density, embedding.rho_core_cut, embedding.drho_core_cut)


def nearest_switch(r: Array, bonds: list[Bond]) -> tuple[int, float, float]:
    """
    Return the neighbour that decides, what remains of the embedded energy, and its slope by that distance; 'zbl'.

    ``r``: (n,) Å of the neighbours of one atom, one bond each. The neighbour deepest in its inner cut-off decides:
    least r - (r_in - δ). E_i = F(ρ_i) f + ρ_core (1 - f), f 1 above r_in and 0 below r_in - δ; (-1, 1, 0) for an
    atom without neighbours.
    """
    if not len(r):
        return -1, 1.0, 0.0
    depth = [distance - (bond.inner_cutoff - bond.inner_width) for distance, bond in zip(r, bonds, strict=True)]
    nearest = int(np.argmin(depth))
    bond = bonds[nearest]
    f, df = fading(np.array([bond.inner_cutoff - r[nearest]]), bond.inner_width, bond.inner_width)
    return nearest, float(f[0]), -float(df[0])
