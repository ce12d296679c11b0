"""What DFT makes of a structure as far as cutting must know it: its electrons and what its SCF costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ..dft import is_magnetic, put_in_box, scf_work
from ..dft.pseudo_hydrogen import cap_hosts
from ..frames import SHELL_CAP

NOBLE_GASES = (86, 54, 36, 18, 10, 2)
LARGEST_D_BLOCK = 12  # a shell of s and d electrons; what is beyond has a closed d shell below its p electrons
VACUUM_A = 6.0  # on both sides of a direction without a cell vector


def valence_electrons(number: int) -> int:
    """Return the electrons outside closed shells, as in pseudopotentials without semicore states."""
    core = next((gas for gas in NOBLE_GASES if gas < number), 0)
    outer = number - core
    if core == 54 and number > 70:
        outer -= 14
    if core >= 18 and outer > LARGEST_D_BLOCK and not 57 <= number <= 70:
        outer -= 10
    return outer


@dataclass(frozen=True, kw_only=True)
class LabelTheory:
    """The pseudopotentials' electrons and the k-points of periodic structures.

    valence: electrons by symbol, of the group of the periodic table where missing; cap_charges: charge (e) of a
    hydrogen cap by the atomic number of its host, 1 where missing; kpoints_distance: 1/Å, with 2π.
    """

    valence: Mapping[str, float] = field(default_factory=dict)
    cap_charges: Mapping[int, float] = field(default_factory=dict)
    kpoints_distance: float = 0.15

    def electrons(self, atoms: Atoms, shell: NDArray[np.int8]) -> float:
        """Return the number of valence electrons of the neutral structure; shell: (n,) ``SHELL_*``."""
        return float(sum(self.atom_electrons(atoms, shell)))

    def atom_electrons(self, atoms: Atoms, shell: NDArray[np.int8]) -> list[float]:
        """Return (n,) the valence electrons that each atom brings."""
        hosts = cap_hosts(atoms, shell == SHELL_CAP) if self.cap_charges else np.zeros(len(atoms), dtype=np.int64)
        return [self.cap_electrons(int(number), int(host)) for number, host in zip(atoms.numbers, hosts, strict=True)]

    def cap_electrons(self, number: int, host: int) -> float:
        """Return the electrons of an atom that is a cap on an atom of number ``host``, or none (0)."""
        return self.cap_charges.get(host) or self._valence(number)

    def work(self, atoms: Atoms, shell: NDArray[np.int8]) -> float:
        """Return the relative work of a static SCF, by the factory's measure at one plane-wave cut-off.

        Of a mesh only the k-points that time reversal leaves are counted. Two spins for magnetic elements, and for an
        odd number of electrons in a structure without periodic directions.
        """
        electrons = self.electrons(atoms, shell)
        is_radical = not atoms.pbc.any() and round(electrons) % 2 == 1
        magnetic = any(is_magnetic(symbol) for symbol in set(atoms.get_chemical_symbols()))
        return scf_work(
            put_in_box(atoms, VACUUM_A),
            n_electrons=electrons,
            ecutwfc_Ry=1.0,
            n_kpoints=count_kpoints(atoms, self.kpoints_distance),
            n_spins=2 if is_radical or magnetic else 1,
        )

    def _valence(self, number: int) -> float:
        return float(self.valence.get(chemical_symbols[number], valence_electrons(number)))


def count_kpoints(atoms: Atoms, distance: float) -> int:
    """Return how many points of the Γ-centred mesh of at most ``distance`` (1/Å, with 2π) time reversal leaves."""
    lengths = 2 * np.pi * np.linalg.norm(atoms.cell.reciprocal()[:], axis=1)
    counts = np.maximum(np.ceil(np.round(np.where(atoms.pbc, lengths, 0.0) / distance, 5)), 1).astype(int)
    own_mirrors = int(np.prod(np.where(counts % 2 == 0, 2, 1)))
    return (int(np.prod(counts)) + own_mirrors) // 2
