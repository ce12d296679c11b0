"""Radial functions of pacemaker's bases with first derivatives, and their node tables for the kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RADIAL_BASES = ('ChebExpCos', 'ChebPow', 'ChebLinear', 'SBessel')
INNER_CUTOFF_TYPES = ('distance', 'density', 'zbl')


@dataclass(frozen=True, kw_only=True, eq=False)
class Bond:
    """
    Radial functions of one ordered element pair; lengths in Å.

    ``coefficients``: (n_max, l_max + 1, n_base), R_nl = Σ_k c_nlk g_k. ``inner_cutoff`` 0 means none; else, by
    ``inner_cutoff_type``: 'distance', every function is switched off from ``inner_cutoff`` down to
    ``inner_cutoff - inner_width``; 'density', only the core repulsion fades the energy of an atom; 'zbl', its nearest
    neighbour does. ``core_repulsion``: prefactor (eV Å, a factor for 'zbl') and exponent (1/Å²).
    """

    base: str
    parameters: tuple[float, ...]
    cutoff: float
    cutoff_width: float
    coefficients: Array
    inner_cutoff: float = 0.0
    inner_width: float = 0.0
    core_repulsion: tuple[float, float] = (0.0, 0.0)
    inner_cutoff_type: str = 'distance'

    def __post_init__(self) -> None:
        for name, allowed in (('base', RADIAL_BASES), ('inner_cutoff_type', INNER_CUTOFF_TYPES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f'bond {name} is {getattr(self, name)}, expected one of {", ".join(allowed)}.')
        if np.ndim(self.coefficients) != 3:
            raise ValueError(f'bond coefficients have shape {np.shape(self.coefficients)}, expected (n, l + 1, k).')

    @property
    def acts_through_radials(self) -> bool:
        """Whether the bond acts through its radial functions alone: no core repulsion, no fading of whole atoms."""
        fades_atoms = self.inner_cutoff_type == 'zbl' and self.inner_cutoff > 0.0
        return self.core_repulsion[0] == 0.0 and not fades_atoms

    @property
    def n_max(self) -> int:
        """Number of radial functions R_nl per l."""
        return int(self.coefficients.shape[0])

    @property
    def l_max(self) -> int:
        """Largest l."""
        return int(self.coefficients.shape[1]) - 1

    @property
    def n_base(self) -> int:
        """Number of base functions g_k."""
        return int(self.coefficients.shape[2])


def _chebyshev(x: Array, count: int) -> tuple[Array, Array]:
    """Return T_0..T_count-1 and derivatives, (count, points)."""
    values = np.ones((max(count, 2), x.size))
    slopes = np.zeros_like(values)
    values[1], slopes[1] = x, 1.0
    for n in range(2, count):
        values[n] = 2.0 * x * values[n - 1] - values[n - 2]
        slopes[n] = 2.0 * values[n - 1] + 2.0 * x * slopes[n - 1] - slopes[n - 2]
    return values[:count], slopes[:count]


def _cheb_exp_cos(r: Array, bond: Bond) -> tuple[Array, Array]:
    """g_1 = 1, g_k = (1 - T_{k-1}(x))/2 of exponentially scaled distance, times (1 + cos πr/r_c)/2."""
    scale, cutoff = bond.parameters[0], bond.cutoff
    x = 2.0 * np.expm1(-scale * r / cutoff) / np.expm1(-scale) - 1.0
    dx = -2.0 * scale / cutoff * np.exp(-scale * r / cutoff) / np.expm1(-scale)
    cheb, slope = _chebyshev(x, bond.n_base)
    values, slopes = 0.5 - 0.5 * cheb, -0.5 * slope * dx
    values[0], slopes[0] = 1.0, 0.0
    envelope = 0.5 * (1.0 + np.cos(np.pi * r / cutoff))
    d_envelope = -0.5 * np.pi / cutoff * np.sin(np.pi * r / cutoff)
    return values * envelope, slopes * envelope + values * d_envelope


def _cheb_scaled(r: Array, bond: Bond) -> tuple[Array, Array]:
    """g_k = (1 - T_k(x))/2 with x = 1 - 2 (1 - r/r_c)^λ (ChebPow) or x = 1 - r/r_c (ChebLinear)."""
    y = 1.0 - r / bond.cutoff
    if bond.base == 'ChebPow':
        power = bond.parameters[0]
        x, dx = 1.0 - 2.0 * y**power, 2.0 * power / bond.cutoff * y ** (power - 1.0)
    else:
        x, dx = y, np.full_like(y, -1.0 / bond.cutoff)
    cheb, slope = _chebyshev(x, bond.n_base + 1)
    return 0.5 - 0.5 * cheb[1:], -0.5 * slope[1:] * dx


def _sinc(x: Array) -> tuple[Array, Array]:
    """Return sin(x)/x and its derivative, by series near 0."""
    small = np.abs(x) < 1e-2
    safe = np.where(small, 1.0, x)
    value = np.where(small, 1.0 - x**2 / 6.0 + x**4 / 120.0, np.sin(safe) / safe)
    series = -x / 3.0 + x**3 / 30.0 - x**5 / 840.0
    return value, np.where(small, series, (np.cos(safe) - np.sin(safe) / safe) / safe)


def _simplified_bessel(r: Array, bond: Bond) -> tuple[Array, Array]:
    """Orthogonal spherical-Bessel combinations (E. Kocer, J. K. Mason, H. Erturk, AIP Adv. 10, 015021, 2020)."""
    cutoff = bond.cutoff
    values, slopes = np.zeros((2, bond.n_base, r.size))
    denominator = 1.0
    for n in range(bond.n_base):
        norm = (-1.0) ** n * np.sqrt(2.0) * np.pi / cutoff**1.5
        norm *= (n + 1) * (n + 2) / np.hypot(n + 1, n + 2)
        for k in (n + 1, n + 2):
            value, slope = _sinc(k * np.pi * r / cutoff)
            values[n] += norm * value
            slopes[n] += norm * slope * k * np.pi / cutoff
        if n:
            e = n**2 * (n + 2) ** 2 / (4.0 * (n + 1) ** 4 + 1.0)
            mixing, denominator = np.sqrt(e / denominator), 1.0 - e / denominator
            values[n] = (values[n] + mixing * values[n - 1]) / np.sqrt(denominator)
            slopes[n] = (slopes[n] + mixing * slopes[n - 1]) / np.sqrt(denominator)
    return values, slopes


def _outer_switch(r: Array, bond: Bond) -> tuple[Array, Array]:
    """Cosine switch to zero over the last ``cutoff_width``; only pacemaker's ChebExpCos has it."""
    start = bond.cutoff - bond.cutoff_width
    if bond.cutoff_width <= 0.0:
        return (r < bond.cutoff).astype(float), np.zeros_like(r)
    phase = np.pi * np.clip((r - start) / bond.cutoff_width, 0.0, 1.0)
    return 0.5 * (1.0 + np.cos(phase)), -0.5 * np.pi / bond.cutoff_width * np.sin(phase)


