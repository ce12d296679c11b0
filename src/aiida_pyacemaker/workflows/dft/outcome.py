"""What became of each frame: its label and what that is an answer of, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiida import orm

from ...data.dataset import AtomicDatasetData
from ...science.config import DftConfig
from ...science.dft import find_insanity
from .answers import ScfAnswer, read_answers
from .cleaning import BYTES
from .ladder import find_flags
from .scf_inputs import describe_kpoints, describe_theory
from .spending import FrameState, count_scf_runs


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of one frame: ``reason`` is ``None`` where it is a label, with its ``trajectory`` and ``theory``."""

    pk: int | None
    reason: str | None
    trajectory: orm.TrajectoryData | None = None
    theory: dict[str, Any] | None = None
    magnetisation: tuple[float, float] | None = None

    @property
    def flags(self) -> list[str]:
        """What changed the meaning of the label."""
        return list((self.theory or {}).get('flags', []))


def judge_frames(
    dataset: AtomicDatasetData, pks: Mapping[int, int], refused: Mapping[int, str], dft: DftConfig
) -> dict[int, Outcome]:
    """Return the outcome of every frame that was run, re-used or refused, by row, in the order of the rows."""
    periodic = set(np.flatnonzero(np.any(dataset.get_frames().pbc, axis=1)).tolist())
    outcomes = {row: Outcome(pk=None, reason=reason) for row, reason in refused.items()}
    answers = read_answers(pks.values())
    outcomes |= {row: _judge(answers[pk], dft, is_cluster=row not in periodic) for row, pk in pks.items()}
    return {row: outcomes[row] for row in sorted(outcomes)}


def _judge(answer: ScfAnswer, dft: DftConfig, *, is_cluster: bool) -> Outcome:
    node, trajectory = answer.node, answer.trajectory
    if not node.is_finished_ok or trajectory is None:
        said = f'exit {node.exit_status}: {node.exit_message}' if node.is_finished else node.process_state.value
        return Outcome(pk=node.pk, reason=said)
    theory = _theory(answer, dft)
    reason = find_insanity(
        float(np.asarray(trajectory.get_array('energy'))[-1]),
        np.asarray(trajectory.get_array('positions'))[-1],
        np.asarray(trajectory.get_array('forces'))[-1],
        is_cluster=is_cluster,
        force_limit=dft.force_limit_eV_per_A,
        rigid_force_limit=dft.rigid_force_limit_eV_per_A,
    )
    if reason is None and 'flags' in theory and dft.flagged_labels == 'quarantine':
        reason = f'the meaning of the label changed: {", ".join(theory["flags"])}'
    moments = _magnetisation(trajectory)
    return Outcome(pk=node.pk, reason=reason, trajectory=trajectory, theory=theory, magnetisation=moments)


def _theory(answer: ScfAnswer, dft: DftConfig) -> dict[str, Any]:
    """Return what the label of an SCF is an answer of; ``flags`` where a recovery changed its meaning."""
    kpoints = describe_kpoints(answer.is_periodic, dft.kpoints_distance)
    theory = describe_theory(answer.run, answer.pseudos, kpoints, answer.version)
    flags = find_flags(answer.asked, answer.run)
    return {**theory, 'flags': flags} if flags else theory


def _magnetisation(trajectory: orm.TrajectoryData) -> tuple[float, float] | None:
    names = trajectory.get_arraynames()
    if 'total_magnetization' not in names or 'absolute_magnetization' not in names:
        return None
    total, absolute = (np.ravel(trajectory.get_array(f'{name}_magnetization'))[-1] for name in ('total', 'absolute'))
    return float(total), float(absolute)


def summarise(
    n_frames: int, outcomes: Mapping[int, Outcome], frames: Sequence[FrameState], *, reused: Mapping[int, int]
) -> dict[str, Any]:
    """Return the report: what became of each row, what it cost, what was re-used, flagged and removed."""
    labelled = [row for row, outcome in outcomes.items() if outcome.reason is None]
    failed = [row for row in outcomes if row not in set(labelled)]
    left = [row for row in range(n_frames) if row not in outcomes]
    served = [row for row in labelled if row in reused]
    return {
        'n_requested': n_frames,
        'n_labelled': len(labelled),
        'n_failed': len(failed),
        'n_not_run': len(left),
        'n_reused': len(served),
        'n_scf': count_scf_runs(frames),
        'core_hours': sum(sum(frame.core_seconds) for frame in frames) / 3600,
        'cleaned_MB': cleaned_bytes([frame.pk for frame in frames]) / 1e6,
        'labelled': labelled,
        'failed': [{'row': row, 'pk': outcomes[row].pk, 'reason': outcomes[row].reason} for row in failed],
        'not_run': left,
        'reused': [{'row': row, 'pk': outcomes[row].pk} for row in served],
        'flagged': [{'row': row, 'flags': outcomes[row].flags} for row in labelled if outcomes[row].flags],
        'magnetisation_muB': {
            str(row): list(outcomes[row].magnetisation or ()) for row in labelled if outcomes[row].magnetisation
        },
        'pks': {str(row): outcome.pk for row, outcome in outcomes.items() if outcome.pk is not None},
    }


def cleaned_bytes(frames: Sequence[int]) -> int:
    """Return how many bytes of wave functions and densities the runs of ``frames`` left and were removed."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': {'in': list(frames)}}, tag='frame')
    query.append(orm.CalcJobNode, with_incoming='frame', tag='run')
    query.append(orm.RemoteData, with_incoming='run', filters={'extras': {'has_key': BYTES}}, project=f'extras.{BYTES}')
    return sum(query.all(flat=True)) if frames else 0
