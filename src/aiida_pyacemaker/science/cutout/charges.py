"""Electronegativity: which elements are metals, how ionic a bond is, and a dipole that costs nothing."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from ..images import BOND_FACTOR

DEBYE_PER_eA = 4.80320
NOBLE = frozenset(('He', 'Ne', 'Ar', 'Kr', 'Xe', 'Rn'))
NONMETALS = NOBLE | frozenset(
    ('H', 'B', 'C', 'N', 'O', 'F', 'Si', 'P', 'S', 'Cl', 'Ge', 'As', 'Se', 'Br', 'Sb', 'Te', 'I')
)
UNKNOWN = 1.8  # of the elements without an entry, in the middle of the scale
# Pauling's scale (CRC Handbook of Chemistry and Physics, 97th edition, 9-103)
PAULING = {
    'H': 2.20, 'Li': 0.98, 'Be': 1.57, 'B': 2.04, 'C': 2.55, 'N': 3.04, 'O': 3.44, 'F': 3.98, 'Na': 0.93, 'Mg': 1.31,
    'Al': 1.61, 'Si': 1.90, 'P': 2.19, 'S': 2.58, 'Cl': 3.16, 'K': 0.82, 'Ca': 1.00, 'Sc': 1.36, 'Ti': 1.54, 'V': 1.63,
    'Cr': 1.66, 'Mn': 1.55, 'Fe': 1.83, 'Co': 1.88, 'Ni': 1.91, 'Cu': 1.90, 'Zn': 1.65, 'Ga': 1.81, 'Ge': 2.01,
    'As': 2.18, 'Se': 2.55, 'Br': 2.96, 'Rb': 0.82, 'Sr': 0.95, 'Y': 1.22, 'Zr': 1.33, 'Nb': 1.60, 'Mo': 2.16,
    'Tc': 2.10, 'Ru': 2.20, 'Rh': 2.28, 'Pd': 2.20, 'Ag': 1.93, 'Cd': 1.69, 'In': 1.78, 'Sn': 1.96, 'Sb': 2.05,
    'Te': 2.10, 'I': 2.66, 'Xe': 2.60, 'Cs': 0.79, 'Ba': 0.89, 'La': 1.10, 'Ce': 1.12, 'Pr': 1.13, 'Nd': 1.14,
    'Sm': 1.17, 'Gd': 1.20, 'Dy': 1.22, 'Ho': 1.23, 'Er': 1.24, 'Tm': 1.25, 'Lu': 1.27, 'Hf': 1.30, 'Ta': 1.50,
    'W': 1.70, 'Re': 1.90, 'Os': 2.20, 'Ir': 2.20, 'Pt': 2.20, 'Au': 2.40, 'Hg': 1.90, 'Tl': 1.80, 'Pb': 1.80,
    'Bi': 1.90, 'Th': 1.30, 'U': 1.70,
}  # fmt: skip

_SCALE = np.full(119, UNKNOWN)
for _symbol, _value in PAULING.items():
    _SCALE[atomic_numbers[_symbol]] = _value


def electronegativity(numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return Pauling's electronegativity by atomic number; elements without an entry are in the middle of the scale."""
    return np.asarray(_SCALE[numbers])


def point_charges(atoms: Atoms) -> NDArray[np.float64]:
    """Return (n,) charges (e): every bond moves 0.16 Δχ + 0.035 Δχ² electrons to its more electronegative end.

    Hannay and Smyth, J. Am. Chem. Soc. 68, 171 (1946). Bonds are shorter than 1.3 covalent sums; the charges of a
    structure add to zero.
    """
    first, second = neighbor_list('ij', atoms, list(BOND_FACTOR * covalent_radii[atoms.numbers]))
    scale = electronegativity(atoms.numbers)
    difference = scale[second] - scale[first]
    moved = np.sign(difference) * (0.16 * np.abs(difference) + 0.035 * difference**2)
    return np.asarray(np.bincount(first, weights=moved, minlength=len(atoms)), dtype=float)


def dipole(atoms: Atoms) -> float:
    """Return the length (D) of the dipole of the point charges; for a structure without periodic directions."""
    return float(np.linalg.norm(point_charges(atoms) @ atoms.positions)) * DEBYE_PER_eA
