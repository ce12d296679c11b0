"""DFT labels for many frames: lanes of SCF runs, a budget, and a reason for every frame that has no label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar

from aiida import orm
from aiida.engine import ToContext, WorkChain

from ...data.dataset import AtomicDatasetData
from ...science.config import DftConfig
from ...science.dft import deal_lanes, order_frames
from ..protocol import DEFAULT_OPTIONS, load_protocol, merge
from ..submission import SubmitOnce, call_once
from .collect import MAX_ROWS, collect_labels, quarantine_frames, state_report
from .lane import DftLaneWorkChain, frame_label
from .outcome import Outcome, judge_frames, summarise
from .ports import add_scf_ports, validate_pseudos
from .pw_inputs import request_key
from .reuse import find_labels
from .scf_inputs import ScfRequest, find_cutoffs, make_request
from .spending import cost_model, list_frames

SHARED = ('dataset', 'pw', 'dft', 'max_calls', 'max_core_hours', 'max_wall_hours', 'options')


class DftLabelWorkChain(SubmitOnce, WorkChain):
    """Label frames with DFT in ``dft.max_concurrent`` lanes; every frame ends as a label or with a reason."""

    PROTOCOL: ClassVar[str] = 'label_dft'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports, outline and exit codes."""
        super().define(spec)
        add_scf_ports(spec)
        spec.input(
            'values',
            valid_type=orm.List,
            required=False,
            help='What the label of each frame is worth: the highest per predicted core-second is paid first.',
        )
        spec.inputs.validator = validate_inputs
        spec.outline(cls.setup, cls.run_lanes, cls.collect)
        spec.output_namespace(
            'labels',
            valid_type=AtomicDatasetData,
            dynamic=True,
            required=False,
            help=f'Frames with labels in the order of the input, `part_000` on, {MAX_ROWS} rows each.',
        )
        spec.output(
            'quarantine',
            valid_type=AtomicDatasetData,
            required=False,
            help='Frames that have no label; its attribute `reasons` says why.',
        )
        spec.output(
            'report', valid_type=orm.Dict, help='Counts, SCF runs, row and pk of every label and every failure.'
        )
        spec.exit_code(
            401,
            'ERROR_SUB_PROCESS_FAILED_LANE',
            message='{lanes} failed: {said}; {left} frames not run, {labels} labels are attached.',
        )
        spec.exit_code(410, 'ERROR_NO_LABEL', message='Not one frame was labelled: {reason}.')
        spec.exit_code(
            601,
            'BUDGET_SPENT',
            message='{n} SCF runs are spent and {left} frames not run; {labels} labels are attached.',
        )

    @classmethod
    def get_builder_from_protocol(
        cls,
        pw_code: orm.AbstractCode,
        *,
        dataset: AtomicDatasetData,
        pseudos: Mapping[str, Any],
        protocol: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return a builder: `dft` and `pw_parameters` from the protocol with ``overrides`` over them.

        Raise ``ValueError`` for an unknown protocol or override, naming what is allowed.
        """
        builder = cls.get_builder()
        settings = load_protocol(cls.PROTOCOL, protocol, overrides)
        builder.dataset, builder.dft = dataset, orm.Dict(settings['dft'])
        builder.pw.code, builder.pw.pseudos = pw_code, dict(pseudos)
        if settings['pw_parameters']:
            builder.pw.parameters = orm.Dict(settings['pw_parameters'])
        if options is not None:
            builder.options = merge(DEFAULT_OPTIONS, options)
        return builder

    def setup(self) -> Any:
        """Set bad frames and known labels apart, and deal the others out to lanes."""
        self.ctx.cutoffs = find_cutoffs(self._dft(), self.inputs.pw.pseudos)
        if self.ctx.cutoffs is None:
            return self.exit_codes.ERROR_NO_CUTOFFS
        requests = self._requests(range(len(self.inputs.dataset)))
        self.ctx.refused = [[row, request.problem] for row, request in enumerate(requests) if request.problem]
        self._set_known_apart(requests)
        apart = {row for row, _ in [*self.ctx.refused, *self.ctx.reused, *self.ctx.twins]}
        pending = [row for row in range(len(requests)) if row not in apart]
        self._deal(pending, [requests[row].work for row in pending])
        self.report(
            f'{len(requests)} frames: {len(self.ctx.refused)} refused, {len(self.ctx.reused)} labelled before, '
            f'{len(self.ctx.twins)} twins of others, {sum(map(len, self.ctx.lanes))} in {len(self.ctx.lanes)} lanes: '
            f'{self.ctx.lanes}'
        )
        for row, problem in self.ctx.refused:
            self.report(f'frame {row} is not run: {problem}')
        return None

    def _set_known_apart(self, requests: list[ScfRequest]) -> None:
        """Find frames whose label is there already, and frames that occur twice."""
        self.ctx.reused, self.ctx.twins = [], []
        if not self._dft().reuse_labels:
            return
        good = {row: request_key(request) for row, request in enumerate(requests) if not request.problem}
        known = find_labels(set(good.values()), self.inputs.pw.code)
        first: dict[str, int] = {}
        for row, key in good.items():
            if key in known:
                self.ctx.reused.append([row, known[key]])
            elif first.setdefault(key, row) != row:
                self.ctx.twins.append([row, first[key]])

    def _deal(self, pending: list[int], work: list[float]) -> None:
        """Put into lanes what can be paid for: with values what is worth most first, else the dearest first."""
        model = cost_model()
        costs = [model.predict(each) for each in work]
        values = [self.inputs['values'][row] for row in pending] if 'values' in self.inputs else None
        order = order_frames(costs, values)[: self.inputs.max_calls.value if 'max_calls' in self.inputs else None]
        first = None if values is None else list(range(len(order)))
        dealt = deal_lanes([costs[index] for index in order], self._dft().max_concurrent, first)
        self.ctx.lanes = [[pending[order[index]] for index in lane] for lane in dealt]
        self.ctx.predicted_core_s = sum(costs[index] for index in order)
        self.report(
            f'{self.ctx.predicted_core_s / 3600:.4f} core-hours are predicted from {model.n_runs} finished runs'
        )

    def run_lanes(self) -> Any:
        """Start all lanes."""
        shared = {name: self.inputs[name] for name in SHARED if name in self.inputs}
        shared['n_sharing'] = orm.Int(sum(map(len, self.ctx.lanes)))
        children = {}
        for number, rows in enumerate(self.ctx.lanes, start=1):
            label = f'lane_{number}'
            children[label] = self.submit_once(label, DftLaneWorkChain, {**shared, 'rows': orm.List(rows)})
        return ToContext(**children)

    def collect(self) -> Any:
        """Attach labels, quarantine and the report."""
        frames = list_frames(self.node)
        own = {int(frame.label.removeprefix('frame_')): frame.pk for frame in frames}
        self._add_labelled_meanwhile(set(own))
        pks = {**own, **dict(self.ctx.reused)}
        pks |= {row: pks[first] for row, first in self.ctx.twins if first in pks}
        outcomes = judge_frames(self.inputs.dataset, pks, dict(self.ctx.refused), self._dft())
        labelled = {row: outcome for row, outcome in outcomes.items() if outcome.reason is None}
        reasons = {row: outcome.reason for row, outcome in outcomes.items() if outcome.reason is not None}
        if labelled:
            self.out('labels', self._collect_labels(labelled))
        if reasons:
            nodes = (self.inputs.dataset, orm.List(list(reasons)), orm.List(list(reasons.values())))
            self.out('quarantine', call_once(self, 'quarantine', quarantine_frames, *nodes))
        summary = summarise(len(self.inputs.dataset), outcomes, frames, reused=dict(self.ctx.reused))
        summary['predicted_core_hours'] = self.ctx.predicted_core_s / 3600
        self.out('report', call_once(self, 'report', state_report, orm.Dict(summary)))
        self.report(
            f'{len(labelled)} labels, {summary["n_reused"]} of them made before; {summary["n_scf"]} SCF runs, '
            f'{summary["core_hours"]:.4f} core-hours; {len(reasons)} in quarantine, {summary["n_not_run"]} not run; '
            f'{summary["cleaned_MB"]:.1f} MB of wave functions and densities removed'
        )
        return self._verdict(summary)

    def _add_labelled_meanwhile(self, own: set[int]) -> None:
        """Re-use what other labellings made of frames that no lane has run."""
        pending = [row for row in sorted(chain(*self.ctx.lanes)) if row not in own]
        if not (pending and self._dft().reuse_labels):
            return
        keys = {row: request_key(request) for row, request in zip(pending, self._requests(pending), strict=True)}
        known = find_labels(set(keys.values()), self.inputs.pw.code)
        self.ctx.reused = [*self.ctx.reused, *([row, known[key]] for row, key in keys.items() if key in known)]

    def _verdict(self, summary: dict[str, Any]) -> Any:
        left, labels = summary['n_not_run'], summary['n_labelled']
        names = [f'lane_{number}' for number in range(1, len(self.ctx.lanes) + 1)]
        broken = {name: self.ctx[name] for name in names if not self.ctx[name].is_finished_ok}
        if left and broken:
            said = '; '.join(node.exit_message or node.process_state.value for node in broken.values())
            lanes = ', '.join(broken)
            counts = {'left': left, 'labels': labels}
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_LANE.format(lanes=lanes, said=said, **counts)
        if left:
            return self.exit_codes.BUDGET_SPENT.format(n=summary['n_scf'], left=left, labels=labels)
        if not labels and summary['n_requested']:
            return self.exit_codes.ERROR_NO_LABEL.format(reason=summary['failed'][0]['reason'])
        return None

    def _collect_labels(self, labelled: dict[int, Outcome]) -> dict[str, AtomicDatasetData]:
        rows = sorted(labelled)
        parts = {}
        for number, first in enumerate(range(0, len(rows), MAX_ROWS)):
            chosen = rows[first : first + MAX_ROWS]
            frames = {frame_label(row): labelled[row].trajectory for row in chosen}
            theories = orm.List([labelled[row].theory for row in chosen])
            nodes = (self.inputs.dataset, theories, orm.Float(self._dft().vacuum))
            parts[f'part_{number:03d}'] = call_once(self, f'labels_{number:03d}', collect_labels, *nodes, **frames)
        return parts

    def _requests(self, rows: Sequence[int]) -> list[ScfRequest]:
        overrides = self.inputs.pw.parameters.get_dict() if 'parameters' in self.inputs.pw else None
        dft, frames = self._dft(), self.inputs.dataset.get_frames()
        return [
            make_request(frames.select([row]), dft, self.ctx.cutoffs, self.inputs.pw.pseudos, overrides) for row in rows
        ]

    def _dft(self) -> DftConfig:
        return DftConfig.model_validate(self.inputs.dft.get_dict())


def validate_inputs(inputs: dict[str, Any], _: Any) -> str | None:
    """Refuse, before anything is submitted, what no frame could be labelled with."""
    if 'dataset' not in inputs or 'pseudos' not in inputs.get('pw', {}):
        return None
    n_frames = len(inputs['dataset'])
    if 'values' in inputs and len(inputs['values'].get_list()) != n_frames:
        return f'values: {len(inputs["values"].get_list())} for {n_frames} frames, need one a frame'
    parameters = inputs['pw']['parameters'].get_dict() if 'parameters' in inputs['pw'] else {}
    input_dft = 'input_dft' in parameters.get('SYSTEM', {})
    return validate_pseudos(inputs['pw']['pseudos'], inputs['dataset'].elements, port='pw.pseudos', input_dft=input_dft)
