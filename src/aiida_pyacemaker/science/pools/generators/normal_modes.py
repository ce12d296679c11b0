"""Normal-mode sampling of a molecule: thermal displacements along the modes of the calculator's Hessian."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from numpy.random import Generator
from numpy.typing import NDArray

from ..lattice import relax_structure

STEP_A = 0.01  # of the central differences
SOFTEST_CM = 100.0  # softer modes move as this one would: a hindered rotation is not harmonic


def make_normal_modes(
    atoms: Atoms, *, count: int, temperatures_K: Sequence[float], calculator: Calculator, rng: Generator
) -> list[Atoms]:
    """Return ``count`` classical harmonic samples of the relaxed molecule, the temperatures in turn.

    Each mode's mass-weighted amplitude is normal with variance kT / ω². Translations and rotations are left out.
    """
    relaxed, _ = relax_structure(atoms, calculator, cell='fixed', fmax=0.002)
    frequencies, modes = vibrations(relaxed, calculator)
    stiff = np.maximum(frequencies, SOFTEST_CM)
    omega = stiff * units.invcm  # hbar omega in eV
    omega /= units._hbar * units.J * units.s  # 1/ASE time
    samples = []
    for index in range(count):
        kelvin = temperatures_K[index % len(temperatures_K)]
        amplitudes = rng.standard_normal(len(omega)) * np.sqrt(units.kB * kelvin) / omega
        moved = relaxed.copy()
        moved.positions += (modes @ amplitudes).reshape(-1, 3) / np.sqrt(relaxed.get_masses())[:, None]
        samples.append(moved)
    return samples


def vibrations(atoms: Atoms, calculator: Calculator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return wavenumbers (m,) in 1/cm (imaginary ones negative) and mass-weighted modes (3 n, m) of a molecule.

    Rigid motions are projected out exactly: m is 3 n - 6, or 3 n - 5 for a linear molecule.
    """
    root_masses = np.repeat(np.sqrt(atoms.get_masses()), 3)
    matrix = _hessian(atoms, calculator) / np.outer(root_masses, root_masses)
    inner = _internal_space(atoms, root_masses)
    squares, vectors = np.linalg.eigh(inner.T @ matrix @ inner)
    omega = np.sign(squares) * np.sqrt(np.abs(squares))
    return omega * units._hbar * units.J * units.s / units.invcm, inner @ vectors


def _hessian(atoms: Atoms, calculator: Calculator) -> NDArray[np.float64]:
    """Return the symmetric (3 n, 3 n) Hessian in eV/Å² from central differences of the forces."""
    rows = []
    for atom, axis in np.ndindex(len(atoms), 3):
        forces = []
        for sign in (1.0, -1.0):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * STEP_A
            moved.calc = calculator
            forces.append(moved.get_forces().ravel())
        rows.append((forces[1] - forces[0]) / (2.0 * STEP_A))
    hessian = np.array(rows)
    return (hessian + hessian.T) / 2.0


def _internal_space(atoms: Atoms, root_masses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an orthonormal (3 n, m) basis of mass-weighted displacements without translation and rotation."""
    centred = atoms.positions - atoms.get_center_of_mass()
    rigid = [np.tile(axis, len(atoms)) for axis in np.eye(3)]
    rigid += [np.cross(axis, centred).ravel() for axis in np.eye(3)]
    vectors, singular, _ = np.linalg.svd((np.array(rigid) * root_masses).T, full_matrices=True)
    rank = int((singular > 1e-6 * singular[0]).sum())
    return vectors[:, rank:]
