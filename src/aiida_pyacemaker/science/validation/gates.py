"""The gates between a fit and its use: the student against its teacher, each with value, limit and verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from ..config import ValidationConfig
from ..pools.lattice import relax_structure
from .elastic import elastic_constants, is_cubic, point_group, smallest_stiffness
from .equation_of_state import EquationOfState, equation_of_state, volumes_around
from .miniature_md import MdProfile

RELAXATION_FMAX = 0.005
CUBIC_COMPONENTS = ((0, 0), (0, 1), (3, 3))
DIAGONAL_COMPONENTS = tuple((index, index) for index in range(6))
SMALL_CONSTANT = 0.1  # of the teacher's largest constant: errors of smaller ones are relative to this


@dataclass(frozen=True, kw_only=True)
class PhaseProperties:
    """One crystal under one model: relaxed structure, equation of state, elastic (6, 6) GPa, cubic or not."""

    atoms: Atoms
    eos: EquationOfState
    elastic: NDArray[np.float64]
    cubic: bool


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One verdict: ``value`` is what ``limit`` bounds, made of student's and teacher's numbers; NaN where absent."""

    name: str
    value: float
    limit: float
    student: float
    teacher: float
    passed: bool


def measure_phase(
    atoms: Atoms, calculator: Calculator, *, volumes: NDArray[np.float64] | None = None
) -> PhaseProperties:
    """Relax ``atoms`` with the calculator, cell included, and return its properties.

    The equation of state is taken at ``volumes`` (n,) Å³, by default around the relaxed volume.
    """
    relaxed, _ = relax_structure(atoms, calculator, cell='full', fmax=RELAXATION_FMAX)
    wanted = volumes_around(relaxed.get_volume()) if volumes is None else volumes
    return PhaseProperties(
        atoms=relaxed,
        eos=equation_of_state(relaxed, calculator, wanted),
        elastic=elastic_constants(relaxed, calculator),
        cubic=is_cubic(point_group(relaxed)),
    )


def check_gates(
    student: PhaseProperties, teacher: PhaseProperties, profile: MdProfile, config: ValidationConfig
) -> tuple[Gate, ...]:
    """Return the gates in fixed order: lattice, bulk modulus, elastic constants, Born stability, MD length, MD γ.

    lattice: cube root of the cell's equilibrium volume, Å. Elastic gates are C11, C12, C44 for a cubic crystal, else
    the diagonal. Anything that is not a number fails.
    """
    gates = [
        _relative(
            'lattice',
            float(np.cbrt(student.eos.volume0)),
            float(np.cbrt(teacher.eos.volume0)),
            limit=config.tolerance_lattice,
        ),
        _relative('bulk_modulus', student.eos.bulk_modulus, teacher.eos.bulk_modulus, limit=config.tolerance_bulk),
    ]
    floor = SMALL_CONSTANT * float(np.abs(teacher.elastic).max())
    for row, column in CUBIC_COMPONENTS if teacher.cubic else DIAGONAL_COMPONENTS:
        name = f'C{row + 1}{column + 1}'
        values = float(student.elastic[row, column]), float(teacher.elastic[row, column])
        gates.append(_relative(name, *values, limit=config.tolerance_elastic, floor=floor))
    gates.append(_born(student, teacher))
    gates += _md(profile, config)
    return tuple(gates)


def _relative(name: str, student: float, teacher: float, *, limit: float, floor: float = 0.0) -> Gate:
    error = abs(student - teacher) / max(abs(teacher), floor) if teacher else float('nan')
    return Gate(name=name, value=error, limit=limit, student=student, teacher=teacher, passed=bool(error <= limit))


def _born(student: PhaseProperties, teacher: PhaseProperties) -> Gate:
    softest = smallest_stiffness(student.elastic)
    return Gate(
        name='born_stability',
        value=np.nan,
        limit=0.0,
        student=softest,
        teacher=smallest_stiffness(teacher.elastic),
        passed=softest > 0,
    )


def _md(profile: MdProfile, config: ValidationConfig) -> list[Gate]:
    completed = profile.end == 'completed'
    steps = float(profile.step[-1]) if len(profile.step) else 0.0
    gamma, limit = profile.largest_gamma, config.md_max_gamma
    held = completed and gamma <= limit
    return [
        Gate(name='md_steps', value=np.nan, limit=config.md_steps, student=steps, teacher=np.nan, passed=completed),
        Gate(name='md_max_gamma', value=gamma, limit=limit, student=gamma, teacher=np.nan, passed=held),
    ]


def unmeasured_phase(atoms: Atoms, volumes: NDArray[np.float64]) -> PhaseProperties:
    """Return properties that are all NaN: those of a model that could not even relax ``atoms``; every gate fails."""
    nan = np.nan
    eos = EquationOfState(
        volumes=volumes, energies=np.full(len(volumes), nan), volume0=nan, bulk_modulus=nan, pressure_derivative=nan
    )
    return PhaseProperties(atoms=atoms, eos=eos, elastic=np.full((6, 6), nan), cubic=False)
