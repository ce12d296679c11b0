"""ASE calculator of an ACE potential, with baseline and extrapolation grade."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from ..neighbours import Pairs, VerletList
from .active_set import ActiveSet
from .evaluator import GradesProjections, evaluate

if TYPE_CHECKING:
    from ase import Atoms

    from .potential import AcePotential

Array = NDArray[np.float64]


class Baseline(Protocol):
    """What the calculator needs of a pair baseline."""

    @property
    def cutoff(self) -> float:
        """Å."""
        ...

    def evaluate(self, atoms: Atoms, pairs: Pairs | None = None) -> tuple[Array, Array, Array]:
        """Return energies (n,) eV, forces (n, 3) eV/Å, stress (6,) eV/Å³; pairs: all below the cut-off or more."""
        ...


class AceCalculator(Calculator):
    """
    Energy, energies, forces, stress and, with an active set, ``results['gamma']`` (n,), dimensionless.

    ``active_set``: the set, or the path of its ``.asi``. ``skin``: Å that the neighbour list reaches further, so that
    it outlives steps of MD and of a relaxation.
    """

    implemented_properties: ClassVar[list[str]] = ['energy', 'free_energy', 'energies', 'forces', 'stress']

    def __init__(
        self,
        potential: AcePotential,
        active_set: GradesProjections | str | Path | None = None,
        baseline: Baseline | None = None,
        *,
        skin: float = 1.0,
    ) -> None:
        super().__init__()
        self.potential = potential
        self.active_set = active_set_of(potential, active_set)
        self.baseline = baseline
        self._list = VerletList(max(potential.cutoff, baseline.cutoff if baseline is not None else 0.0), skin)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Evaluate; `ValueError` for an element unknown to the potential."""
        super().calculate(atoms, properties, system_changes)
        found = evaluate(self.potential, self.atoms, active_set=self.active_set, neighbours=self._list)
        parts = [(found.energies, found.forces, found.stress)]
        if self.baseline is not None and np.isfinite(found.energies).all():
            structure = self.atoms.positions, np.asarray(self.atoms.cell), self.atoms.pbc
            parts.append(self.baseline.evaluate(self.atoms, self._list.pairs(*structure)))
        energies, forces, stress = (sum(part) for part in zip(*parts, strict=True))
        results: dict[str, Any] = {'energies': energies, 'energy': float(np.sum(energies)), 'forces': forces}
        results['free_energy'] = results['energy']
        if self.atoms.pbc.all():
            results['stress'] = stress
        if found.gamma is not None:
            results['gamma'] = found.gamma
        self.results = results


def active_set_of(potential: AcePotential, given: GradesProjections | str | Path | None) -> GradesProjections | None:
    """Return the active set that ``given`` is or names; `ValueError` where it was built for another potential."""
    given = ActiveSet.read(given) if isinstance(given, str | Path) else given
    return given.of(potential) if isinstance(given, ActiveSet) else given
