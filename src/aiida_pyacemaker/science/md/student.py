"""What the engine asks: the embedded ACE potential for forces, a committee of teachers for its doubts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ..ace.active_set import ActiveSet, grade_rows
from ..ace.evaluator import evaluate_neighbours
from ..ace.potential import AcePotential
from ..neighbours import Floats, Integers, Pairs
from .server import Answer, Geometry

_LAMMPS_VOIGT = [0, 1, 2, 5, 4, 3]  # ASE: xx yy zz yz xz xy; LAMMPS: xx yy zz xy xz yz


class StudentEvaluator:
    """ACE potential, with its active set where γ is asked for, and atoms of ``elements`` (one per LAMMPS type)."""

    def __init__(self, potential: AcePotential, active_set: ActiveSet | None, elements: Sequence[str]) -> None:
        for element in elements:
            if element not in potential.elements:
                raise ValueError(
                    f'Element {element} is not supported by ACE-potential, known: {list(potential.elements)}'
                )
        self.potential = potential
        self.cutoff = float(potential.cutoff)
        self._inverses = [] if active_set is None else _inverses(potential, active_set)
        self._species = np.array([potential.elements.index(element) for element in elements], dtype=np.int64)

    def evaluate(self, elements: Integers, pairs: Pairs, *, with_gamma: bool) -> Answer:
        """Return energy, forces, virial in LAMMPS' order, γ or None (see :class:`~.server.Evaluator`)."""
        species = self._species[elements]
        found = evaluate_neighbours(
            self.potential, species, pairs.starts, pairs.second, pairs.vectors, with_projections=with_gamma
        )
        gamma = None
        if found.projections is not None:
            gamma = np.full(len(species), np.inf)
            for index, inverse in enumerate(self._inverses):
                members = species == index
                gamma[members] = grade_rows(found.projections[members, : len(inverse)], inverse)
        return float(found.energies.sum()), found.forces, found.virial[_LAMMPS_VOIGT], gamma


def _inverses(potential: AcePotential, active_set: ActiveSet) -> list[NDArray[np.float64]]:
    """Return the inverse of every element; ``ValueError`` when they are not those of this potential."""
    for element, count in zip(potential.elements, potential.n_functions, strict=True):
        found = active_set.inverses.get(element, np.zeros((0, 0))).shape
        if found != (count, count):
            raise ValueError(
                f'active set of {element} has shape {found}, expected {(count, count)}: not of this potential'
            )
    return [active_set.inverses[element] for element in potential.elements]


def load_student(potential_path: str, active_set_path: str | None, elements: list[str]) -> StudentEvaluator:
    """Read a ``.yaml`` or ``.yace`` and an ``.asi`` where γ is wanted; ``ValueError`` names what does not fit."""
    active_set = None if active_set_path is None else ActiveSet.read(active_set_path)
    return StudentEvaluator(AcePotential.read(potential_path), active_set, elements)


class CommitteeGrader:
    """How far the members of a teacher disagree about each force, as :data:`~.server.Grader`."""

    def __init__(self, files: Sequence[Path], elements: Sequence[str]) -> None:
        """Load the members; ``ValueError`` for fewer than two, which never disagree, or an element none knows."""
        from ..teacher import load_teacher, teacher_calculator

        teacher = load_teacher(files)
        if teacher.n_members < 2:
            raise ValueError(f'the teacher has {teacher.n_members} member, expected two or more: one never disagrees')
        self._numbers = np.array([atomic_numbers[element] for element in elements])
        teacher.check_numbers(self._numbers)
        self._calculator = teacher_calculator(teacher)

    def __call__(self, elements: Integers, geometry: Geometry) -> Floats:
        """Return (n,) the rms distance of the members' forces from their mean, eV/Å."""
        positions, cell, pbc = geometry
        atoms = Atoms(self._numbers[elements], positions, cell=cell, pbc=pbc)
        self._calculator.calculate(atoms, ['forces'])
        return np.asarray(self._calculator.results['uncertainty'], dtype=np.float64)
