"""The embedded ACE potential as :class:`~.server.Evaluator`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ace.active_set import ActiveSet, grade_rows
from ..ace.evaluator import evaluate_neighbours
from ..ace.potential import AcePotential
from ..neighbours import Integers, Pairs
from .server import Answer

_LAMMPS_VOIGT = [0, 1, 2, 5, 4, 3]  # ASE: xx yy zz yz xz xy; LAMMPS: xx yy zz xy xz yz


class StudentEvaluator:
    """ACE potential with its active set, for atoms of the given ``elements`` (one per LAMMPS type)."""

    def __init__(self, potential: AcePotential, active_set: ActiveSet, elements: Sequence[str]) -> None:
        for element in elements:
            if element not in potential.elements:
                raise ValueError(
                    f'Element {element} is not supported by ACE-potential, known: {list(potential.elements)}'
                )
        for element, count in zip(potential.elements, potential.n_functions, strict=True):
            found = active_set.inverses.get(element, np.zeros((0, 0))).shape
            if found != (count, count):
                raise ValueError(
                    f'active set of {element} has shape {found}, expected {(count, count)}: not of this potential'
                )
        self.potential = potential
        self.cutoff = float(potential.cutoff)
        self._inverses = [active_set.inverses[element] for element in potential.elements]
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


def load_student(potential_path: str, active_set_path: str, elements: list[str]) -> StudentEvaluator:
    """Read a B-basis ``.yaml`` and its ``.asi``; ``ValueError`` names what does not fit."""
    return StudentEvaluator(AcePotential.read(potential_path), ActiveSet.read(active_set_path), elements)
