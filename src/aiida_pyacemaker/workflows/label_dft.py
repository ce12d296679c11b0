"""DFT labels for many frames: lanes of SCF runs, a budget, and a reason for every frame that has no label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from aiida import orm
from aiida.engine import ToContext, WorkChain
from ase.data import chemical_symbols

from ..data.dataset import AtomicDatasetData
from ..science.config import DftConfig
from .input_checks import check_elements
from .label_dft_lane import DftLaneWorkChain, add_scf_ports, count_scf_runs, frame_label
from .labels import MAX_LINKS, call_once, collect_labels, join_datasets, pick_rows, state_report
from .protocol import DEFAULT_OPTIONS, load_protocol, merge
from .scf_inputs import describe_theory, find_cutoffs, kpoint_inputs
from .submission import SubmitOnce, find_called

COST_EXPONENT = 3  # SCF time grows as about the third power of the number of electrons


class DftLabelWorkChain(SubmitOnce, WorkChain):
    """Label frames with DFT in ``dft.max_concurrent`` lanes; every frame ends as a label or with a reason."""

    PROTOCOL: ClassVar[str] = 'label_dft'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports, outline and exit codes."""
        super().define(spec)
        add_scf_ports(spec)
        spec.inputs.validator = validate_inputs
        spec.outline(cls.setup, cls.run_lanes, cls.collect)
        spec.output(
            'dataset',
            valid_type=AtomicDatasetData,
            required=False,
            help='Frames with labels, in the order of the input.',
        )
        spec.output(
            'failed',
            valid_type=AtomicDatasetData,
            required=False,
            help='Frames whose SCF failed; reasons in the report.',
        )
        spec.output(
            'report', valid_type=orm.Dict, help='Counts, SCF runs, row and pk of every label and every failure.'
        )
        spec.exit_code(
            203, 'ERROR_NO_CUTOFFS', message='No cut-offs: give dft.ecutwfc (Ry) or install a family with them.'
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
        """Deal the frames out to lanes, the dearest first."""
        self.ctx.cutoffs = find_cutoffs(self._dft(), self.inputs.pw.pseudos)
        if self.ctx.cutoffs is None:
            return self.exit_codes.ERROR_NO_CUTOFFS
        costs = frame_costs(self.inputs.dataset, self.inputs.pw.pseudos)
        affordable = min(len(costs), self.inputs.max_calls.value if 'max_calls' in self.inputs else len(costs))
        self.ctx.lanes = deal_lanes(costs[:affordable], self._dft().max_concurrent)
        self.report(f'{affordable} of {len(costs)} frames in {len(self.ctx.lanes)} lanes: {self.ctx.lanes}')
        return None

    def run_lanes(self) -> Any:
        """Start all lanes."""
        shared = {
            name: self.inputs[name] for name in ('dataset', 'pw', 'dft', 'max_calls', 'options') if name in self.inputs
        }
        children = {}
        for number, rows in enumerate(self.ctx.lanes, start=1):
            label = f'lane_{number}'
            children[label] = self.submit_once(label, DftLaneWorkChain, {**shared, 'rows': orm.List(rows)})
        return ToContext(**children)

    def collect(self) -> Any:
        """Attach labels, failures and the report."""
        found = {row: node for row in range(len(self.inputs.dataset)) if (node := self._find(row)) is not None}
        reasons = {row: self._reason(node) for row, node in found.items()}
        labelled = [row for row, reason in reasons.items() if reason is None]
        failed = [row for row in found if row not in labelled]
        left = [row for row in range(len(self.inputs.dataset)) if row not in found]
        if labelled:
            self.out('dataset', self._collect_labels({row: found[row] for row in labelled}))
        if failed:
            self.out('failed', call_once(self, 'failed', pick_rows, self.inputs.dataset, orm.List(failed)))
        summary = {
            'n_requested': len(self.inputs.dataset),
            'n_labelled': len(labelled),
            'n_failed': len(failed),
            'n_not_run': len(left),
            'n_scf': count_scf_runs(self.node),
            'labelled': labelled,
            'failed': [{'row': row, 'pk': found[row].pk, 'reason': reasons[row]} for row in failed],
            'not_run': left,
            'pks': {str(row): node.pk for row, node in found.items()},
        }
        self.out('report', call_once(self, 'report', state_report, orm.Dict(summary)))
        self.report(
            f'{len(labelled)} labels from {summary["n_scf"]} SCF runs, {len(failed)} failed, {len(left)} not run'
        )
        return self._verdict(summary)

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
        if not summary['n_labelled'] and summary['n_requested']:
            return self.exit_codes.ERROR_NO_LABEL.format(reason=summary['failed'][0]['reason'])
        return None

    def _collect_labels(self, found: dict[int, orm.WorkChainNode]) -> AtomicDatasetData:
        rows = sorted(found)
        parts = {}
        for first in range(0, len(rows), MAX_LINKS):
            chosen = rows[first : first + MAX_LINKS]
            frames = {frame_label(row): found[row].outputs.output_trajectory for row in chosen}
            theories = orm.List([self._theory(found[row]) for row in chosen])
            label = f'labels_{first // MAX_LINKS:03d}'
            parts[label] = call_once(self, label, collect_labels, self.inputs.dataset, theories, **frames)
        return call_once(self, 'labels', join_datasets, **parts) if len(parts) > 1 else next(iter(parts.values()))

    def _theory(self, node: orm.WorkChainNode) -> dict[str, Any]:
        parameters = node.outputs.output_parameters.creator.inputs.parameters.get_dict()
        version = str(node.outputs.output_parameters.get_dict().get('creator_version', 'unknown'))
        kpoints = kpoint_inputs(node.inputs.pw.structure.get_ase(), self._dft())[1]
        return describe_theory(parameters, self.inputs.pw.pseudos, kpoints, version)

    def _find(self, row: int) -> orm.WorkChainNode | None:
        lanes = (find_called(self.node, f'lane_{number}') for number in range(1, len(self.ctx.lanes) + 1))
        return next((node for lane in lanes if lane and (node := find_called(lane, frame_label(row)))), None)

    def _reason(self, node: orm.WorkChainNode) -> str | None:
        """Return why a finished SCF gives no label, or ``None`` when it does."""
        if not node.is_finished_ok:
            return f'exit {node.exit_status}: {node.exit_message}' if node.is_finished else str(node.process_state)
        arrays = node.outputs.output_trajectory
        forces = np.asarray(arrays.get_array('forces'))[-1]
        largest = float(np.linalg.norm(forces, axis=1).max(initial=0.0))
        if not np.isfinite(forces).all() or not np.isfinite(arrays.get_array('energy')).all():
            return 'energy or forces are not finite'
        limit = self._dft().force_limit_eV_per_A
        return f'largest force {largest:.1f} eV/A, allowed: {limit}' if largest > limit else None

    def _dft(self) -> DftConfig:
        return DftConfig.model_validate(self.inputs.dft.get_dict())


def frame_costs(dataset: AtomicDatasetData, pseudos: Any) -> list[float]:
    """Return the relative cost of each frame's SCF: the number of valence electrons to the third power."""
    valence = {element: float(pseudo.z_valence) for element, pseudo in pseudos.items()}
    frames = dataset.get_frames()
    electrons = (
        sum(valence[chemical_symbols[number]] for number in frames.numbers[frames.span(row)])
        for row in range(len(frames))
    )
    return [count**COST_EXPONENT for count in electrons]


def deal_lanes(costs: list[float], n_lanes: int) -> list[list[int]]:
    """Return the rows of each lane: dearest first, each to the lane with the least to do; no lane is empty."""
    lanes: list[list[int]] = [[] for _ in range(min(n_lanes, len(costs)))]
    totals = [0.0] * len(lanes)
    for row in sorted(range(len(costs)), key=lambda row: (-costs[row], row)):
        lane = totals.index(min(totals))
        lanes[lane].append(row)
        totals[lane] += costs[row]
    return lanes


def validate_inputs(inputs: dict[str, Any], _: Any) -> str | None:
    """Refuse a frame with an element that no pseudopotential is given for, before anything is submitted."""
    if 'dataset' not in inputs or 'pseudos' not in inputs.get('pw', {}):
        return None
    return check_elements(
        inputs['dataset'].elements, inputs['pw']['pseudos'], port='pw.pseudos', remedy='give a UPF for each element'
    )
