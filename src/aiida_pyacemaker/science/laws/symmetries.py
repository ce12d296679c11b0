"""Laws of symmetry: what must not change the energy, and how forces and stress follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from .examples import Examples, LawFinding, is_worse

Array = NDArray[np.float64]
Answer = tuple[float, Array, Array]

TOLERANCE = 1e-8  # times max(1, largest value): round-off of sums in double precision
QUANTITIES = ('energy (eV)', 'forces (eV/Å)', 'stress (eV/Å³)')
VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])
TENSOR = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


def answer(examples: Examples, atoms: Atoms) -> Answer:
    """Return energy eV, forces (n, 3) eV/Å and stress (6,) eV/Å³ or (0,)."""
    return examples.energy(atoms), examples.forces(atoms), examples.stress(atoms)


def _worst(law: str, examples: Examples, changes: Iterable[tuple[Atoms, Answer]]) -> LawFinding:
    """Return the largest difference between the answer for each changed structure and the answer expected."""
    worst, detail = 0.0, 'energies, forces and stresses agree'
    for atoms, expected in changes:
        found = answer(examples, atoms)
        for what, mine, wanted in zip(QUANTITIES, map(np.asarray, found), map(np.asarray, expected), strict=True):
            difference = float(np.abs(mine - wanted).max(initial=0.0))
            relative = difference / max(1.0, float(np.abs(wanted).max(initial=0.0)))
            if is_worse(relative, worst):
                worst, detail = relative, f'{what} of {atoms.symbols} differ by {difference:.3g}'
    return LawFinding(law=law, deviation=worst, tolerance=TOLERANCE, detail=detail)


def rotation(examples: Examples) -> LawFinding:
    """Check that turning or mirroring a structure keeps its energy, and that forces and stress turn with it."""

    def changes() -> Iterator[tuple[Atoms, Answer]]:
        for index, atoms in enumerate(examples.structures):
            energy, forces, stress = answer(examples, atoms)
            for sign in (1.0, -1.0):
                turn = sign * Rotation.random(random_state=int(examples.rng(index).integers(2**31))).as_matrix()
                turned = atoms.copy()
                turned.set_cell(atoms.cell @ turn.T)
                turned.positions = atoms.positions @ turn.T
                tensor = (turn @ stress[TENSOR] @ turn.T)[VOIGT] if len(stress) else stress
                yield turned, (energy, forces @ turn.T, tensor)

    return _worst('rotation', examples, changes())


def permutation(examples: Examples) -> LawFinding:
    """Check that two atoms of one element may change places, each taking the force of its new place."""

    def changes() -> Iterator[tuple[Atoms, Answer]]:
        for atoms in examples.structures:
            energy, forces, stress = answer(examples, atoms)
            for number in sorted(set(atoms.numbers)):
                pair = np.flatnonzero(atoms.numbers == number)[[0, -1]]
                order = np.arange(len(atoms))
                order[pair] = pair[::-1]
                other = atoms.copy()
                other.positions = atoms.positions[order]
                yield other, (energy, forces[order], stress)

    return _worst('permutation', examples, changes())


def relabelling(examples: Examples) -> LawFinding:
    """Check that the order in which atoms and elements are listed, their tags and their masses mean nothing."""

    def changes() -> Iterator[tuple[Atoms, Answer]]:
        rng = examples.rng(2)
        for atoms in examples.structures:
            energy, forces, stress = answer(examples, atoms)
            for order in (rng.permutation(len(atoms)), np.arange(len(atoms))[::-1]):
                other = atoms[order]
                other.set_tags(rng.integers(9, size=len(atoms)))
                other.set_masses(rng.uniform(1.0, 200.0, len(atoms)))
                yield other, (energy, forces[order], stress)

    return _worst('relabelling', examples, changes())


def image_shift(examples: Examples) -> LawFinding:
    """Check that each atom may be written as any of its images, and that the whole may be moved."""

    def changes() -> Iterator[tuple[Atoms, Answer]]:
        rng = examples.rng(3)
        for atoms in examples.structures:
            images = rng.integers(-2, 3, size=(len(atoms), 3)) * atoms.pbc
            other = atoms.copy()
            other.positions += images @ atoms.cell.array + rng.uniform(-3.0, 3.0, 3)
            yield other, answer(examples, atoms)

    return _worst('image shift', examples, changes())


def size_consistency(examples: Examples) -> LawFinding:
    """Check that two cells, or two clusters far apart, have twice the energy, and the forces and stress of one."""

    def changes() -> Iterator[tuple[Atoms, Answer]]:
        for atoms in examples.structures:
            energy, forces, stress = answer(examples, atoms)
            periodic = np.flatnonzero(atoms.pbc)
            if len(periodic):
                copies = [1, 1, 1]
                copies[periodic[-1]] = 2
                double = atoms * copies
            else:
                other = atoms.copy()
                other.positions[:, 0] += np.ptp(atoms.positions[:, 0]) + 2.0 * examples.reach
                double = atoms + other
            yield double, (2.0 * energy, np.tile(forces, (2, 1)), stress)

    return _worst('size consistency', examples, changes())
