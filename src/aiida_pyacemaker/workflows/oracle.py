"""The teacher labels first; the reference is paid only where the teacher is unsure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from aiida import orm
from aiida.engine import Process, ToContext, WorkChain, calcfunction, if_

from ..calculations.label import LabelCalculation
from ..calculations.reference import ReferenceCalculation
from ..data.dataset import AtomicDatasetData
from ..data.teacher import TeacherModelData
from ..science.frames import SHELL_CORE
from .dft.collect import quarantine_frames, state_report
from .dft.label_dft import DftLabelWorkChain
from .ports import TaskSteps
from .protocol import DEFAULT_OPTIONS
from .references import REPORTED, gather_labels, select_frames
from .submission import call_once


class TieredOracleWorkChain(TaskSteps, WorkChain):
    """Label frames with the teacher, and with the reference those above the threshold; is itself a reference.

    A reference is what :func:`check_reference` accepts; one of another program is added by a subclass with one more
    entry of ``REFERENCES``.
    """

    REFERENCES: ClassVar[Mapping[str, type[Process]]] = {'dft': DftLabelWorkChain, 'ase': ReferenceCalculation}

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports, outline and exit codes."""
        super().define(spec)
        spec.input('task_code', valid_type=orm.AbstractCode, help='The `pyacemaker-task` program.')
        spec.input(
            'options',
            valid_type=dict,
            non_db=True,
            default=lambda: dict(DEFAULT_OPTIONS),
            help='Scheduler options of the labelling by the teacher.',
        )
        spec.input('dataset', valid_type=AtomicDatasetData, help='The frames to label.')
        spec.input('teacher', valid_type=TeacherModelData, validator=validate_teacher, help='The committee.')
        spec.input(
            'threshold_eV_per_A',
            valid_type=orm.Float,
            validator=validate_threshold,
            help='A frame whose uncertainty, rms over its core atoms (all, where it has no core), is above goes on.',
        )
        spec.input_namespace('reference', help='Exactly one: what labels the frames that the teacher is unsure of.')
        for name, process in cls.REFERENCES.items():
            spec.expose_inputs(
                process,
                namespace=f'reference.{name}',
                exclude=('dataset',),
                namespace_options={
                    'required': False,
                    'populate_defaults': False,
                    'validator': None,
                    'help': f'Inputs of `{process.__name__}`.',
                },
            )
        spec.inputs.validator = validate_inputs
        spec.outline(
            cls.run_teacher,
            cls.route,
            if_(cls.should_run_reference)(cls.run_reference),
            cls.results,
        )
        spec.output_namespace(
            'labels',
            valid_type=AtomicDatasetData,
            dynamic=True,
            required=False,
            help='Labelled frames in the order of the input, in `part_000`; each row says whose label it is.',
        )
        spec.output('quarantine', valid_type=AtomicDatasetData, required=False, help='Frames that have no label.')
        spec.output(
            'routing',
            valid_type=orm.ArrayData,
            help='Arrays `teacher` and `reference`: rows; `uncertainty_eV_per_A`: one a row, what decided.',
        )
        spec.output('report', valid_type=orm.Dict, help='Counts, rows by outcome, runs of the reference.')
        spec.exit_code(401, 'ERROR_SUB_PROCESS_FAILED_TEACHER', message='The teacher could not label: {message}.')
        spec.exit_code(
            402,
            'ERROR_SUB_PROCESS_FAILED_REFERENCE',
            message='The reference failed, {labels} labels are attached: {message}.',
        )
        spec.exit_code(601, 'BUDGET_SPENT', message='{labels} labels are attached: {message}')

    def run_teacher(self) -> Any:
        """Ask the teacher for every frame."""
        nodes = {name: self.inputs[name] for name in ('dataset', 'teacher')}
        return ToContext(teacher=self.submit_task('teacher', LabelCalculation, **nodes))

    def route(self) -> Any:
        """Decide frame by frame, and keep the decision as a node."""
        failed = self.failed('teacher')
        if failed:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_TEACHER.format(message='; '.join(failed))
        nodes = (self.ctx.teacher.outputs.dataset, self.inputs.threshold_eV_per_A)
        self.ctx.routing = call_once(self, 'route', route_frames, *nodes)
        self.out('routing', self.ctx.routing)
        counts = [len(self.ctx.routing.get_array(name)) for name in ('teacher', 'reference')]
        self.report(f'{counts[0]} frames are labelled by the teacher, {counts[1]} go to the reference')
        return None

    def should_run_reference(self) -> bool:
        """Say whether any frame is left for the reference."""
        return len(self.ctx.routing.get_array('reference')) > 0

    def run_reference(self) -> Any:
        """Hand the frames that the teacher is unsure of to the reference."""
        name = next(name for name in self.REFERENCES if name in self.inputs.reference)
        process = self.REFERENCES[name]
        inputs = self.exposed_inputs(process, namespace=f'reference.{name}', agglomerate=False)
        inputs['dataset'] = call_once(self, 'select', select_frames, self.inputs.dataset, self.ctx.routing)
        return ToContext(reference=self.submit_once('reference', process, inputs))

    def results(self) -> Any:
        """Attach every label there is, frames without one, and the report."""
        asked = 'reference' in self.ctx
        outputs = self.ctx.reference.outputs if asked else {}
        answered = outputs['report'] if 'report' in outputs else None
        parts = dict(outputs['labels']) if answered is not None and 'labels' in outputs else {}
        summary = self._summarise(answered)
        if summary['labelled']:
            nodes = (self.ctx.routing, self.ctx.teacher.outputs.dataset, *([answered] if parts else []))
            self.out('labels', {'part_000': call_once(self, 'gather', gather_labels, *nodes, **parts)})
        if summary['failed']:
            rows, reasons = ([each[key] for each in summary['failed']] for key in ('row', 'reason'))
            nodes = (self.inputs.dataset, orm.List(rows), orm.List(reasons))
            self.out('quarantine', call_once(self, 'quarantine', quarantine_frames, *nodes))
        self.out('report', call_once(self, 'report', state_report, orm.Dict(summary)))
        return self._verdict(summary) if asked else None

    def _summarise(self, answered: orm.Dict | None) -> dict[str, Any]:
        """Return the report, its rows those of the frames that this oracle was given."""
        sure, sent = (self.ctx.routing.get_array(name).tolist() for name in ('teacher', 'reference'))
        said = dict.fromkeys(REPORTED, ()) if answered is None else answered.get_dict()
        left = list(range(len(sent))) if answered is None else said['not_run']
        labelled = [sent[row] for row in said['labelled']]
        return {
            'n_requested': len(self.inputs.dataset),
            'n_teacher': len(sure),
            'n_reference': len(labelled),
            'n_labelled': len(sure) + len(labelled),
            'n_scf': said['n_scf'] or 0,
            'labelled': sorted([*sure, *labelled]),
            'failed': [{**each, 'row': sent[each['row']]} for each in said['failed']],
            'not_run': [sent[row] for row in left],
        }

    def _verdict(self, summary: dict[str, Any]) -> Any:
        """Return the end of a run whose reference did not label all it was given."""
        child, labels = self.ctx.reference, summary['n_labelled']
        if child.is_finished_ok:
            return None
        said = child.exit_message or child.process_state.value
        if child.exit_status == self.exit_codes.BUDGET_SPENT.status:
            return self.exit_codes.BUDGET_SPENT.format(labels=labels, message=said)
        return self.exit_codes.ERROR_SUB_PROCESS_FAILED_REFERENCE.format(labels=labels, message=said.rstrip('.'))


