"""Phase 3: from the frames around a halt to DFT forces on the atoms that the student did not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from aiida import orm
from aiida.engine import ToContext, WorkChain

from ..calculations.cutout import CutoutCalculation
from ..data.ace_potential import AcePotentialData
from ..data.dataset import AtomicDatasetData
from ..data.teacher import TeacherModelData
from ..science.config import CutoutConfig, DftConfig
from ..science.cutout import cap_elements, cap_pseudos
from ..science.dft.pseudo_hydrogen import CAP_NAME
from .dft.label_dft import DftLabelWorkChain
from .input_checks import check_elements
from .labels import join_datasets, report_cutouts, transfer_labels
from .oracle import TieredOracleWorkChain, validate_threshold
from .ports import TaskSteps, add_shared_ports
from .protocol import DEFAULT_OPTIONS, load_protocol, merge
from .submission import call_once


class CutoutWorkChain(TaskSteps, WorkChain):
    """Cut out the atoms of highest grade, label the clusters with DFT, hand the core forces to the untouched frame."""

    PROTOCOL: ClassVar[str] = 'cutout'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports, outline and exit codes."""
        super().define(spec)
        add_shared_ports(spec, 'cutout', 'thresholds')
        spec.input('frames', valid_type=AtomicDatasetData, help='Frames around the halt with grades, in order of time.')
        spec.input('steps', valid_type=orm.List, help='The MD step of every frame.')
        spec.input('potential', valid_type=AcePotentialData, help='The student that drove the MD.')
        spec.input('teacher', valid_type=TeacherModelData, help='The model that relaxes buffer and caps.')
        spec.input(
            'n_epicentres', valid_type=orm.Int, default=lambda: orm.Int(1), help='How many cutouts are asked for.'
        )
        spec.expose_inputs(
            DftLabelWorkChain,
            namespace='dft',
            exclude=('dataset', 'options'),
            namespace_options={'help': 'How the clusters are labelled.', 'validator': None},
        )
        spec.input(
            'dft.options',
            valid_type=dict,
            non_db=True,
            required=False,
            help='Scheduler options of the SCFs, if others.',
        )
        spec.input('oracle_threshold_eV_per_A', valid_type=orm.Float, required=False, validator=validate_threshold,
                   help='Up to this uncertainty on the core the teacher labels a cluster, DFT above.')  # fmt: skip
        spec.inputs.validator = validate_inputs
        spec.outline(cls.run_cutout, cls.inspect_cutout, cls.run_dft, cls.inspect_dft, cls.results)
        spec.output('label_dataset', valid_type=AtomicDatasetData, help='Clusters with their labels.')
        spec.output(
            'training_dataset', valid_type=AtomicDatasetData, help='Untouched surroundings with DFT core forces.'
        )
        spec.output('quarantine', valid_type=AtomicDatasetData, required=False, help='Clusters that have no label.')
        spec.output('routing', valid_type=orm.ArrayData, required=False,
                    help='With an oracle: rows that the teacher labelled, rows of DFT, what decided.')  # fmt: skip
        spec.output('report', valid_type=orm.Dict, help='Epicentres, acceptance, rejections, SCF runs, failures.')
        spec.exit_code(401, 'ERROR_SUB_PROCESS_FAILED_CUTOUT', message='Nothing was cut out: {message}.')
        spec.exit_code(402, 'ERROR_SUB_PROCESS_FAILED_DFT', message='No cluster was labelled: {message}.')
        spec.exit_code(601, 'BUDGET_SPENT', message='{message}')

    @classmethod
    def get_builder_from_protocol(
        cls,
        task_code: orm.AbstractCode,
        *,
        protocol: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        **nodes: Any,
    ) -> Any:
        """Return a builder: settings from the protocol; ``pw_code``, ``pseudos`` and every other port by name.

        Raise ``ValueError`` for an unknown protocol or override, naming what is allowed.
        """
        builder = cls.get_builder()
        builder.task_code = task_code
        builder.dft.pw.code, builder.dft.pw.pseudos = nodes.pop('pw_code'), nodes.pop('pseudos')
        settings = load_protocol(cls.PROTOCOL, protocol, overrides)
        builder.dft.dft = orm.Dict(settings.pop('dft'))
        for port, values in settings.items():
            setattr(builder, port, orm.Dict(values))
        if options is not None:
            builder.options = merge(DEFAULT_OPTIONS, options)
        for port, node in nodes.items():
            setattr(builder, port, node)
        return builder

    def run_cutout(self) -> Any:
        """Find epicentres, cut, cap, relax and check."""
        settings = {
            'cutout': self.read_settings('cutout').model_dump(),
            'thresholds': self.read_settings('thresholds').model_dump(),
            'n_epicentres': self.inputs.n_epicentres.value,
            **label_theory(self.inputs.dft),
        }
        nodes = {name: self.inputs[name] for name in ('frames', 'steps', 'potential', 'teacher')}
        return ToContext(cutout=self.submit_task('cutout', CutoutCalculation, **nodes, settings=orm.Dict(settings)))

    def inspect_cutout(self) -> Any:
        """Say what was cut out and what was rejected."""
        failed = self.failed('cutout')
        if failed:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_CUTOUT.format(message='; '.join(failed))
        report = self.ctx.cutout.outputs.report.get_dict()
        for row in report['epicentres']:
            grade = 'not finite' if row['gamma'] is None else f'{row["gamma"]:.2f}'
            where = f'step {row["step"]} atom {row["atom"]} grade {grade}'
            self.report(f'cutout: {where}: {row["policy"]}, {row["label"]["n_atoms"]} atoms')
            for attempt in row['tried']:
                self.report(f'cutout: {where}: not {attempt["policy"]}: {attempt["reason"]}')
        for row in report['covered']:
            self.report(f'covered by the whole frame: step {row["step"]} atom {row["atom"]}')
        for row in report['rejected']:
            self.report(f'rejected: step {row["step"]} atom {row["atom"]}: {row["reason"]}')
        return None

    def run_dft(self) -> Any:
        """Label the clusters by DFT, or by the teacher where an oracle finds it sure."""
        dft = {'options': self.inputs.options, **self.inputs.dft}
        dataset = self.ctx.cutout.outputs.label_geometry
        if 'oracle_threshold_eV_per_A' not in self.inputs:
            return ToContext(dft=self.submit_once('dft', DftLabelWorkChain, {**dft, 'dataset': dataset}))
        inputs = {
            **{port: self.inputs[port] for port in ('task_code', 'options', 'teacher')},
            'dataset': dataset,
            'threshold_eV_per_A': self.inputs.oracle_threshold_eV_per_A,
            'reference': {'dft': dft},
        }
        return ToContext(dft=self.submit_once('oracle', TieredOracleWorkChain, inputs))

    def inspect_dft(self) -> Any:
        """Attach what was paid; go on with the labels there are."""
        dft = self.ctx.dft.outputs
        if 'report' in dft:
            self.out('report', call_once(self, 'report', report_cutouts, self.ctx.cutout.outputs.report, dft.report))
        for name in ('quarantine', 'routing'):
            if name in dft:
                self.out(name, dft[name])
        if 'labels' not in dft:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_DFT.format(message='; '.join(self.failed('dft')))
        return None

    def results(self) -> Any:
        """Hand the labels over to the untouched frames and attach both."""
        dft = self.ctx.dft.outputs
        parts = dict(dft.labels)
        one = len(parts) == 1
        labels = next(iter(parts.values())) if one else call_once(self, 'join_labels', join_datasets, **parts)
        nodes = (self.ctx.cutout.outputs.training_geometry, labels, dft.report)
        self.out('label_dataset', labels)
        self.out('training_dataset', call_once(self, 'transfer_labels', transfer_labels, *nodes))
        if self.ctx.dft.exit_status == DftLabelWorkChain.exit_codes.BUDGET_SPENT.status:  # the oracle's is the same
            return self.exit_codes.BUDGET_SPENT.format(message=self.ctx.dft.exit_message)
        return None


