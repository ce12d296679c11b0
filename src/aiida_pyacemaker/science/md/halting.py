"""The two-tier halting rule, as LAMMPS runs it, and the frame that a halt teaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import ArrayLike, NDArray

from ..config import ActiveLearningThresholds
from ..config.exploration import THRESHOLDS
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


def limits(thresholds: ActiveLearningThresholds, name: str, numbers: ArrayLike) -> NDArray[np.float64]:
    """Return (n,) threshold ``name`` of atoms with atomic ``numbers`` (n,), in units of the measure."""
    every = np.asarray(numbers, dtype=int)
    kinds, inverse = np.unique(every, return_inverse=True)
    values = np.array([thresholds.of(name, chemical_symbols[number]) for number in kinds])
    return np.asarray(values[inverse], dtype=float)


def are_over(thresholds: ActiveLearningThresholds, name: str, frames: Frames, index: int) -> NDArray[np.bool_]:
    """Return (n,) whether each atom of a frame is above its threshold ``name``; what is not finite is."""
    span = frames.span(index)
    return ~(frames.gamma[span] <= limits(thresholds, name, frames.numbers[span]))


def grade_lines(thresholds: ActiveLearningThresholds, elements: Sequence[str]) -> list[str]:
    """Return LAMMPS' counts ``c_nadd``, ``c_ncall`` and ``c_ndanger`` of the atoms above each threshold in ``f_gam``.

    NaN counts as over, so no decision is on a maximum. elements: one per LAMMPS type. Where they differ, each atom is
    held against the number of its type; ``type`` is a vector that every LAMMPS knows.
    """
    lines = []
    for short, name in zip(('add', 'call', 'danger'), THRESHOLDS, strict=True):
        values = [f'{thresholds.of(name, element):.17g}' for element in elements]
        by_type = '+'.join(f'(type=={kind})*{value}' for kind, value in enumerate(values, start=1))
        limit = values[0] if len(set(values)) == 1 else f'({by_type})'
        lines += [f'variable {short} atom "!(f_gam <= {limit})"', f'compute n{short} all reduce sum v_{short}']
    return lines


def halt_lines(thresholds: ActiveLearningThresholds) -> list[str]:
    """Return the rule on these counts; its streak starts empty at the first check after the segment's first step."""
    every, streak = thresholds.check_every, thresholds.smooth_steps
    system = f'fix call all halt {every} v_stop > 0.999 error soft message yes'
    atom = f'fix call all halt {every} v_stopa > 0.5 error soft message yes'
    chosen = {
        'system': [system],
        'atom': [atom],
        'auto': [f'if "$(atoms) > {ATOMS_FOR_PERSISTENCE}" then "{atom}" else "{system}"'],
    }
    return [
        f'variable FIRST equal $(floor(step/{every})*{every}+{every}:%.0f)',
        'variable over equal "c_ncall > 0"',
        f'fix streak all ave/time {every} 1 {every} v_over ave window {streak} start ${{FIRST}}',
        f'variable stop equal "f_streak*(step >= v_FIRST+{(streak - 1) * every})"',
        'variable new atom 0',
        f'fix cnt all store/state {every} v_new',
        'variable new atom "(f_cnt+1)*v_call"',
        f'variable hit atom "f_cnt >= {streak}"',
        'compute nhit all reduce sum v_hit',
        'variable stopa equal c_nhit',
        'variable stopd equal c_ndanger',
        f'fix danger all halt {every} v_stopd > 0.5 error soft message yes',
        *chosen[thresholds.persistence],
    ]


def find_halt(gamma: ArrayLike, thresholds: ActiveLearningThresholds, numbers: ArrayLike | None = None) -> Halt | None:
    """Return where the rule ends a segment whose checks gave ``gamma``, or ``None``.

    gamma: (n_checks, n_atoms) grades of the checks after the segment's first step; the streak starts empty. NaN counts
    as over. ``danger``: any atom above ``threshold_danger`` on one check. ``halted``: above ``threshold_call_dft`` on
    ``smooth_steps`` consecutive checks, per system or per atom. numbers: (n_atoms,) for thresholds per element.
    """
    grades = np.atleast_2d(np.asarray(gamma, dtype=float))
    kinds = np.zeros(grades.shape[1], dtype=int) if numbers is None else numbers
    danger = ~(grades <= limits(thresholds, 'threshold_danger', kinds))
    over: NDArray[np.bool_] = ~(grades <= limits(thresholds, 'threshold_call_dft', kinds))
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

    Where streaks belong to atoms, one atom must have been above in all of them: among many, some atom always is.
    Frames without any grade (all NaN) are skipped: they lie between two checks.
    """
    trailing: list[int] = []
    alive = np.ones(1, dtype=bool)
    for index in reversed(range(len(frames))):
        span = frames.span(index)
        if np.isnan(frames.gamma[span]).all():
            continue
        over = are_over(thresholds, 'threshold_call_dft', frames, index)
        alive = over & alive if is_per_atom(thresholds, len(over)) else over
        if not alive.any():
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
        graded = ~np.isnan(frames.gamma[frames.span(index)])
        over = are_over(thresholds, 'threshold_add_train', frames, index)
        if np.any(over & graded) and is_physical(frames, index):
            return index
    return None
