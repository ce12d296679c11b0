# mypy: allow-untyped-defs, allow-untyped-calls
"""Embedding functions and fading of one centre; twins of `embedding` and `core_repulsion`."""

from __future__ import annotations

import numpy as np
from numba import njit

OPTIONS = {'cache': True, 'error_model': 'numpy'}
SHIFTED_SCALED, POWER = 0, 1


@njit(**OPTIONS)
def shifted_scaled(density, exponent):
    """Return f and df/dρ of FinnisSinclairShiftedScaled."""
    if abs(exponent - 1.0) < 1e-10:
        return density, 1.0
    size, inverse = abs(density), 1.0 / exponent
    decay = np.exp(-size)
    x = inverse ** (inverse / (1.0 - inverse)) * decay
    y = inverse ** (1.0 / (1.0 - inverse)) * decay
    power = (x + size) ** exponent
    slope = y + exponent * (1.0 - x) * power / (x + size)
    return (y - power if density < 0.0 else power - y), slope


@njit(**OPTIONS)
def finnis_sinclair(density, exponent):
    """Return f and df/dρ of FinnisSinclair, straight near zero."""
    steepness = 1e6
    size, line = abs(density), steepness ** (1.0 - exponent)
    if size <= 1e-10:
        return line * density, line
    cube = (steepness * size) ** 3
    weight = np.exp(-cube) if cube <= 30.0 else 0.0
    d_weight = -3.0 * steepness**3 * size**2 * weight
    power = size**exponent
    value = (1.0 - weight) * power + line * weight * size
    slope = exponent * power / size * (1.0 - weight) + (line * size - power) * d_weight + line * weight
    return (-value if density < 0.0 else value), slope


@njit(**OPTIONS)
def fading(x, end, width):
    """Return f and df/dx: 1 up to ``end - width``, 0 from ``end`` on."""
    if width <= 0.0:
        return (1.0 if x < end else 0.0), 0.0
    s = (x - end) / width + 1.0
    s = 0.0 if s < 0.0 else (1.0 if s > 1.0 else s)
    return 1.0 - s * s * s * (10.0 - 15.0 * s + 6.0 * s * s), -30.0 * (s * (1.0 - s)) ** 2 / width


@njit(**OPTIONS)
def embed(kind, parameters, at, n_densities, densities, lane, slopes):
    """Return F(ρ) of one lane of the densities, (D, 8), and fill its slopes; ``at``: first of the parameters."""
    energy = 0.0
    for p in range(n_densities):
        prefactor, exponent = parameters[at + 2 * p], parameters[at + 2 * p + 1]
        value, slope = 0.0, 0.0
        if prefactor != 0.0:
            density = densities[p * 8 + lane]
            if kind == SHIFTED_SCALED:
                value, slope = shifted_scaled(density, exponent)
            else:
                value, slope = finnis_sinclair(density, exponent)
        energy += prefactor * value
        slopes[p * 8 + lane] = prefactor * slope
    return energy