def label_theory(dft: Mapping[str, Any]) -> dict[str, Any]:
    """Return what cutting must know of the SCFs: electrons by pseudopotential, charges of caps, k-point distance."""
    charges = {name: float(node.z_valence) for name, node in dft['pw']['pseudos'].items()}
    caps = {name: CAP_NAME.fullmatch(name) for name in charges}
    return {
        'valence': {name: charge for name, charge in charges.items() if not caps[name]},
        'cap_charges': {found[1]: charges[name] for name, found in caps.items() if found},
        'kpoints_distance': DftConfig.model_validate(dft['dft'].get_dict()).kpoints_distance,
    }


def validate_inputs(inputs: dict[str, Any], _: Any) -> str | None:
    """Hold elements of the frames and the caps against teacher and pseudopotentials; one step a frame."""
    if any(name not in inputs for name in ('frames', 'steps', 'teacher', 'cutout', 'dft')):
        return None
    if len(inputs['frames']) != len(inputs['steps'].get_list()):
        return f'steps: {len(inputs["steps"].get_list())} for {len(inputs["frames"])} frames, need one a frame'
    settings = CutoutConfig.model_validate(inputs['cutout'].get_dict())
    elements = list(inputs['frames'].elements)
    needed = [*elements, *cap_elements(elements, settings)]
    known = inputs['teacher'].base.attributes.get('elements')
    message = check_elements(needed, known, port='teacher', remedy='give a model that was trained on it')
    pseudos = inputs['dft'].get('pw', {}).get('pseudos', {})
    return message or check_elements(
        [*elements, *cap_pseudos(elements, settings)],
        pseudos,
        port='dft.pw.pseudos',
        remedy='give a UPF for each; H<number> is that of a cap on an element, or set cutout.fractional_caps false',
    )
