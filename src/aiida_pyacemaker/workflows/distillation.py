"""Phase 1: what the teacher knows about these elements goes into a student, before any DFT."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ToContext, WorkChain

from ..calculations.label import LabelCalculation
from ..calculations.sample import SampleCalculation
from ..calculations.select import SelectCalculation
from ..data.ace_potential import AcePotentialData
from ..data.dataset import AtomicDatasetData
from ..data.teacher import TeacherModelData
from .ports import add_shared_ports
from .protocol import ProtocolBuilder
from .trainers import Lesson, TrainerSteps, add_block_outputs, add_trainer_ports, check_trainer

BLOCK = 'teacher_00'


class DistillationWorkChain(ProtocolBuilder, TrainerSteps, WorkChain):
    """Make a pool, select from it, let the teacher label, keep what its committee agrees on, fit the student."""

    PROTOCOL = 'distillation'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports, outline and exit codes."""
        super().define(spec)
        add_shared_ports(spec, 'distillation', 'fit', 'thresholds')
        add_trainer_ports(spec)
        spec.input('teacher', valid_type=TeacherModelData, help='The foundation model, or a committee of them.')
        spec.input('elements', valid_type=orm.List, help='Chemical symbols of the system.')
        spec.input('prototypes', valid_type=AtomicDatasetData, help='Crystals that the pool starts from.')
        spec.input('baseline', valid_type=orm.Str, default=lambda: orm.Str('LJ'), validator=validate_baseline,
                   help='Pair potential under the student: `LJ` (repulsive wall fitted to the teacher) or `ZBL`.')
        spec.input('density', valid_type=orm.Float, default=lambda: orm.Float(1.0), validator=validate_density,
                   help='Multiplies the counts of the pool; above 1 also how many frames are selected.')
        spec.inputs.validator = validate_inputs
        spec.outline(
            cls.sample,
            cls.inspect_sample,
            cls.select,
            cls.inspect_select,
            cls.label,
            cls.inspect_label,
            cls.fit,
            cls.inspect_fit,
            cls.results,
        )
        spec.output('potential', valid_type=AcePotentialData, help='The student.')
        add_block_outputs(spec)
        spec.output('metrics', valid_type=orm.Dict, help='Errors on training and held-out frames, sizes, ridge.')
        spec.output('pool', valid_type=AtomicDatasetData, help='All frames that were made.')
        spec.output('labelled', valid_type=AtomicDatasetData, help='The selected frames with the teacher\'s labels.')
        spec.output('held_out', valid_type=AtomicDatasetData, required=False,
                    help='Labelled frames that were not trained on; none when the selection is too small for one.')
        spec.exit_code(401, 'ERROR_SUB_PROCESS_FAILED_SAMPLE', message='Making the pool failed: {message}.')
        spec.exit_code(402, 'ERROR_SUB_PROCESS_FAILED_SELECT', message='Selecting from the pool failed: {message}.')
        spec.exit_code(403, 'ERROR_SUB_PROCESS_FAILED_LABEL', message='The teacher could not label: {message}.')
        spec.exit_code(404, 'ERROR_SUB_PROCESS_FAILED_FIT', message='Fitting the student failed: {message}.')
        spec.exit_code(410, 'ERROR_NOTHING_CONFIDENT',
                       message='No label passed the confidence filter: raise `uncertainty_threshold`.')
        spec.exit_code(411, 'ERROR_TOO_FEW_ENVIRONMENTS', message='The labels do not span the basis: {message}.')

    @classmethod
    def get_builder_from_protocol(cls, task_code: orm.AbstractCode, **inputs: Any) -> Any:
        """Return a builder as :class:`.ProtocolBuilder` does; `elements` default to those of the prototypes."""
        builder = super().get_builder_from_protocol(task_code, **inputs)
        if 'elements' not in inputs and 'prototypes' in inputs:
            builder.elements = orm.List(list(inputs['prototypes'].elements))
        return builder

    def sample(self) -> Any:
        """Make the pool, and the pairs of atoms for the baseline."""
        elements = self.inputs.elements.get_list()
        pool = self.read_settings('distillation').pool.model_dump()
        density = self._density()
        self.report(f'sampling a pool for {"-".join(elements)} at density {density:.2f}, and pairs for the baseline')
        return ToContext(
            sample_pool=self.submit_task(
                'sample_pool',
                SampleCalculation,
                teacher=self.inputs.teacher,
                structures=self.inputs.prototypes,
                settings=orm.Dict({'mode': 'pool', 'elements': elements, 'pool': pool, 'density': density}),
            ),
            sample_dimers=self.submit_task(
                'sample_dimers',
                SampleCalculation,
                settings=orm.Dict({'mode': 'dimers', 'elements': elements, 'pool': pool}),
            ),
        )

    def inspect_sample(self) -> Any:
        """Say how many frames there are."""
        failed = self.failed('sample_pool', 'sample_dimers')
        if failed:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_SAMPLE.format(message='; '.join(failed))
        self.ctx.pool = self.ctx.sample_pool.outputs.dataset
        self.out('pool', self.ctx.pool)
        self.report(f'the pool holds {len(self.ctx.pool)} frames; selecting is next')
        return None

    def select(self) -> Any:
        """Select what to label, and what to keep out of training."""
        settings = self.read_settings('distillation')
        count = round(settings.n_selected * max(self._density(), 1.0))  # a denser pool is there to be learnt from
        inputs = {
            'dataset': self.ctx.pool,
            'teacher': self.inputs.teacher,
            'settings': orm.Dict({'count': count, 'held_out_fraction': settings.held_out_fraction}),
        }
        return ToContext(select=self.submit_task('select', SelectCalculation, **inputs))

    def inspect_select(self) -> Any:
        """Say how many frames were selected."""
        failed = self.failed('select')
        if failed:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_SELECT.format(message='; '.join(failed))
        selection = self.ctx.select.outputs.selection
        counts = {name: selection.get_shape(name)[0] for name in ('selected', 'held_out')}
        self.ctx.n_held_out = counts['held_out']
        self.report(f'{counts["selected"]} frames to train on, {counts["held_out"]} to test on; labels are next')
        return None

    def label(self) -> Any:
        """Let the teacher label the selected and the held-out frames, and the pairs."""
        selection = {'dataset': self.ctx.pool, 'indices': self.ctx.select.outputs.selection}
        threshold = self.read_settings('distillation').uncertainty_threshold
        steps = {
            'label': ({'uncertainty_threshold': threshold}, {**selection, 'indices_name': orm.Str('selected')}),
            'label_dimers': ({}, {'dataset': self.ctx.sample_dimers.outputs.dataset}),
        }
        if self.ctx.n_held_out:
            steps['label_held_out'] = ({}, {**selection, 'indices_name': orm.Str('held_out')})
        self.ctx.label_steps = list(steps)
        return ToContext(**{name: self._submit_label(name, *parts) for name, parts in steps.items()})

    def inspect_label(self) -> Any:
        """Say how many labels the committee agrees on."""
        failed = self.failed(*self.ctx.label_steps)
        if self.ctx.label.exit_status == LabelCalculation.exit_codes.ERROR_NOTHING_LEFT.status:
            return self.exit_codes.ERROR_NOTHING_CONFIDENT
        if failed:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_LABEL.format(message='; '.join(failed))
        outputs = self.ctx.label.outputs
        n_kept = outputs.kept.get_shape('indices')[0]
        self.out('labelled', outputs.dataset)
        if self.ctx.n_held_out:
            self.ctx.held_out = self.ctx.label_held_out.outputs.dataset
            self.out('held_out', self.ctx.held_out)
        self.report(f'the teacher labelled {len(outputs.dataset)} frames, {n_kept} with confidence; the fit is next')
        return None

    def fit(self) -> Any:
        """Fit the student to the labels that are kept."""
        lesson = Lesson(
            datasets={BLOCK: self.ctx.label.outputs.dataset},
            rows={BLOCK: self.ctx.label.outputs.kept},
            dimers=self.ctx.label_dimers.outputs.dataset,
            held_out=self.ctx.get('held_out'),
            settings={'elements': self.inputs.elements.get_list(), 'baseline': self.inputs.baseline.value},
        )
        return ToContext(fit=self.submit_fit('fit', lesson))

    def inspect_fit(self) -> Any:
        """Check that there is a student."""
        failed = self.fit_failed('fit')
        if failed and self.lacks_environments('fit'):
            return self.exit_codes.ERROR_TOO_FEW_ENVIRONMENTS.format(message='; '.join(failed))
        if failed:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_FIT.format(message='; '.join(failed))
        return None

    def results(self) -> None:
        """Attach the student."""
        self.attach_fit(self.ctx.fit, {}, {})

    def _density(self) -> float:
        """Return the factor on the pool's counts, lowered where the pool would exceed the settings' maximum."""
        settings = self.read_settings('distillation')
        allowed = settings.sampling_structures_per_system / max(settings.pool.n_frames * len(self.inputs.prototypes), 1)
        return float(min(self.inputs.density.value, allowed))

    def _submit_label(self, link_label: str, settings: dict[str, Any], nodes: dict[str, Any]) -> orm.ProcessNode:
        shared = {'teacher': self.inputs.teacher, 'settings': orm.Dict(settings)}
        return self.submit_task(link_label, LabelCalculation, **nodes, **shared)


def validate_baseline(node: orm.Str, _: Any) -> str | None:
    """Refuse a baseline that is not built."""
    return None if node.value in ('LJ', 'ZBL') else f'baseline: {node.value!r}, allowed: LJ, ZBL'


def validate_density(node: orm.Float, _: Any) -> str | None:
    """Refuse a density that makes no pool."""
    return None if node.value > 0 else f'density: {node.value}, allowed: above 0'


def validate_inputs(inputs: dict[str, Any], _: Any) -> str | None:
    """Hold elements, teacher and prototypes against each other, and the fit against its trainer."""
    message = check_trainer(inputs)
    if message:
        return message
    if any(name not in inputs for name in ('elements', 'teacher', 'prototypes')):
        return None
    elements = set(inputs['elements'].get_list())
    unknown = sorted(elements - set(inputs['teacher'].elements))
    if unknown:
        return f'teacher: does not know {", ".join(unknown)}; it knows {", ".join(inputs["teacher"].elements)}'
    extra = sorted(set(inputs['prototypes'].elements) - elements)
    return f'prototypes: hold {", ".join(extra)}, which `elements` does not name' if extra else None
