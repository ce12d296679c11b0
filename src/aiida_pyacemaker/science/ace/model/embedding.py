"""Embedding functions: the energy of an atom from its densities, and its fading where the core repulsion rules."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
EMBEDDING_KINDS = ('FinnisSinclair', 'FinnisSinclairShiftedScaled')
STEEPNESS = 1.0e6
"""1/density at which `finnis_sinclair` turns from a straight line into a power."""


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """
    F(ρ) = Σ_p w_p f(ρ_p; m_p) of one centre element.

    ``parameters``: (2 D,) pairs w_p (eV), m_p of the D densities; ``kind`` names f. The energy fades as the core
    density grows from ``rho_core_cut - drho_core_cut`` to ``rho_core_cut``, eV.
    """

    kind: str = 'FinnisSinclairShiftedScaled'
    parameters: tuple[float, ...] = (1.0, 1.0)
    rho_core_cut: float = 100000.0
    drho_core_cut: float = 250.0

    def __post_init__(self) -> None:
        object.__setattr__(self, 'parameters', tuple(float(value) for value in self.parameters))
        if self.kind not in EMBEDDING_KINDS:
            raise ValueError(f'embedding kind is {self.kind}, expected one of {", ".join(EMBEDDING_KINDS)}.')
        if not self.parameters or len(self.parameters) % 2 or not np.isfinite(self.parameters).all():
            raise ValueError(f'embedding parameters are {self.parameters}, expected a prefactor and an exponent each.')

    @property
    def n_densities(self) -> int:
        """Number of densities D."""
        return len(self.parameters) // 2

    @property
    def is_linear(self) -> bool:
        """Whether F(ρ) = ρ, and nothing fades without a core density."""
        return self.parameters == (1.0, 1.0) and self.drho_core_cut <= self.rho_core_cut

    def padded(self, n_densities: int) -> Embedding:
        """Return the same embedding with densities of prefactor 0 appended."""
        padding = (0.0, 1.0) * (n_densities - self.n_densities)
        return replace(self, parameters=self.parameters + padding)

    def evaluate(self, densities: Array) -> tuple[Array, Array]:
        """Return F (n,) eV and dF/dρ (n, D) of ``densities`` (n, D)."""
        function = finnis_sinclair if self.kind == 'FinnisSinclair' else shifted_scaled
        values, slopes = np.zeros(len(densities)), np.zeros_like(densities)
        for p, (prefactor, exponent) in enumerate(zip(self.parameters[::2], self.parameters[1::2], strict=True)):
            if prefactor != 0.0:
                value, slope = function(densities[:, p], exponent)
                values += prefactor * value
                slopes[:, p] = prefactor * slope
        return values, slopes


def finnis_sinclair(density: Array, exponent: float) -> tuple[Array, Array]:
    """
    Return f and df/dρ, (n,): f = sgn(ρ) ((1 - g) |ρ|^m + g w^(1-m) |ρ|) with g = exp(-(w|ρ|)³).

    A power, made straight within 1/w = 1e-6 of zero so that its slope stays finite. g is 0 above (w|ρ|)³ = 30, and
    f is the line within |ρ| = 1e-10, as in pacemaker.
    """
    size = np.abs(density)
    line = STEEPNESS ** (1.0 - exponent)
    tiny = size <= 1e-10
    a = np.where(tiny, 1.0, size)
    cube = (STEEPNESS * a) ** 3
    weight = np.where(cube > 30.0, 0.0, np.exp(-np.minimum(cube, 31.0)))
    d_weight = -3.0 * STEEPNESS**3 * a**2 * weight
    power = a**exponent
    value = (1.0 - weight) * power + line * weight * a
    slope = exponent * a ** (exponent - 1.0) * (1.0 - weight) + (line * a - power) * d_weight + line * weight
    return np.where(tiny, line * density, np.sign(density) * value), np.where(tiny, line, slope)


def shifted_scaled(density: Array, exponent: float) -> tuple[Array, Array]:
    """
    Return f and df/dρ, (n,): f = sgn(ρ) ((|ρ| + x)^m - y), the straight line ρ for m = 1.

    With n = 1/m: x = n^(n/(1-n)) e^(-|ρ|) and y = n^(1/(1-n)) e^(-|ρ|), so that f(0) = 0 and f'(0) = 1 + y - x: a
    power far from zero, without the singular slope at it.
    """
    if abs(exponent - 1.0) < 1e-10:
        return density.copy(), np.ones_like(density)
    size, inverse = np.abs(density), 1.0 / exponent
    decay = np.exp(-size)
    x = inverse ** (inverse / (1.0 - inverse)) * decay
    y = inverse ** (1.0 / (1.0 - inverse)) * decay
    value = (x + size) ** exponent - y
    slope = y + exponent * (1.0 - x) * (x + size) ** (exponent - 1.0)
    return np.where(np.signbit(density), -value, value), slope
