"""One cutout from beginning to end: build, relax, check."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ..ace import AcePotential, evaluate
from ..config import CutoutConfig
from ..frames import SHELL_CORE
from .acceptance import MAX_FRAME_FOR_TEACHER, check_label_geometry, check_training_geometry
from .label_geometry import LabelGeometry, RejectedCutoutError, build_label_geometry
from .relaxation import relax_boundary
from .training_geometry import TrainingGeometry, build_training_geometry

GROUP_IV = frozenset(('C', 'Si', 'Ge', 'Sn'))

__all__ = ['Cutout', 'RejectedCutoutError', 'Workbench', 'choose_policy', 'cut_out']


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """Both geometries of one cutout and the numbers of its acceptance."""

    label: LabelGeometry
    training: TrainingGeometry
    report: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """A frame with the student's (n, 3) forces on it and, for a small frame, the teacher's, in eV/Å."""

    frame: Atoms
    potential: AcePotential
    calculator: Calculator | None
    student_forces: NDArray[np.float64]
    teacher_forces: NDArray[np.float64] | None

    @classmethod
    def prepare(cls, frame: Atoms, potential: AcePotential, calculator: Calculator | None) -> Workbench:
        """Evaluate the frame once for all cutouts made from it."""
        teacher_forces = None
        if calculator is not None and len(frame) <= MAX_FRAME_FOR_TEACHER:
            atoms = frame.copy()
            atoms.calc = calculator
            teacher_forces = np.asarray(atoms.get_forces())
        return cls(
            frame=frame,
            potential=potential,
            calculator=calculator,
            student_forces=evaluate(potential, frame).forces,
            teacher_forces=teacher_forces,
        )


def choose_policy(elements: Collection[str], config: CutoutConfig) -> str:
    """Return how bonds are cut: ``covalent``, as asked or found by the elements; refuse by name what is not built."""
    others = sorted(set(elements) - GROUP_IV - {'H'})
    if config.policy == 'covalent' or (not others and set(elements) & GROUP_IV):
        return 'covalent'
    raise ValueError(
        f'cutout.policy = {config.policy!r}: elements {", ".join(sorted(elements))} are not a group IV covalent solid '
        f'({", ".join(others) or "no group IV element"}); only the policy covalent is built: choose it to force it'
    )


def cut_out(bench: Workbench, epicentre: int, config: CutoutConfig) -> Cutout:
    """Return the accepted cutout about atom ``epicentre``; raise :class:`RejectedCutoutError` with the reason."""
    choose_policy({chemical_symbols[number] for number in bench.frame.numbers}, config)
    label = build_label_geometry(bench.frame, epicentre, config)
    core = label.parents[label.shell == SHELL_CORE]
    training = build_training_geometry(bench.frame, epicentre, core, cutoff_A=bench.potential.cutoff)
    student = check_training_geometry(bench.frame, training, bench.potential, frame_forces=bench.student_forces)
    relaxation: dict[str, Any] = {'stopped': 'not asked'}
    if config.enable_pre_relaxation and bench.calculator is not None:
        relaxed = relax_boundary(label, bench.calculator, config)
        atoms = label.atoms.copy()
        atoms.positions = relaxed.positions
        label, relaxation = replace(label, atoms=atoms), relaxed.report
    closeness = check_label_geometry(label, bench.calculator, frame_forces=bench.teacher_forces)
    report = {'label': {**label.report, **closeness}, 'training': student, 'relaxation': relaxation}
    return Cutout(label=label, training=training, report=report)
