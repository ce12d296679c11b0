"""The committee's mean as an ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

from .committee import Teacher
from .labels import force_spread


class CommitteeCalculator(Calculator):
    """Energy, forces and (fully periodic structures) stress: the mean of a teacher's members.

    ``results['uncertainty']``: (n,) eV/Å, see :func:`~.labels.force_spread`.
    """

    implemented_properties: ClassVar[list[str]] = ['energy', 'free_energy', 'forces', 'stress']

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.teacher = teacher

    def calculate(
        self, atoms: Atoms | None = None, properties: Sequence[str] = ('energy',), system_changes: Any = all_changes
    ) -> None:
        """Ask all members; raise ``ValueError`` for an unknown element."""
        super().calculate(atoms, properties, system_changes)
        self.teacher.check_numbers(self.atoms.numbers)
        if 'stress' in properties and not self.atoms.pbc.all():
            raise PropertyNotImplementedError('stress is defined for fully periodic structures only')
        answer = self.teacher.evaluate([self.atoms])
        energy = float(answer.energy.mean())
        self.results = {
            'energy': energy,
            'free_energy': energy,
            'forces': answer.forces.mean(axis=0),
            'uncertainty': force_spread(answer.forces),
        }
        if self.atoms.pbc.all():
            self.results['stress'] = answer.stress.mean(axis=0)[0]


def teacher_calculator(teacher: Teacher) -> CommitteeCalculator:
    """Return an ASE calculator of the committee's mean."""
    return CommitteeCalculator(teacher)
