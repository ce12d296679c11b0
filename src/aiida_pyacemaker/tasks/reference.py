"""Task ``reference``: labels of any ASE calculator, frame by frame, in place of a DFT program."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, get_calculator_class
from pydantic import Field

from ..science.dft import closest_pair, find_insanity
from ..science.frames import HAS_ENERGY, HAS_FORCES, HAS_STRESS, Frames, concatenate_frames
from .base import Progress, Task, TaskFailure


class ReferenceTask(Task):
    """Labels every frame with energy, forces and, where periodic and known to the calculator, stress.

    frames: file of frames; calculator: a name that ASE knows (``emt``, ``lj``) or ``package.module.Class``; parameters:
    what it is made with; limits in eV/Å as for DFT, the rigid one only for what has no periodic direction. A frame that
    fails, or whose label cannot be believed, is set apart with the reason.
    """

    frames: str
    calculator: str = 'emt'
    parameters: dict[str, Any] = Field(default_factory=dict)
    force_limit_eV_per_A: float = Field(50.0, gt=0)
    rigid_force_limit_eV_per_A: float = Field(0.1, gt=0)

    def run(self, progress: Progress) -> dict[str, Any]:
        """Write ``labels.npz`` (what was labelled) and ``quarantine.npz`` (the rest), in the order of the input."""
        try:
            frames = Frames.load(self.frames)
        except ValueError as error:
            raise TaskFailure('UNREADABLE_FILE', str(error)) from error
        calculator = make_calculator(self.calculator, self.parameters)
        parts: list[Frames] = []
        failed: dict[int, str] = {}
        for row in range(len(frames)):
            frame = frames.select([row])
            try:
                parts.append(self._label(frame, calculator))
            except Exception as error:  # a calculator of others may raise anything, and the other frames go on
                failed[row] = f'{type(error).__name__}: {error}'
            progress.report('reference', row + 1, len(frames), failed=len(failed))
        concatenate_frames(parts).save('labels.npz')
        frames.select(list(failed)).save('quarantine.npz')
        if failed and not parts:
            raise TaskFailure('NOTHING_LEFT', f'none of {len(frames)} frames has a label; first: {failed[0]}')
        return {
            'n_requested': len(frames),
            'n_labelled': len(parts),
            'n_failed': len(failed),
            'n_not_run': 0,
            'n_scf': len(parts),
            'labelled': [row for row in range(len(frames)) if row not in failed],
            'failed': [{'row': row, 'reason': reason} for row, reason in failed.items()],
            'not_run': [],
        }

    def _label(self, frame: Frames, calculator: Calculator) -> Frames:
        """Return the frame with its label; ``ValueError`` when there is none to believe."""
        atoms = frame.atoms(0)
        atoms.set_initial_magnetic_moments(frame.magmom)
        atoms.info['charge'] = float(frame.charge[0])
        _refuse(closest_pair(atoms))
        atoms.calc = calculator
        forces, stress = atoms.get_forces(), _stress(atoms)
        energy = _energy(atoms)
        limits = {'force_limit': self.force_limit_eV_per_A, 'rigid_force_limit': self.rigid_force_limit_eV_per_A}
        is_cluster = not atoms.pbc.any()
        _refuse(find_insanity(energy, atoms.positions, forces, is_cluster=is_cluster, **limits))
        columns: dict[str, Any] = {} if stress is None else {'stress': stress[None]}
        return frame.with_columns(
            energy=np.array([energy]),
            forces=forces,
            label_mask=np.array([HAS_ENERGY | HAS_FORCES | (0 if stress is None else HAS_STRESS)]),
            theory_id=np.array([0]),
            theories=(self._theory(),),
            **columns,
        )

    def _theory(self) -> dict[str, Any]:
        """Return what the labels are an answer of; ``dft`` is their part in training: what is taken for the truth."""
        return {'kind': 'dft', 'code': f'ase {self.calculator}', 'parameters': self.parameters}


def make_calculator(name: str, parameters: dict[str, Any]) -> Calculator:
    """Return the calculator ``name``, one of ASE's or ``package.module.Class``; ``INVALID_INPUT`` says what failed."""
    module, _, attribute = name.rpartition('.')
    try:
        made = getattr(importlib.import_module(module), attribute) if module else get_calculator_class(name)
        calculator: Calculator = made(**parameters)
    except Exception as error:  # the name and the parameters are the user's, and so is whatever goes wrong with them
        said = f'{type(error).__name__}: {error}'
        hint = 'expected a name that ASE knows or package.module.Class, and what it is made with'
        raise TaskFailure('INVALID_INPUT', f'calculator {name!r} with {parameters}: {said}; {hint}') from error
    return calculator


def _refuse(reason: str | None) -> None:
    if reason:
        raise ValueError(reason)


def _energy(atoms: Atoms) -> float:
    """Return the energy (eV) that the forces are the derivative of, where the calculator tells it apart."""
    try:
        return float(atoms.get_potential_energy(force_consistent=True))
    except PropertyNotImplementedError:
        return float(atoms.get_potential_energy())


def _stress(atoms: Atoms) -> Any:
    """Return (6,) eV/Å³ in Voigt order xx, yy, zz, yz, xz, xy; ``None`` where it means nothing or is not known."""
    if not atoms.pbc.all():
        return None
    try:
        return atoms.get_stress()
    except (PropertyNotImplementedError, NotImplementedError):
        return None


TASK = ReferenceTask
