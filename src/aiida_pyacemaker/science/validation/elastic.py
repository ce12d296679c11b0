"""Elastic constants from stresses of small strains, and the stability they imply."""

from __future__ import annotations

import numpy as np
import spglib
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.stress import voigt_6_to_full_3x3_strain
from numpy.typing import NDArray

from ..pools.generators.strained import apply_strain
from ..pools.lattice import relax_structure

STRAIN = 0.005
SYMMETRY_TOLERANCE_A = 1e-2
INTERNAL_FMAX = 0.002
# Voigt pair -> index, in ASE's order xx, yy, zz, yz, xz, xy
VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
FIRST, SECOND = np.array([0, 1, 2, 1, 0, 0]), np.array([0, 1, 2, 2, 2, 1])


def elastic_constants(atoms: Atoms, calculator: Calculator, *, strain: float = STRAIN) -> NDArray[np.float64]:
    """Return C (6, 6) in GPa, ASE's Voigt order, of a relaxed crystal: relaxed-ion, and of its symmetry.

    C_ij = (σ_i(+ε_j) - σ_i(-ε_j)) / 2ε with engineering shear strains and the atoms relaxed at every strain. The
    result is averaged over the point group of ``atoms``.
    """
    columns = []
    for component in range(6):
        stresses = [_relaxed_stress(atoms, calculator, sign * strain, component) for sign in (1.0, -1.0)]
        columns.append((stresses[0] - stresses[1]) / (2 * strain))
    raw = np.array(columns).T / units.GPa
    return symmetrise(0.5 * (raw + raw.T), point_group(atoms))


def point_group(atoms: Atoms) -> NDArray[np.float64]:
    """Return (n, 3, 3) Cartesian rotations, proper and improper, of the crystal's point group."""
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    # the symmetry of the crystal, not of a supercell's shape; no_idealize keeps the orientation
    primitive = spglib.standardize_cell(cell, to_primitive=True, no_idealize=True, symprec=SYMMETRY_TOLERANCE_A)
    found = None if primitive is None else spglib.get_symmetry(primitive, SYMMETRY_TOLERANCE_A)
    if found is None:
        return np.eye(3)[None]
    columns = np.asarray(primitive[0]).T
    return columns @ np.unique(found['rotations'], axis=0) @ np.linalg.inv(columns)


def is_cubic(rotations: NDArray[np.float64]) -> bool:
    """Return whether the point group has four three-fold axes, that is eight proper rotations of zero trace."""
    proper = np.linalg.det(rotations) > 0
    return int(np.count_nonzero(proper & (np.abs(np.trace(rotations, axis1=1, axis2=2)) < 0.1))) == 8


def symmetrise(constants: NDArray[np.float64], rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the average of (6, 6) elastic constants over (n, 3, 3) rotations: c'_ijkl = R_ia R_jb R_kc R_ld c_abcd."""
    tensor = constants[VOIGT[:, :, None, None], VOIGT[None, None, :, :]]
    rotated = sum(np.einsum('ia,jb,kc,ld,abcd->ijkl', r, r, r, r, tensor, optimize=True) for r in rotations)
    mean = np.asarray(rotated) / len(rotations)
    return np.asarray(mean[FIRST[:, None], SECOND[:, None], FIRST[None, :], SECOND[None, :]])


def smallest_stiffness(constants: NDArray[np.float64]) -> float:
    """Return the smallest eigenvalue (GPa) of symmetric (6, 6) constants: positive for a Born-stable crystal.

    F. Mouhat and F.-X. Coudert, Phys. Rev. B 90, 224104 (2014), eq. 3. NaN when a constant is not finite.
    """
    return float(np.linalg.eigvalsh(constants)[0]) if np.isfinite(constants).all() else float('nan')


def born_stable(constants: NDArray[np.float64]) -> bool:
    """Return whether every homogeneous strain costs energy."""
    return smallest_stiffness(constants) > 0


def _relaxed_stress(atoms: Atoms, calculator: Calculator, strain: float, component: int) -> NDArray[np.float64]:
    deformation = voigt_6_to_full_3x3_strain(strain * np.eye(6)[component])  # 1 + ε, engineering shears halved
    strained = apply_strain(atoms, deformation - np.eye(3))
    relaxed, _ = relax_structure(strained, calculator, cell='fixed', fmax=INTERNAL_FMAX, max_steps=50)
    relaxed.calc = calculator
    return np.asarray(relaxed.get_stress(voigt=True), dtype=float)
