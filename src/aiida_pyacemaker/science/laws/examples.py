"""What laws are tried on, and what they find."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

Array = NDArray[np.float64]

DEFAULT_REACH = 12.0  # Å, where a calculator that names no cut-off is taken to have ended


@dataclass(frozen=True, kw_only=True)
class LawFinding:
    """What one law found: ``deviation`` against ``tolerance``; ``detail`` says of what, where and in which unit.

    ``applies`` is False for a law that the calculator has nothing to be judged by (it gives no stress).
    """

    law: str
    deviation: float
    tolerance: float
    detail: str
    applies: bool = True

    @property
    def holds(self) -> bool:
        """Whether the deviation is within the tolerance; NaN is not."""
        return not self.applies or self.deviation <= self.tolerance


@dataclass(frozen=True, kw_only=True)
class Examples:
    """A calculator and what to try it on: structures of its elements; ``reach``, Å, from where atoms are strangers."""

    calculator: Any
    structures: tuple[Atoms, ...]
    elements: tuple[str, ...]
    reach: float
    seed: int

    def rng(self, law: int) -> np.random.Generator:
        """Return the generator of law number ``law``: a law draws the same alone and among others."""
        return np.random.default_rng([self.seed, law])

    def energy(self, atoms: Atoms) -> float:
        """Return the energy, eV."""
        return float(self._of(atoms).get_potential_energy())

    def forces(self, atoms: Atoms) -> Array:
        """Return the forces (n, 3), eV/Å."""
        return np.array(self._of(atoms).get_forces(), dtype=float)

    def stress(self, atoms: Atoms) -> Array:
        """Return the stress (6,), eV/Å³, Voigt, ASE's sign; empty without three periods or where not implemented."""
        if not atoms.pbc.all():
            return np.zeros(0)
        try:
            return np.array(self._of(atoms).get_stress(), dtype=float)
        except PropertyNotImplementedError:
            return np.zeros(0)

    def _of(self, atoms: Atoms) -> Atoms:
        copy = atoms.copy()
        copy.calc = self.calculator
        return copy


def make_examples(
    potential: Any, structures: Sequence[Atoms] | None, elements: Sequence[str] | None, seed: int
) -> Examples:
    """Return what to try ``potential`` on; ``ValueError`` when nothing names its elements."""
    inner = getattr(potential, 'potential', potential)
    present = {symbol for atoms in structures or () for symbol in atoms.get_chemical_symbols()}
    symbols = tuple(elements or getattr(inner, 'elements', None) or sorted(present))
    if not symbols:
        raise ValueError('the calculator names no elements: give elements=(...) or structures=[...]')
    return Examples(
        calculator=_calculator_of(potential),
        structures=tuple(structures or default_structures(symbols, np.random.default_rng(seed))),
        elements=symbols,
        reach=float(getattr(inner, 'cutoff', DEFAULT_REACH)),
        seed=seed,
    )


def _calculator_of(potential: Any) -> Any:
    """Return an ASE calculator of an ACE potential or a student; a calculator is returned as it is."""
    from ..ace.calculator import AceCalculator
    from ..ace.potential import AcePotential

    if isinstance(potential, AcePotential):
        return AceCalculator(potential)
    make = getattr(potential, 'calculator', None)
    return make(with_gamma=False) if callable(make) else potential


def is_worse(value: float, worst: float) -> bool:
    """Return whether ``value`` is above ``worst`` or not a number; nothing is worse than what is not a number."""
    return not (value <= worst or np.isnan(worst))


def bond_length(first: str, second: str) -> float:
    """Return the sum of the covalent radii, Å."""
    return float(covalent_radii[atomic_numbers[first]] + covalent_radii[atomic_numbers[second]])


def default_structures(elements: Sequence[str], rng: np.random.Generator) -> Iterator[Atoms]:
    """Yield two rattled, sheared cells and a cluster in which every element occurs (up to eight of them)."""
    length = float(np.mean([bond_length(element, element) for element in elements]))
    for stretch in (1.0, 1.15):
        atoms = bulk('X', 'fcc', a=stretch * length * np.sqrt(2), cubic=True) * (2, 1, 1)
        atoms.symbols = rng.permutation(np.resize(list(elements), len(atoms)))
        atoms.set_cell(atoms.cell @ (np.eye(3) + rng.uniform(-0.04, 0.04, (3, 3))), scale_atoms=True)
        atoms.positions += rng.uniform(-0.07, 0.07, atoms.positions.shape) * length
        yield atoms
    corners = np.array([[0, 0, 0], [1, 0.1, 0], [0.4, 0.95, 0.1], [0.5, 0.4, 0.9], [1.5, 1.0, 0.7]])
    yield Atoms(np.resize(list(elements), 5), positions=length * corners)
