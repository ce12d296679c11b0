"""The two-tier halting rule, as LAMMPS runs it, and the frame that a halt teaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import ArrayLike, NDArray

from ..config import ActiveLearningThresholds
from ..frames import Frames

ATOMS_FOR_PERSISTENCE = 10_000
PHYSICAL_FRACTION = 0.75


@dataclass(frozen=True, kw_only=True)
class Halt:
    """Which rule ended a segment (``danger`` wins) and at which check, counted from 0."""

    kind: Literal['halted', 'danger']
    check: int


def is_per_atom(thresholds: ActiveLearningThresholds, n_atoms: int) -> bool:
    """Return whether a streak belongs to one atom: over many atoms, a maximum is always somewhere above."""
    if thresholds.persistence == 'auto':
        return n_atoms > ATOMS_FOR_PERSISTENCE
    return thresholds.persistence == 'atom'


def find_halt(gamma: ArrayLike, thresholds: ActiveLearningThresholds) -> Halt | None:
    """Return where the rule ends a segment whose checks gave ``gamma``, or ``None``.

    gamma: (n_checks, n_atoms) grades of the checks after the segment's first step; the streak starts empty. NaN counts
    as over. ``danger``: any atom above ``threshold_danger`` on one check. ``halted``: above ``threshold_call_dft`` on
    ``smooth_steps`` consecutive checks, per system or per atom.
    """
    grades = np.atleast_2d(np.asarray(gamma, dtype=float))
    danger = ~(grades <= thresholds.threshold_danger)
    over: NDArray[np.bool_] = ~(grades <= thresholds.threshold_call_dft)
    if not is_per_atom(thresholds, grades.shape[1]):
        over = np.any(over, axis=1, keepdims=True)
    streak = np.zeros(over.shape[1], dtype=int)
    for check in range(len(grades)):
        streak = (streak + 1) * over[check]
        if danger[check].any():
            return Halt(kind='danger', check=check)
        if (streak >= thresholds.smooth_steps).any():
            return Halt(kind='halted', check=check)
    return None


def is_physical(frames: Frames, index: int) -> bool:
    """Return whether positions and energy (if known) are finite, no pair closer than 0.75 of the covalent sum."""
    atoms = frames.atoms(index)
    if not np.isfinite(atoms.positions).all() or np.isinf(frames.energy[index]):
        return False
    radii = PHYSICAL_FRACTION * covalent_radii[atoms.numbers]
    return not len(neighbor_list('i', atoms, list(radii)))


def find_excursion(frames: Frames, thresholds: ActiveLearningThresholds) -> list[int]:
    """Return the trailing frames with an atom above ``threshold_call_dft`` (NaN counts), in time order.

    Frames without any grade (all NaN) are skipped: they lie between two checks.
    """
    trailing: list[int] = []
    for index in reversed(range(len(frames))):
        gamma = frames.gamma[frames.span(index)]
        if np.isnan(gamma).all():
            continue
        if np.all(gamma <= thresholds.threshold_call_dft):
            break
        trailing.append(index)
    return trailing[::-1]


def choose_learning_frame(frames: Frames, steps: Sequence[int], thresholds: ActiveLearningThresholds) -> int | None:
    """Return the earliest still-physical frame of the excursion that ended the segment, or ``None``.

    frames: graded frames in time order, the last at the halt; steps: (n,) their MD steps, rising. When no frame of
    the excursion is physical: the newest physical one before it with an atom above ``threshold_add_train``. ``None``:
    no frame has anything to teach. Errors: ``ValueError`` when ``steps`` do not belong to ``frames``.
    """
    if len(steps) != len(frames) or np.any(np.diff(np.asarray(steps)) <= 0):
        raise ValueError(f'steps has {len(steps)} entries for {len(frames)} frames, expected as many, rising')
    excursion = find_excursion(frames, thresholds)
    for index in excursion:
        if is_physical(frames, index):
            return index
    for index in reversed(range(excursion[0] if excursion else len(frames))):
        gamma = frames.gamma[frames.span(index)]
        if np.any(gamma > thresholds.threshold_add_train) and is_physical(frames, index):
            return index
    return None
