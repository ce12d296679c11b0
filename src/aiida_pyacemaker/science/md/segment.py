"""All that the files of one segment say: how it ended, its frames, from where MD may go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..config import ActiveLearningThresholds
from ..frames import Frames
from .dump import Snapshot, read_dump, read_restart_step, to_frames
from .halting import choose_learning_frame, find_excursion, is_per_atom, is_physical
from .log import LogRecord
from .script import ALTERNATING_RESTARTS, BEGIN_RESTART, COARSE_PATTERN, FIRST_DUMP, LAST_DUMP, RING_PATTERN, Plan
from .soft_start import summarise_swap

Outcome = Literal['goal', 'stride', 'halted', 'danger', 'overshoot', 'walltime', 'lost_atoms', 'non_finite']
CALM = ('goal', 'stride', 'walltime', 'overshoot')
Columns = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class SegmentRecord:
    """A segment; ``outcome`` is None when it was killed.

    frames: in time order with γ (NaN for a last frame between two checks), no labels; summary: plain JSON;
    restart_previous: name of the newest restart file before the excursion, None when there is none.
    """

    outcome: Outcome | None
    frames: Frames
    summary: dict[str, Any]
    restart_previous: str | None


def read_segment(folder: Path, log: LogRecord, checks: Columns, plan: Plan) -> SegmentRecord:
    """Read the files in ``folder`` that a segment with this ``plan`` left; what is missing or cut off is left out."""
    shots, md = _read_snapshots(folder), plan.md
    frames, steps = to_frames(shots, plan.elements), [shot.step for shot in shots]
    outcome = _outcome(log, plan)
    excursion = _excursion_start(checks, frames, steps, plan.thresholds) if outcome not in CALM else None
    # a rejected potential has moved the atoms since the segment's start: nothing later counts
    first = _first_step(folder, log)
    restart = _newest_restart(folder, before=first if outcome == 'overshoot' else excursion)
    judged = frames.with_columns(energy=_energies(log, steps)) if steps else frames
    learning = None if outcome in CALM else choose_learning_frame(judged, steps, plan.thresholds)
    n_atoms = len(shots[0].columns['id']) if shots else log.n_atoms
    summary = {
        'outcome': outcome,
        'first_step': first,
        'last_step': steps[-1] if outcome is not None and log.failure is None and steps else log.last_step,
        'goal_step': md.n_steps,
        'until_step': plan.until_step,
        'halts': {name: {'step': step, 'value': value} for name, (step, value) in log.halts.items()},
        'n_checks': len(checks['step']),
        'largest_gamma': _largest_gamma(checks),
        'n_checks_over_add': int(np.count_nonzero(checks['n_over_add'])),
        'n_checks_over_call': int(np.count_nonzero(checks['n_over_call'])),
        'n_checks_over_danger': int(np.count_nonzero(checks['n_over_danger'])),
        'excursion_start': excursion,
        'frame_steps': steps,
        'learning_row': learning,
        'end_is_physical': bool(steps) and log.failure is None and is_physical(judged, len(judged) - 1),
        'restart_previous_step': None if restart is None else read_restart_step(folder / restart),
        'soft_start_until': log.soft_start[2] if log.soft_start and log.soft_start[0] != 'none' else None,
        'swap': summarise_swap(log, plan),
        'canary': {name: {'found': found, 'expected': value} for name, (found, value) in log.canary.items()},
        'measure': plan.thresholds.measure,
        'persistence': 'atom' if is_per_atom(plan.thresholds, n_atoms) else 'system',
        'ensemble': md.ensemble,
        'timestep_ps': md.timestep_ps,
        'n_atoms': n_atoms,
        'seconds': log.seconds,
        'microseconds_per_atom_step': 1e6 * log.seconds / (log.n_steps * n_atoms) if log.n_steps else None,
    }
    return SegmentRecord(outcome=outcome, frames=frames, summary=summary, restart_previous=restart)


def _largest_gamma(checks: Columns) -> float | None:
    """Return the largest γ of all checks, 0 without any; None where no atom of a check had a finite one."""
    if np.any((checks['max_gamma'] <= 0) & (checks['n_over_danger'] > 0)):  # LAMMPS' maximum drops what is no number
        return None
    return float(checks['max_gamma'].max(initial=0.0))


def _outcome(log: LogRecord, plan: Plan) -> Outcome | None:
    if log.ending == 'halt':
        return 'danger' if 'danger' in log.halts else 'overshoot' if 'swap' in log.halts else 'halted'
    if log.failure == 'lost_atoms' or log.failure == 'non_finite':
        return log.failure
    planned: Outcome = 'goal' if plan.last_step == plan.md.n_steps else 'stride'
    if log.ending == 'walltime':
        return planned if (log.last_step or 0) >= plan.last_step else 'walltime'
    return planned if log.ending == 'completed' else None


def _read_snapshots(folder: Path) -> list[Snapshot]:
    """Return one snapshot a step in time order; graded ones win over the last frame of the same step."""
    found: dict[int, Snapshot] = {}
    patterns = [f'{pattern}{packed}' for pattern in (COARSE_PATTERN, RING_PATTERN) for packed in ('', '.gz')]
    for path in [folder / LAST_DUMP, *(path for pattern in patterns for path in sorted(folder.glob(pattern)))]:
        try:
            found.update({shot.step: shot for shot in read_dump(path)})
        except (OSError, ValueError):
            continue
    return [found[step] for step in sorted(found)]


def _first_step(folder: Path, log: LogRecord) -> int | None:
    try:
        return read_dump(folder / FIRST_DUMP)[0].step
    except (OSError, ValueError):
        steps = log.thermo.get('Step')
        return None if steps is None or not len(steps) else int(steps[0])


def _excursion_start(
    checks: Columns, frames: Frames, steps: Sequence[int], thresholds: ActiveLearningThresholds
) -> int | None:
    """Return the step of the first of the trailing checks with an atom above the call threshold, or None.

    Where streaks belong to atoms, the checks, which count atoms, cannot tell: then it is the first frame of it.
    """
    if len(frames) and is_per_atom(thresholds, len(frames.atoms(0))):
        excursion = find_excursion(frames, thresholds)
        return steps[excursion[0]] if excursion else None
    over = checks['n_over_call'] > 0
    if not len(over) or not over[-1]:
        return None
    calm = np.flatnonzero(~over)
    return int(checks['step'][calm[-1] + 1 if len(calm) else 0])


def _newest_restart(folder: Path, *, before: int | None) -> str | None:
    """Return the newest complete restart file of a step before ``before`` (None: of any), else that of the start."""
    steps = {}
    for name in (BEGIN_RESTART, *ALTERNATING_RESTARTS):
        try:
            steps[name] = read_restart_step(folder / name)
        except (OSError, ValueError):
            continue
    allowed = [name for name, step in steps.items() if before is None or step < before or name == BEGIN_RESTART]
    return max(allowed, key=lambda name: steps[name]) if allowed else None


def _energies(log: LogRecord, steps: Sequence[int]) -> NDArray[np.float64]:
    """Return the potential energy of each step: NaN where unknown, inf where LAMMPS printed no finite number."""
    known = dict(zip(log.thermo.get('Step', ()), log.thermo.get('PotEng', ()), strict=True))
    values = np.array([known.get(float(step), np.nan) for step in steps])
    broken = np.array([float(step) in known for step in steps], dtype=bool) & ~np.isfinite(values)
    return np.where(broken, np.inf, values)
