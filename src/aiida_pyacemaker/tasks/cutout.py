"""Task ``cutout``: from the last frames of a halted run to clusters for DFT and their training geometries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols
from numpy.typing import NDArray
from pydantic import Field

from ..science.ace import AcePotential
from ..science.config import ActiveLearningThresholds, CutoutConfig
from ..science.cutout import (
    Cutout,
    Epicentre,
    EpicentreRule,
    LabelTheory,
    RejectedCutoutError,
    Workbench,
    cap_elements,
    cut_out,
    gather_epicentres,
)
from ..science.cutout.label_geometry import LabelGeometry
from ..science.cutout.label_noise import noise_weight
from ..science.cutout.training_geometry import TrainingGeometry
from ..science.frames import SHELL_CORE, Frames
from ..science.md.events import fingerprint
from ..science.md.halting import choose_learning_frame, is_physical, limits
from ..science.student import load_student
from ..science.teacher import load_teacher, teacher_calculator
from .base import Progress, Task, TaskFailure

Accepted = tuple[Epicentre, Cutout]


class CutoutTask(Task):
    """Ring frames with γ in time order and their MD steps, student, teacher and settings.

    n_epicentres: asked for in all; more than ``cutout.max_epicentres`` are taken from further frames of the ring at
    least ``min_steps_apart`` steps from each other; exclude: pairs (step, atom) that were bought before. valence,
    cap_charges, kpoints_distance: what DFT will be run with, see :class:`LabelTheory`.
    """

    frames: str
    steps: tuple[int, ...]
    potential: str
    models: tuple[str, ...]
    cutout: CutoutConfig = CutoutConfig()
    thresholds: ActiveLearningThresholds = ActiveLearningThresholds()
    n_epicentres: int = Field(1, gt=0)
    min_steps_apart: int = Field(1, gt=0)
    exclude: tuple[tuple[int, int], ...] = ()
    valence: dict[str, float] = {}
    cap_charges: dict[int, float] = {}
    kpoints_distance: float = Field(LabelTheory.kpoints_distance, gt=0)
    dtype: Literal['float32', 'float64'] = 'float64'
    seed: int = 0

    def run(self, progress: Progress) -> dict[str, Any]:
        """Write ``label.npz`` and ``training.npz``, same row order; return epicentres, acceptance and rejections."""
        frames = self._read_frames()
        learning_frame = self._choose_frame(frames)
        rule = EpicentreRule(
            thresholds=self.thresholds,
            count=self.n_epicentres,
            max_per_frame=self.cutout.max_epicentres,
            core_radius=self.cutout.core_radius,
            min_steps_apart=self.min_steps_apart,
            exclude=self.exclude,
        )
        epicentres = gather_epicentres(frames, self.steps, learning_frame, rule=rule)
        accepted, rejected = self._cut_all(frames, epicentres, progress)
        accepted, covered = _drop_covered(accepted)
        if not accepted:
            reasons = '; '.join(f'step {row["step"]} atom {row["atom"]}: {row["reason"]}' for row in rejected)
            raise TaskFailure('NOTHING_LEFT', f'no cutout was accepted: {reasons or "no epicentre was found"}')
        self._write(frames, accepted)
        return {
            'policies': sorted({cutout.policy for _, cutout in accepted}),
            'learning_frame': int(learning_frame),
            'learning_step': int(self.steps[learning_frame]),
            'n_asked': self.n_epicentres,
            'n_accepted': len(accepted),
            'n_rejected': len(rejected),
            'epicentres': [{**_describe(frames, epicentre), **cutout.report} for epicentre, cutout in accepted],
            'covered': [{**_describe(frames, epicentre), 'by': 'whole_frame'} for epicentre, _ in covered],
            'rejected': rejected,
        }

    def _choose_frame(self, frames: Frames) -> int:
        """Return the frame that the halt teaches, else the physical one of highest γ."""
        chosen = choose_learning_frame(frames, list(self.steps), self.thresholds)
        if chosen is not None:
            return chosen
        grades = frames.gamma / limits(self.thresholds, 'threshold_add_train', frames.numbers)
        peaks = {row: np.nanmax(grades[frames.span(row)], initial=-1.0) for row in range(len(frames))}
        physical = [row for row in peaks if peaks[row] >= 0 and is_physical(frames, row)]
        if not physical:
            raise TaskFailure('NOTHING_LEFT', 'frames: none of them is both physical and graded')
        return max(physical, key=lambda row: (peaks[row], row))

    def _read_frames(self) -> Frames:
        try:
            frames = Frames.load(self.frames)
        except ValueError as error:
            raise TaskFailure('UNREADABLE_FILE', str(error)) from error
        if len(frames) == 0 or len(frames) != len(self.steps):
            raise TaskFailure(
                'INVALID_INPUT', f'frames: {len(frames)} rows for {len(self.steps)} steps, need one step a row'
            )
        return frames

    def _cut_all(
        self, frames: Frames, epicentres: list[Epicentre], progress: Progress
    ) -> tuple[list[Accepted], list[dict[str, Any]]]:
        potential, calculator = self._load_models(frames)
        benches: dict[int, Workbench] = {}
        accepted, rejected = [], []
        for done, epicentre in enumerate(epicentres, start=1):
            try:
                if epicentre.frame not in benches:
                    atoms = frames.atoms(epicentre.frame)
                    benches[epicentre.frame] = Workbench.prepare(atoms, potential, calculator, self._theory())
                cutout = cut_out(benches[epicentre.frame], epicentre.atom, self.cutout)
                accepted.append((epicentre, cutout))
                progress.report('cut', done, len(epicentres), n_atoms=len(cutout.label.atoms))
            except RejectedCutoutError as error:
                rejected.append({**_describe(frames, epicentre), 'reason': str(error), 'tried': list(error.tried)})
                progress.report('rejected', done, len(epicentres), reason=str(error))
        return accepted, rejected

    def _theory(self) -> LabelTheory:
        return LabelTheory(valence=self.valence, cap_charges=self.cap_charges, kpoints_distance=self.kpoints_distance)

    def _load_models(self, frames: Frames) -> tuple[AcePotential, Calculator]:
        """Return student and teacher; both must know the frames, the teacher also the caps."""
        try:
            potential = load_student(Path(self.potential)).potential
            teacher = load_teacher([Path(model) for model in self.models], dtype=self.dtype)
        except ValueError as error:
            raise TaskFailure('UNREADABLE_FILE', str(error)) from error
        present = {chemical_symbols[number] for number in frames.numbers}
        caps = set(cap_elements(present, self.cutout))
        _check_elements('potential', present, potential.elements)
        _check_elements('models', present | caps, teacher.elements)
        return potential, teacher_calculator(teacher)

    def _write(self, frames: Frames, accepted: list[Accepted]) -> None:
        held = _count_holders(accepted)
        for name in ('label', 'training'):
            parts = [(getattr(cutout, name), epicentre) for epicentre, cutout in accepted]
            shell = np.concatenate([part.shell for part, _ in parts])
            gamma = [
                np.where(part.parents >= 0, frames.gamma[frames.span(epicentre.frame)][part.parents], np.nan)
                for part, epicentre in parts
            ]
            Frames.from_atoms(
                [part.atoms for part, _ in parts],
                shell=shell,
                force_weight=np.concatenate(
                    [
                        self._weights(getattr(cutout, name), cutout, held[epicentre.frame])
                        for epicentre, cutout in accepted
                    ]
                ),
                gamma=np.concatenate(gamma),
                parent_index=np.concatenate([part.parents for part, _ in parts]),
                config_type=np.array(
                    [f'{"frame" if cutout.label.is_whole_frame else "cutout"}_{name}' for _, cutout in accepted]
                ),
                group=np.array([epicentre.frame for _, epicentre in parts]),
            ).save(f'{name}.npz')

    def _weights(
        self, part: LabelGeometry | TrainingGeometry, cutout: Cutout, held: Counter[int]
    ) -> NDArray[np.float64]:
        """Return (n,) what the force of each atom of ``part`` counts: 0 outside the core, a share in several."""
        weights, core = np.zeros(len(part.shell)), part.shell == SHELL_CORE
        weights[core] = 1.0
        if self.cutout.weigh_by_noise:
            atoms = cutout.label.parents[cutout.label.shell == SHELL_CORE]
            known = dict(zip(atoms.tolist(), noise_weight(cutout.noise).tolist(), strict=True))
            weights[core] = [known[int(atom)] for atom in part.parents[core]]
        weights[core] /= [held[int(atom)] for atom in part.parents[core]]
        return weights


def _count_holders(accepted: list[Accepted]) -> dict[int, Counter[int]]:
    """Return for each frame in how many cores each of its atoms is: where cores overlap, an atom counts as one."""
    held: dict[int, Counter[int]] = {epicentre.frame: Counter() for epicentre, _ in accepted}
    for epicentre, cutout in accepted:
        held[epicentre.frame].update(cutout.label.parents[cutout.label.shell == SHELL_CORE].tolist())
    return held


def _drop_covered(accepted: list[Accepted]) -> tuple[list[Accepted], list[Accepted]]:
    """Return the cutouts that are paid for and those that a whole frame makes superfluous: one label a whole frame."""
    whole: dict[int, Cutout] = {}
    for epicentre, cutout in accepted:
        if cutout.label.is_whole_frame:
            whole.setdefault(epicentre.frame, cutout)
    kept: list[Accepted] = []
    covered: list[Accepted] = []
    for epicentre, cutout in accepted:
        (kept if whole.get(epicentre.frame, cutout) is cutout else covered).append((epicentre, cutout))
    return kept, covered


def _describe(frames: Frames, epicentre: Epicentre) -> dict[str, Any]:
    """Return the epicentre as plain values, with the fingerprint of its environment."""
    marks = fingerprint(frames.atoms(epicentre.frame), epicentre.atom)
    return {**asdict(epicentre), 'fingerprint': [round(value, 6) for value in marks]}


def _check_elements(name: str, needed: set[str], known: Sequence[str]) -> None:
    missing = sorted(needed - set(known))
    if missing:
        raise TaskFailure(
            'UNKNOWN_ELEMENT',
            f'{name}: no {", ".join(missing)}, it knows {", ".join(known)}: give one that was trained on it'
            ' (caps: see cutout.passivation_element and cutout.enable_passivation)',
        )


TASK = CutoutTask
