"""Any ASE calculator as a teacher: asked one structure after the other."""

from __future__ import annotations

import hashlib
import importlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, CalculatorError
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ...config import AseTeacherConfig
from ...neighbours import pairs_of
from ..engine import CommitteeLabels, Dtype, Engine

SHELLS = 8
REFUSALS = (CalculatorError, ArithmeticError, NotImplementedError, ValueError, np.linalg.LinAlgError)


@dataclass(frozen=True, kw_only=True, eq=False)
class CalculatorEngine(Engine):
    """One ASE calculator; ``calculator`` is never shared with structures that leave this engine."""

    PACKAGES: ClassVar[tuple[str, ...]] = ('ase',)
    HAS_STRESS: ClassVar[bool] = False  # a calculator may lack it: a label without stress is a label

    calculator: Calculator

    def evaluate(self, structures: Sequence[Atoms]) -> CommitteeLabels:
        """Ask for one structure after the other; one that the calculator refuses by an error has NaN."""
        starts = np.cumsum([0, *map(len, structures)])
        energy, stress = np.full((1, len(structures)), np.nan), np.full((1, len(structures), 6), np.nan)
        forces = np.full((1, starts[-1], 3), np.nan)
        has_stress = 'stress' in self.calculator.implemented_properties
        for index, atoms in enumerate(structures):
            asked = atoms.copy()
            asked.calc = self.calculator
            try:
                energy[0, index] = asked.get_potential_energy()
                forces[0, starts[index] : starts[index + 1]] = asked.get_forces()
                if has_stress and atoms.pbc.all():
                    stress[0, index] = asked.get_stress()
            except REFUSALS as error:
                energy[0, index] = np.nan
                warnings.warn(f'the teacher refused {atoms.get_chemical_formula()}: {error}', stacklevel=2)
        return CommitteeLabels(energy=energy, forces=forces, stress=stress)

    def describe(self, structures: Sequence[Atoms]) -> NDArray[np.float64]:
        """Return (m, 8 x elements): how densely the shells around an atom are filled, species by species."""
        return shell_densities(structures, self.elements, self.cutoff)


def shell_densities(structures: Sequence[Atoms], elements: Sequence[str], cutoff: float) -> NDArray[np.float64]:
    """Return (m, 8 x elements) Gaussian densities of neighbours: sum_j exp(-((r_ij - r_k) / w)² / 2) f_c(r_ij).

    r_k: centres in equal steps w up to ``cutoff`` in Å, one column a species and centre; f_c falls to 0 as a cosine.
    """
    width = cutoff / SHELLS
    centres = width * (np.arange(SHELLS) + 0.5)
    species = [atomic_numbers[symbol] for symbol in elements]
    blocks = []
    for atoms in structures:
        pairs = pairs_of(atoms.positions, atoms.cell[:], atoms.pbc, cutoff)
        distance = np.linalg.norm(pairs.vectors, axis=1)
        fade = 0.5 * (1 + np.cos(np.pi * distance / cutoff))
        filled = np.exp(-0.5 * ((distance[:, None] - centres) / width) ** 2) * fade[:, None]
        density = np.zeros((len(atoms), len(species), SHELLS))
        column = np.array([species.index(number) for number in atoms.numbers])
        np.add.at(density, (pairs.first, column[pairs.second]), filled)
        blocks.append(density.reshape(len(atoms), -1))
    return np.concatenate(blocks) if blocks else np.zeros((0, len(species) * SHELLS))


def open_calculator(settings: Mapping[str, Any], *, dtype: Dtype, device: str | None) -> CalculatorEngine:
    """Return the engine of the calculator that :class:`~aiida_pyacemaker.science.config.AseTeacherConfig` names.

    dtype and device are the calculator's own affair. Raise ``ValueError`` when it cannot be imported or made.
    """
    config = AseTeacherConfig.model_validate(dict(settings))
    module, _, name = config.model.partition(':')
    try:
        calculator = getattr(importlib.import_module(module), name)(**config.arguments)
    except (ImportError, AttributeError, TypeError) as error:
        raise ValueError(
            f'the ASE calculator {config.model} cannot be made with {config.arguments}: {error}'
        ) from error
    identity = json.dumps(config.model_dump(exclude={'licence'}), sort_keys=True)
    return CalculatorEngine(
        elements=tuple(sorted(config.elements)),
        cutoff=config.cutoff_A,
        dtype='float64',
        device='cpu',
        sha256=(hashlib.sha256(identity.encode()).hexdigest(),),
        licence=config.licence,
        calculator=calculator,
    )
