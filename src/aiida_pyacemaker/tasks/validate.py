"""Task ``validate``: the student against its teacher, and a miniature MD run with its extrapolation grades."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray
from pydantic import Field

from ..science.config import ValidationConfig
from ..science.pools import most_compact_supercell, relax_structure
from ..science.student import Student, load_student
from ..science.teacher import load_teacher, teacher_calculator
from ..science.validation import (
    EquationOfState,
    Gate,
    MdProfile,
    PhaseProperties,
    check_gates,
    measure_phase,
    run_miniature_md,
    unmeasured_phase,
)
from .base import Progress, Task, TaskFailure
from .inputs import check_elements, read_frames
from .pieces import Arrays, reuse_arrays

MD_ATOMS = 64
N_STAGES = 4


class ValidateTask(Task):
    """Folder of the student, teacher, prototypes; gates are judged on the one the teacher finds most stable."""

    potential: str
    models: tuple[str, ...] = Field(min_length=1)
    structures: str
    validation: ValidationConfig = ValidationConfig()
    dtype: Literal['float32', 'float64'] = 'float64'
    seed: int = 0

    def run(self, progress: Progress) -> dict[str, Any]:
        """Write ``arrays.npz``; return the gates and what they were judged on."""
        student, teacher, prototypes = self._read()
        ground = reuse_arrays('ground', lambda: _find_ground_phase(prototypes, teacher))
        atoms = prototypes[int(ground['index'])]
        progress.report('ground', 1, N_STAGES)
        of_teacher = _phase(reuse_arrays('teacher', lambda: _arrays(measure_phase(atoms, teacher))))
        progress.report('teacher', 2, N_STAGES)
        of_student = _phase(reuse_arrays('student', lambda: _arrays(_measure_student(student, of_teacher))))
        progress.report('student', 3, N_STAGES)
        md = reuse_arrays('md', lambda: asdict(self._run_md(student, of_student, of_teacher)))
        profile = MdProfile(**{**md, 'end': str(md['end'])})  # type: ignore[arg-type]
        progress.report('md', N_STAGES, N_STAGES, end=profile.end)
        _write_arrays(of_student, of_teacher, profile)
        gates = check_gates(of_student, of_teacher, profile, self.validation)
        return {
            'passed': all(gate.passed for gate in gates),
            'gates': [_gate_row(gate) for gate in gates],
            'phase': {
                'structure': int(ground['index']),
                'formula': atoms.get_chemical_formula(),
                'cubic': of_teacher.cubic,
                'energies_per_atom': _plain(ground['energies']),
            },
            'eos': {'student': _eos_row(of_student.eos), 'teacher': _eos_row(of_teacher.eos)},
            'elastic': {'student': _plain(of_student.elastic), 'teacher': _plain(of_teacher.elastic)},
            'md': {
                'end': profile.end,
                'largest_gamma': _plain(profile.largest_gamma),
                'mean_gamma': _plain(np.mean(profile.gamma_mean)) if len(profile.step) else None,
                'mean_temperature': _plain(np.mean(profile.temperature)) if len(profile.step) else None,
            },
            'seed': self.seed,
        }

    def _read(self) -> tuple[Student, Calculator, list[Atoms]]:
        structures = read_frames(self.structures)
        try:
            student = load_student(self.potential)
        except (ValueError, KeyError, OSError) as error:
            raise TaskFailure('UNREADABLE_FILE', f'potential {self.potential}: {error}') from error
        if student.active_set is None:
            raise TaskFailure('INVALID_INPUT', f'{self.potential} holds no active set, so γ is unknown: fit it again')
        check_elements(structures, student.potential.elements, 'the potential')
        teacher = load_teacher([Path(model) for model in self.models], dtype=self.dtype)
        check_elements(structures, teacher.elements, 'the teacher')
        crystals = [atoms for atoms in structures.iter_atoms() if atoms.pbc.all()]
        if len(crystals) < len(structures):
            found = (
                f'{len(structures) - len(crystals)} of {len(structures)} structures are not periodic in all directions'
            )
            raise TaskFailure('INVALID_INPUT', f'structures: {found}; give crystals')
        return student, teacher_calculator(teacher), crystals

    def _run_md(self, student: Student, of_student: PhaseProperties, of_teacher: PhaseProperties) -> MdProfile:
        lattice = of_student if np.isfinite(of_student.eos.volume0) else of_teacher
        probe = student.calculator()

        def gamma(atoms: Atoms) -> NDArray[np.float64]:
            probe.calculate(atoms)
            return np.asarray(probe.results['gamma'])

        return run_miniature_md(
            most_compact_supercell(lattice.atoms, max_atoms=MD_ATOMS),
            student.calculator(with_gamma=False),
            gamma=gamma,
            n_steps=self.validation.md_steps,
            temperature_K=self.validation.md_temperature_K,
            rng=np.random.default_rng(self.seed),
        )


def _find_ground_phase(prototypes: list[Atoms], teacher: Calculator) -> Arrays:
    energies = []
    for atoms in prototypes:
        relaxed, _ = relax_structure(atoms, teacher, cell='isotropic', fmax=0.02, max_steps=50)
        relaxed.calc = teacher
        energies.append(relaxed.get_potential_energy() / len(relaxed))
    if not np.isfinite(energies).all():
        raise TaskFailure('NON_FINITE_RESULT', f'the teacher gives energies {energies} for the prototypes')
    return {'index': np.array(int(np.argmin(energies))), 'energies': np.array(energies)}


def _measure_student(student: Student, of_teacher: PhaseProperties) -> PhaseProperties:
    try:
        return measure_phase(of_teacher.atoms, student.calculator(with_gamma=False), volumes=of_teacher.eos.volumes)
    except (np.linalg.LinAlgError, ValueError, RuntimeError):  # a student without a minimum runs away
        return unmeasured_phase(of_teacher.atoms, of_teacher.eos.volumes)


def _arrays(phase: PhaseProperties) -> Arrays:
    atoms, eos = phase.atoms, phase.eos
    return {
        'numbers': atoms.numbers,
        'positions': atoms.positions,
        'cell': atoms.cell.array,
        'elastic': phase.elastic,
        'cubic': np.array(phase.cubic),
        **{f'eos_{name}': np.asarray(value) for name, value in asdict(eos).items()},
    }


def _phase(arrays: Arrays) -> PhaseProperties:
    curve = {name: float(arrays[f'eos_{name}']) for name in ('volume0', 'bulk_modulus', 'pressure_derivative')}
    eos = EquationOfState(volumes=arrays['eos_volumes'], energies=arrays['eos_energies'], **curve)
    atoms = Atoms(numbers=arrays['numbers'], positions=arrays['positions'], cell=arrays['cell'], pbc=True)
    return PhaseProperties(atoms=atoms, eos=eos, elastic=arrays['elastic'], cubic=bool(arrays['cubic']))


def _write_arrays(of_student: PhaseProperties, of_teacher: PhaseProperties, profile: MdProfile) -> None:
    np.savez(
        'arrays.npz',
        eos_volume=of_teacher.eos.volumes,
        eos_energy_student=of_student.eos.energies,
        eos_energy_teacher=of_teacher.eos.energies,
        elastic_student=of_student.elastic,
        elastic_teacher=of_teacher.elastic,
        md_step=profile.step,
        md_gamma_max=profile.gamma_max,
        md_gamma_mean=profile.gamma_mean,
        md_temperature=profile.temperature,
    )


def _gate_row(gate: Gate) -> dict[str, Any]:
    return {name: value if isinstance(value, str | bool) else _plain(value) for name, value in asdict(gate).items()}


def _eos_row(eos: EquationOfState) -> dict[str, Any]:
    return {name: _plain(getattr(eos, name)) for name in ('volume0', 'bulk_modulus', 'pressure_derivative')}


def _plain(value: Any) -> Any:
    """Return numbers as JSON knows them: lists, floats, and ``None`` for what is not finite."""
    if np.ndim(value):
        return [_plain(row) for row in value]
    return float(value) if np.isfinite(value) else None


TASK = ValidateTask
