"""One cutout from beginning to end: choose how, build, relax, check."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ..ace import AcePotential
from ..config import CutoutConfig
from ..frames import SHELL_CORE
from ..images import FrameIndex, index_frame
from .acceptance import (
    MAX_FRAME_FOR_TEACHER,
    StudentOfFrame,
    check_label_geometry,
    check_training_geometry,
    describe_label_geometry,
    evaluate_frame,
)
from .label_geometry import CutRequest, LabelGeometry, RejectedCutoutError, TooLargeError
from .label_noise import core_noise
from .policies import POLICIES, can_be_covalent, choose_order
from .policies.covalent import fractional_hosts
from .relaxation import relax_boundary
from .theory import LabelTheory
from .training_geometry import TrainingGeometry, build_training_geometry, take_whole_frame

__all__ = ['Cutout', 'RejectedCutoutError', 'Workbench', 'cap_elements', 'cap_pseudos', 'cut_out']

SMALLER_CORE = 0.75  # of the radius that was too large
ONE_ATOM_A = 2.0  # below it a core is one atom


class SmallerCellError(RejectedCutoutError):
    """A frame with no more atoms than its cutout: it is labelled whole."""


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """Both geometries of one cutout and the numbers of its acceptance.

    noise: (n_core,) eV/Å, the error that cutting leaves on the force of each core atom, in the order of ``label``; nan
    for a policy whose error was not measured.
    """

    label: LabelGeometry
    training: TrainingGeometry
    noise: NDArray[np.float64]
    report: dict[str, Any]

    @property
    def policy(self) -> str:
        """How it was cut in the end."""
        return self.label.policy


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """A frame, its search tree, what the student makes of it and, of a small frame, the teacher's (n, 3) forces, eV/Å.

    theory: the pseudopotentials' electrons and the k-points; without it those of the periodic table.
    """

    frame: Atoms
    index: FrameIndex
    potential: AcePotential
    calculator: Calculator | None
    student: StudentOfFrame
    teacher_forces: NDArray[np.float64] | None
    theory: LabelTheory = field(default_factory=LabelTheory)

    @classmethod
    def prepare(
        cls,
        frame: Atoms,
        potential: AcePotential,
        calculator: Calculator | None,
        theory: LabelTheory | None = None,
    ) -> Workbench:
        """Evaluate the frame once for all cutouts made from it; :class:`RejectedCutoutError` where it is not finite."""
        if not (np.isfinite(frame.positions).all() and np.isfinite(frame.cell[:]).all()):
            raise RejectedCutoutError('a position or a cell vector of the frame is not a finite number')
        teacher_forces = None
        if calculator is not None and len(frame) <= MAX_FRAME_FOR_TEACHER:
            atoms = frame.copy()
            atoms.calc = calculator
            teacher_forces = np.asarray(atoms.get_forces())
        return cls(
            frame=frame,
            index=index_frame(frame),
            potential=potential,
            calculator=calculator,
            student=evaluate_frame(frame, potential),
            teacher_forces=teacher_forces,
            theory=theory or LabelTheory(),
        )


def cap_elements(elements: Collection[str], config: CutoutConfig) -> tuple[str, ...]:
    """Return the elements of the caps that cutouts from a frame of ``elements`` may get: what has to be known."""
    asked = config.policy == 'covalent' or (config.policy == 'auto' and can_be_covalent(elements))
    return (config.passivation_element,) if config.enable_passivation and asked else ()


def cap_pseudos(elements: Collection[str], config: CutoutConfig) -> tuple[str, ...]:
    """Return the names of the pseudopotentials that caps may need: the element, and `H<number>` of fractional ones."""
    caps = cap_elements(elements, config)
    if caps != ('H',) or not config.fractional_caps:
        return caps
    return (*caps, *(f'H{atomic_numbers[host]}' for host in sorted(fractional_hosts(elements))))


def cut_out(bench: Workbench, epicentre: int, config: CutoutConfig) -> Cutout:
    """Return the accepted cutout about atom ``epicentre``.

    The policy is the one asked for, or that of the bonding around the atom (``report['why']``). What one rejects, the
    next one tries while ``config.fallback`` is on, at last the first one with a smaller core if that was too large; a
    frame that is smaller than its cutout is taken whole before anything else is tried. ``report['tried']`` has each
    with its reason, ``report['core_radius_A']`` the core that was taken. The whole frame is taken where its SCF costs
    at most ``config.whole_frame_cost_ratio`` times the cutout's: ``report['cost']``.
    Raises :class:`RejectedCutoutError` with all reasons, in ``tried`` one by one.
    """
    request = CutRequest(frame=bench.index, epicentre=epicentre, config=config, theory=bench.theory)
    order, why = choose_order(request)
    tried: list[dict[str, str]] = []
    attempts = [(policy, config.core_radius) for policy in order]
    while attempts:
        policy, radius = attempts.pop(0)
        smaller = replace(request, config=config.model_copy(update={'core_radius': radius}))
        try:
            cutout = _cut_with(bench, smaller, policy)
        except RejectedCutoutError as error:
            tried.append({'policy': policy, 'reason': str(error)})
            if isinstance(error, SmallerCellError):
                attempts.sort(key=lambda attempt: attempt[0] != 'whole_frame')
            if isinstance(error, TooLargeError) and config.fallback and radius > 0 and policy == order[0]:
                attempts.append((policy, SMALLER_CORE * radius if SMALLER_CORE * radius > ONE_ATOM_A else 0.0))
        else:
            report = {'policy': cutout.policy, 'why': why, 'tried': tried, 'core_radius_A': radius, **cutout.report}
            return replace(cutout, report=report)
    if config.policy == 'auto' and order == ('whole_frame',):
        tried.insert(0, {'policy': 'auto', 'reason': why})
    raise RejectedCutoutError('; '.join(f'{row["policy"]}: {row["reason"]}' for row in tried), tried)


def _cut_with(bench: Workbench, request: CutRequest, policy: str) -> Cutout:
    """Return the cutout that one policy makes, or the whole frame where that is hardly dearer."""
    label = POLICIES[policy](request)
    if not label.is_whole_frame and int((label.parents >= 0).sum()) >= len(bench.frame):
        raise SmallerCellError(f'the cell ({len(bench.frame)} atoms) is smaller than the cutout')
    label, cost = _cheaper(bench, request, label)
    training = _training_geometry(bench, request, label)
    student = check_training_geometry(bench.index, training, bench.potential, student=bench.student)
    relaxation: dict[str, Any] = {'stopped': 'not asked'}
    if request.config.enable_pre_relaxation and bench.calculator is not None and not label.is_whole_frame:
        relaxed = relax_boundary(label, bench.calculator, request.config)
        atoms = label.atoms.copy()
        atoms.positions = relaxed.positions
        label, relaxation = replace(label, atoms=atoms), relaxed.report
    closeness = check_label_geometry(label, bench.calculator, frame_forces=bench.teacher_forces)
    noise = core_noise(bench.index, request.epicentre, label)
    typical = {'label_noise_eV_per_A': None if np.isnan(noise).any() else float(np.sqrt(np.mean(noise**2)))}
    numbers = {**describe_label_geometry(label, bench.theory), **label.report, **closeness, **typical}
    report = {'cost': cost, 'label': numbers, 'training': student, 'relaxation': relaxation}
    return Cutout(label=label, training=training, noise=noise, report=report)


def _cheaper(bench: Workbench, request: CutRequest, label: LabelGeometry) -> tuple[LabelGeometry, dict[str, Any]]:
    """Return ``label``, or the whole frame where that costs little more, and both predicted costs."""
    cost: dict[str, Any] = {'work': bench.theory.work(label.atoms, label.shell)}
    if label.is_whole_frame or len(bench.frame) > request.config.max_frame_atoms:
        return label, cost
    no_shell = np.full(len(bench.frame), -1, dtype=np.int8)
    ratio = bench.theory.work(bench.frame, no_shell) / cost['work']
    cost['frame_over_cutout'] = float(ratio)
    if ratio > request.config.whole_frame_cost_ratio:
        return label, cost
    cost |= {'work': cost['work'] * ratio, 'instead_of': label.policy}
    return POLICIES['whole_frame'](request), cost


def _training_geometry(bench: Workbench, request: CutRequest, label: LabelGeometry) -> TrainingGeometry:
    if label.is_whole_frame:
        return take_whole_frame(bench.frame, label.parents)
    core = label.parents[label.shell == SHELL_CORE]
    return build_training_geometry(bench.index, request.epicentre, core, cutoff_A=bench.potential.cutoff)
