"""What stays the same from fit to fit: the baseline, the energies of the free atoms, the bond length."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms

from ..ace import AcePotential, build_potential, evaluate
from ..ace.basis import resolve_basis
from ..ace.fit import fit_reference_energies
from ..ace.quality import nearest_distances
from ..baseline import PairBaseline, dimer_curves, fit_baseline
from ..config import BasisConfig, BondConfig, FitConfig, FunctionsConfig, OrdersConfig
from ..frames import Frames


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Baseline, E0 in eV by element, and the bond length in Å that sets a cut-off which is not given."""

    baseline: PairBaseline
    energies: Mapping[str, float]
    bond_length: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            'baseline': json.loads(self.baseline.to_json()),
            'reference_energies': dict(self.energies),
            'bond_length_A': self.bond_length,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Reference:
        """Read what :meth:`as_json` returned."""
        return cls(
            baseline=PairBaseline.from_json(json.dumps(values['baseline'])),
            energies=dict(values['reference_energies']),
            bond_length=values['bond_length_A'],
        )


def fit_reference(
    sources: Sequence[Frames], elements: Sequence[str], kind: Literal['LJ', 'ZBL'], dimers: Frames | None
) -> Reference:
    """Return the reference of a first fit: baseline from the labelled ``dimers``, E0 by least squares.

    ``ValueError`` when no frame has an energy: the zero would then be arbitrary.
    """
    baseline = fit_baseline(sorted(elements), kind, dimer_curves(dimers) if dimers is not None else None)
    distances = np.concatenate([np.zeros(0), *(nearest_distances(frames) for frames in sources)])
    return Reference(
        baseline=baseline,
        energies=fit_reference_energies(sources, sorted(elements), baseline),
        bond_length=float(np.median(distances)) if len(distances) else None,
    )


def inner_geometry(elements: Sequence[str], basis: BasisConfig, bond_length: float | None) -> AcePotential:
    """Return a potential that has the inner cut-offs of ``basis`` and nothing else."""
    resolved = resolve_basis(elements, basis, bond_length=bond_length)
    bonds = {pair: BondConfig(rcut=bond.rcut, r_in=bond.r_in, delta_in=bond.delta_in) for pair, bond in
             resolved.bonds.items()}  # fmt: skip
    one = FunctionsConfig(number_of_functions_per_element=1, ALL=OrdersConfig(
        nradmax_by_orders=(1,), lmax_by_orders=(0,)))  # fmt: skip
    return build_potential(elements, FitConfig(basis=BasisConfig(bonds=bonds, functions=one)))


class _Prediction:
    """A potential with its baseline, in the form in which reference energies are fitted to what it leaves."""

    def __init__(self, potential: AcePotential, baseline: PairBaseline) -> None:
        self.potential, self.baseline = potential, baseline

    @property
    def digest(self) -> str:
        return self.potential.digest + self.baseline.digest

    def evaluate(self, atoms: Atoms) -> tuple[Any, Any, Any]:
        energies, forces, stress = self.baseline.evaluate(atoms)
        found = evaluate(self.potential, atoms)
        return energies + found.energies, forces + found.forces, stress


def zero_shift(frames: Frames, potential: AcePotential, baseline: PairBaseline) -> dict[str, float]:
    """Return eV by element: by how much the zero of these labels lies above that of ``potential``.

    Another theory, or a teacher after training, has a zero of its own. It is the least-squares constant an element
    between label and prediction; without energies all are 0.
    """
    return fit_reference_energies([frames], potential.elements, _Prediction(potential, baseline))