def fading(x: Array, end: float, width: float) -> tuple[Array, Array]:
    """
    Return f and df/dx: 1 up to ``end - width``, 0 from ``end`` on, two derivatives continuous.

    f = 1 - s³ (10 - 15 s + 6 s²) with s = (x - end)/width + 1 between; a step at ``end`` where width is 0.
    """
    if width <= 0.0:
        return (x < end).astype(float), np.zeros_like(x)
    s = np.clip((x - end) / width + 1.0, 0.0, 1.0)
    return 1.0 - s**3 * (10.0 - 15.0 * s + 6.0 * s * s), -30.0 * (s * (1.0 - s)) ** 2 / width


def _inner_switch(r: Array, bond: Bond) -> tuple[Array, Array]:
    """
    Return what the inner cut-off leaves of the radial functions, and its slope.

    'distance': 1 - fading(r; r_in, δ). The other kinds are meant to leave them alone; LAMMPS nevertheless drops them
    in one step, for 'density' at r_in - δ, for 'zbl' without a width at 1 Å, and so must we.
    """
    if bond.inner_cutoff_type == 'distance':
        value, slope = fading(r, bond.inner_cutoff, bond.inner_width)
        return 1.0 - value, -slope
    step = bond.inner_cutoff - bond.inner_width
    if bond.inner_cutoff_type == 'zbl':
        step = 1.0 if bond.inner_width == 0.0 else 0.0
    return (r > step).astype(float) if step > 0.0 else np.ones_like(r), np.zeros_like(r)


def base_functions(r: Array, bond: Bond) -> tuple[Array, Array]:
    """Return g_k(r) and dg_k/dr, (n_base, points), zero from the cut-off on."""
    inside = np.minimum(r, bond.cutoff)
    if bond.base == 'SBessel':
        values, slopes = _simplified_bessel(inside, bond)
    elif bond.base == 'ChebExpCos':
        values, slopes = _cheb_exp_cos(inside, bond)
    else:
        values, slopes = _cheb_scaled(inside, bond)
    switches = [_inner_switch(inside, bond)]
    if bond.base == 'ChebExpCos':
        switches.append(_outer_switch(inside, bond))
    for value, slope in switches:
        values, slopes = values * value, slopes * value + values * slope
    return values * (r < bond.cutoff), slopes * (r < bond.cutoff)


def radial_functions(r: Array, bond: Bond) -> tuple[Array, Array]:
    """Return values and derivatives of g_1.., then R_nl with n fastest, (n_base + (l_max + 1) n_max, points)."""
    values, slopes = base_functions(r, bond)
    mixing = bond.coefficients.transpose(1, 0, 2).reshape(-1, bond.n_base)
    return np.concatenate([values, mixing @ values]), np.concatenate([slopes, mixing @ slopes])


def node_table(bond: Bond, n_bins: int, spacing: float) -> Array:
    """
    Return the cubic-Hermite nodes of `radial_functions`, (n_bins + 1, 2, functions): value and spacing × derivative.

    With a spacing of 0.001 Å the interpolant and its derivative agree with the functions to about 1e-11.
    """
    r: Array = np.arange(n_bins + 1) * np.float64(spacing)
    values, slopes = radial_functions(r, bond)
    return np.ascontiguousarray(np.stack([values.T, slopes.T * spacing], axis=1))
