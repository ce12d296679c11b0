"""Energy against volume and the Birch-Murnaghan fit through it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.eos import EquationOfState as BirchMurnaghanFit
from numpy.typing import NDArray

from ..pools.lattice import relax_structure

VOLUME_RANGE = 0.08
N_VOLUMES = 9


@dataclass(frozen=True, kw_only=True)
class EquationOfState:
    """Volumes (n,) Å³ and energies (n,) eV of one cell; fitted volume0 Å³, bulk_modulus GPa, pressure derivative.

    The fitted numbers are NaN when the curve has no minimum that a fit can find.
    """

    volumes: NDArray[np.float64]
    energies: NDArray[np.float64]
    volume0: float
    bulk_modulus: float
    pressure_derivative: float


def volumes_around(volume: float) -> NDArray[np.float64]:
    """Return (9,) volumes from 8 % below to 8 % above ``volume``, in its unit."""
    return volume * np.linspace(1 - VOLUME_RANGE, 1 + VOLUME_RANGE, N_VOLUMES)


def equation_of_state(atoms: Atoms, calculator: Calculator, volumes: NDArray[np.float64]) -> EquationOfState:
    """Return the curve of ``atoms`` scaled isotropically to ``volumes`` (n,) Å³, atoms relaxed at each."""
    energies = np.array([_relaxed_energy(atoms, calculator, volume) for volume in volumes])
    return EquationOfState(volumes=volumes, energies=energies, **fit_birch_murnaghan(volumes, energies))


def fit_birch_murnaghan(volumes: NDArray[np.float64], energies: NDArray[np.float64]) -> dict[str, float]:
    """Return ``volume0`` (Å³), ``bulk_modulus`` (GPa) and ``pressure_derivative`` of the third-order fit, or NaN.

    E(V) = E0 + 9/16 B V0 (η² - 1)² (6 + B' (η² - 1) - 4 η²) with η = (V0/V)^(1/3); F. Birch, Phys. Rev. 71, 809 (1947).
    """
    fit = BirchMurnaghanFit(volumes, energies, eos='birchmurnaghan')
    try:
        volume0, _, modulus = fit.fit(warn=False)
        values = (float(volume0), float(modulus / units.GPa), float(fit.eos_parameters[2]))
    except (RuntimeError, ValueError, TypeError):  # no convergence, energies that are not numbers
        values = (np.nan, np.nan, np.nan)
    if not (np.isfinite(values).all() and values[0] > 0 and values[1] > 0):
        values = (np.nan, np.nan, np.nan)
    return dict(zip(('volume0', 'bulk_modulus', 'pressure_derivative'), values, strict=True))


def _relaxed_energy(atoms: Atoms, calculator: Calculator, volume: float) -> float:
    scaled = atoms.copy()
    scaled.set_cell(atoms.cell.array * (volume / atoms.get_volume()) ** (1 / 3), scale_atoms=True)
    relaxed, _ = relax_structure(scaled, calculator, cell='fixed', max_steps=50)
    relaxed.calc = calculator
    return float(relaxed.get_potential_energy())
