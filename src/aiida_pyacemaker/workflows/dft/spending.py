"""What a labelling has paid and may still pay; all lanes of one run look at the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiida import orm
from aiida.common.timezone import now

from ...science.dft import CostModel, fit_cost_model
from ..submission import STILLBORN
from .ladder import MAX_RUNS
from .pw_inputs import WORK
from .reuse import PW_LABEL_TYPE

NEWEST_RUNS = 300  # finished runs that the cost model is refitted on


@dataclass(frozen=True, kw_only=True)
class FrameState:
    """The SCF of a frame as the database knows it: ``allowed`` runs at most, ``core_seconds`` of each run so far."""

    pk: int
    label: str
    is_over: bool
    is_ok: bool
    allowed: int
    work: float
    core_seconds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits of a labelling, ``None`` where there is none: SCF runs, core-seconds, wall seconds since its start."""

    max_calls: int | None = None
    max_core_s: float | None = None
    max_wall_s: float | None = None

    @classmethod
    def from_inputs(cls, inputs: Any) -> Budget:
        """Read the ports `max_calls`, `max_core_hours` and `max_wall_hours`."""
        hours = {name: inputs[f'max_{name}_hours'].value * 3600 for name in _HOURS if f'max_{name}_hours' in inputs}
        calls = inputs['max_calls'].value if 'max_calls' in inputs else None
        return cls(max_calls=calls, max_core_s=hours.get('core'), max_wall_s=hours.get('wall'))

    def why_not(self, root: orm.WorkChainNode, work: float) -> str | None:
        """Return which limit the next SCF, of ``work``, would break, or ``None``.

        Runs in progress count with what they are predicted to take.
        """
        if self.max_wall_s is not None and (now() - root.ctime).total_seconds() >= self.max_wall_s:
            return f'the budget of {self.max_wall_s / 3600:g} hours of wall time is spent'
        frames = list_frames(root) if (self.max_calls, self.max_core_s) != (None, None) else []
        if self.max_calls is not None and count_scf_runs(frames) >= self.max_calls:
            return f'the budget of {self.max_calls} SCF runs is spent'
        if self.max_core_s is None:
            return None
        model = cost_model()
        running = sum(model.predict(frame.work) for frame in frames if not frame.is_over)
        committed = sum(sum(frame.core_seconds) for frame in frames) + running
        # the first runs of a profile are a guess: never refused for what is not known
        needed = model.predict(work) if model.n_runs else 0.0
        if committed + needed <= self.max_core_s and committed < self.max_core_s:
            return None
        return f'the budget of {self.max_core_s / 3600:g} core-hours is spent, {committed / 3600:.4f} so far'


_HOURS = ('core', 'wall')


def list_frames(root: orm.WorkChainNode) -> list[FrameState]:
    """Return every SCF below ``root``, a labelling or a lone lane, from three queries however many there are."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': root.pk}, tag='root')
    query.append(orm.WorkChainNode, with_incoming='root', project='id', tag='lane')
    parents = [root.pk, *query.all(flat=True)]
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': {'in': parents}}, tag='parent')
    query.append(
        orm.WorkChainNode,
        with_incoming='parent',
        filters={'process_type': PW_LABEL_TYPE},
        edge_project='label',
        project=[
            'attributes.process_status',
            'id',
            'attributes.process_state',
            'attributes.exit_status',
            f'extras.{WORK}',
        ],
        tag='frame',
    )
    query.append(orm.Int, with_outgoing='frame', edge_filters={'label': 'max_iterations'}, project='attributes.value')
    rows = [row for status, *row in query.iterall() if status != STILLBORN]
    runs = _core_seconds([row[0] for row in rows])
    return [
        FrameState(
            pk=pk,
            label=label,
            is_over=state in ('finished', 'excepted', 'killed'),
            is_ok=status == 0,
            allowed=allowed,
            work=work or 0.0,
            core_seconds=tuple(runs.get(pk, ())),
        )
        for pk, state, status, work, allowed, label in rows
    ]


def count_scf_runs(frames: Sequence[FrameState]) -> int:
    """Return how many SCF runs were paid for, each frame in progress counting at least once."""
    return sum(len(frame.core_seconds) or int(not frame.is_over) for frame in frames)


def count_allowed_runs(frames: Sequence[FrameState], n_frames: int, max_calls: int) -> int:
    """Return how many SCF runs the next of ``n_frames`` frames may take, retries included: at least 1.

    Every frame that the budget covers has one run of its own; retries share what is left over, less what finished
    frames took of it and what frames in progress may still take. So lanes that climb the ladder side by side never
    spend more than ``max_calls`` together.
    """
    taken = sum(max(len(frame.core_seconds), 1) - 1 if frame.is_over else frame.allowed - 1 for frame in frames)
    spare = max_calls - min(n_frames, max_calls) - taken
    return 1 + max(0, min(MAX_RUNS - 1, spare))


def cost_model() -> CostModel:
    """Return the cost model refitted on the newest finished SCFs of the profile."""
    query = orm.QueryBuilder(limit=NEWEST_RUNS)
    query.append(
        orm.WorkChainNode,
        filters={'process_type': PW_LABEL_TYPE, 'attributes.exit_status': 0, 'extras': {'has_key': WORK}},
        project=f'extras.{WORK}',
        tag='frame',
    )
    query.append(orm.CalcJobNode, with_incoming='frame', project='attributes.resources', tag='run')
    query.append(
        orm.Dict,
        with_incoming='run',
        edge_filters={'label': 'output_parameters'},
        project='attributes.wall_time_seconds',
    )
    query.order_by({'frame': {'id': 'desc'}})
    rows = [(work, seconds * count_cores(resources)) for work, resources, seconds in query.iterall() if seconds]
    return fit_cost_model([work for work, _ in rows], [seconds for _, seconds in rows])


def count_cores(resources: dict[str, Any] | None) -> int:
    """Return how many cores a job of these scheduler resources holds."""
    found = resources or {}
    told = found.get('num_cpus') or found.get('tot_num_mpiprocs')  # of HyperQueue; of queues without machines
    processes = told or (found.get('num_machines') or 1) * (found.get('num_mpiprocs_per_machine') or 1)
    return int(processes * (1 if 'num_cpus' in found else found.get('num_cores_per_mpiproc') or 1))


def _core_seconds(frames: Sequence[int]) -> dict[int, list[float]]:
    """Return, by frame, the core-seconds of its runs: as ``pw.x`` says, else from first to last sign of the job."""
    if not frames:
        return {}
    query = orm.QueryBuilder().append(
        orm.WorkChainNode, filters={'id': {'in': list(frames)}}, project='id', tag='frame'
    )
    query.append(
        orm.CalcJobNode,
        with_incoming='frame',
        project=['attributes.process_status', 'id', 'ctime', 'mtime', 'attributes.resources'],
        tag='run',
    )
    runs = [(frame, *run) for frame, status, *run in query.iterall() if status != STILLBORN]
    if not runs:
        return {}
    query = orm.QueryBuilder().append(orm.CalcJobNode, filters={'id': {'in': [row[1] for row in runs]}}, tag='run')
    query.append(
        orm.Dict,
        with_incoming='run',
        edge_filters={'label': 'output_parameters'},
        project='attributes.wall_time_seconds',
    )
    query.add_projection('run', 'id')
    walls = {pk: wall for pk, wall in query.iterall()}
    found: dict[int, list[float]] = {}
    for frame, pk, began, changed, resources in runs:
        seconds = walls.get(pk) or (changed - began).total_seconds()
        found.setdefault(frame, []).append(seconds * count_cores(resources))
    return found