@calcfunction
def route_frames(labelled: AtomicDatasetData, threshold: orm.Float) -> orm.ArrayData:
    """Return the rows whose label is the teacher's, and those that go to the reference.

    The uncertainty of a frame is the rms over its core atoms (all, where it has no core) of the committee's force
    spread, eV/Å: the scale of the force error that the frame would teach. A frame that the teacher has no finite label
    for goes to the reference.
    """
    frames = labelled.get_frames()
    spread = np.empty(len(frames))
    for row in range(len(frames)):
        span = frames.span(row)
        core = frames.shell[span] == SHELL_CORE
        values = frames.uncertainty[span][core if core.any() else slice(None)]
        spread[row] = np.sqrt(np.mean(values**2)) if len(values) else np.nan
    sure = (frames.label_mask > 0) & (spread <= threshold.value)
    columns = {'teacher': np.flatnonzero(sure), 'reference': np.flatnonzero(~sure), 'uncertainty_eV_per_A': spread}
    return orm.ArrayData(columns)


def validate_teacher(node: TeacherModelData, _: Any) -> str | None:
    """Refuse a single model: it cannot say how unsure it is."""
    if node.n_members > 1:
        return None
    return 'teacher: one model has no uncertainty to route by; give a committee'


def validate_threshold(node: orm.Float | None, _: Any) -> str | None:
    """Refuse what is no threshold."""
    return None if node is None or node.value > 0 else f'threshold_eV_per_A = {node.value}, allowed: more than 0'


def validate_inputs(inputs: dict[str, Any], _: Any) -> str | None:
    """Refuse none and several references."""
    if 'reference' not in inputs:
        return None
    given = sorted(inputs['reference'])
    return None if len(given) == 1 else f'reference: {", ".join(given) or "none"} given, need exactly one'
