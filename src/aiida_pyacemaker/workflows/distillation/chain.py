"""Phase 1: what the teacher knows about these elements goes into a student, before any DFT."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ToContext, WorkChain, while_

from ...calculations.label import LabelCalculation
from ...calculations.sample import SampleCalculation
from ...calculations.select import SelectCalculation
from ...data.ace_potential import AcePotentialData
from ...data.dataset import AtomicDatasetData
from ...data.teacher import TeacherModelData
from ...science.pools import subsystems_of
from ..ports import add_shared_ports
from ..protocol import ProtocolBuilder, load_protocol
from ..submission import call_once
from ..trainers import Lesson, TrainerSteps, add_block_outputs, add_trainer_ports
from .checks import check_symbols, validate_baseline, validate_density, validate_inputs
from .data import (
    gather_prototypes,
    keep_rows,
    read_structures,
    summarise_distillation,
    take_ground_state,
    take_prototypes,
)
from .resumption import ResumeSteps

BLOCK = 'teacher_00'


class DistillationWorkChain(ProtocolBuilder, ResumeSteps, TrainerSteps, WorkChain):
    """Make a pool, select from it, let the teacher label, keep what its committee agrees on, fit the student.

    Elements are enough to start from. Where the learning curve says that more data are worth it, all of this is done
    again with another pool, as often as `distillation.max_rounds` allows, and the student learns from all rounds.
    """

    PROTOCOL = 'distillation'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports, outline and exit codes."""
        super().define(spec)
        add_shared_ports(spec, 'distillation', 'fit', 'thresholds')
        add_trainer_ports(spec)
        spec.input('teacher', valid_type=TeacherModelData, help='The foundation model, or a committee of them.')
        spec.input('elements', valid_type=orm.List, help='Chemical symbols of the system.')
        spec.input('prototypes', valid_type=AtomicDatasetData, required=False,
                   help='Crystals or molecules that the pool starts from; default: structure types of `elements`.')
        spec.input_namespace('structures', valid_type=orm.StructureData, dynamic=True, required=False,
                             help='More of them, one by one.')
        spec.input('reference', valid_type=AtomicDatasetData, required=False,
                   help='Frames with DFT forces: the teacher\'s own error is measured on them.')
        spec.input('baseline', valid_type=orm.Str, default=lambda: orm.Str('LJ'), validator=validate_baseline,
                   help='Pair potential under the student: `LJ` (repulsive wall fitted to the teacher) or `ZBL`.')
        spec.input('density', valid_type=orm.Float, default=lambda: orm.Float(1.0), validator=validate_density,
                   help='Multiplies the counts of the pool; above 1 also how many frames are selected.')
        spec.inputs.validator = validate_inputs
        spec.outline(
            cls.setup,
            while_(cls.should_sample)(
                cls.sample,
                while_(cls.was_killed)(cls.run_killed_again),
                cls.inspect_sample,
                cls.select,
                while_(cls.was_killed)(cls.run_killed_again),
                cls.inspect_select,
                cls.label,
                while_(cls.was_killed)(cls.run_killed_again),
                cls.inspect_label,
                cls.fit,
                cls.inspect_fit,
            ),
            cls.results,
        )
        spec.output('potential', valid_type=AcePotentialData, help='The student.')
        add_block_outputs(spec)
        spec.output('metrics', valid_type=orm.Dict, help='Errors on training and held-out frames, sizes, ridge.')
        spec.output('report', valid_type=orm.Dict,
                    help='What was made, dropped, inferred, selected and learnt, by generator and by subsystem.')
        spec.output('pool', valid_type=AtomicDatasetData, help='All frames that were made in the first round.')
        spec.output('prototypes', valid_type=AtomicDatasetData, help='The relaxed crystals that the pool started from.')
        spec.output('ground_state', valid_type=AtomicDatasetData,
                    help='Of those with the most elements the one of lowest formation energy.')
        spec.output('labelled', valid_type=AtomicDatasetData,
                    help='The frames selected in the first round with the teacher\'s labels.')
        spec.output_namespace('more_labelled', valid_type=AtomicDatasetData, dynamic=True, required=False,
                              help='Those of later rounds, by the name of their block.')
        spec.output_namespace('rejected', valid_type=AtomicDatasetData, dynamic=True, required=False,
                              help='Frames that the teacher is too unsure of, by block: candidates for DFT.')
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
        """Return a builder as :class:`.ProtocolBuilder` does, from what a user has at hand.

        elements: symbols, default those of the structures; teacher: a node, a file or a name, default the one that
        `distillation.mace_model_path` says; structures: files (CIF, ...), ASE structures or nodes, in a list.
        """
        settings = load_protocol(cls.PROTOCOL, inputs.get('protocol'), inputs.get('overrides'))
        cls.check_ports(set(inputs) - {'protocol', 'overrides', 'options'})
        given = inputs.pop('structures', None)
        if given:
            inputs['structures'] = read_structures(given)
        if isinstance(inputs.get('elements'), (list, tuple)):
            inputs['elements'] = orm.List(list(inputs['elements']))
        if 'elements' not in inputs:
            known = {symbol for node in inputs.get('structures', {}).values() for symbol in node.get_symbols_set()}
            known |= set(inputs['prototypes'].elements) if 'prototypes' in inputs else set()
            if known:
                inputs['elements'] = orm.List(sorted(known))
        check_symbols(inputs.get('elements'))
        # a model may have to be fetched: only once all else is known to be right
        teacher = inputs.get('teacher', settings['distillation'].get('mace_model_path', 'medium-mpa-0'))
        if not isinstance(teacher, orm.Node):
            inputs['teacher'] = TeacherModelData.from_name(teacher)
        return super().get_builder_from_protocol(task_code, **inputs)

    def setup(self) -> None:
        """Nothing is known yet."""
        self.ctx.round = 0
        self.ctx.worth_more = True
        self.ctx.lessons = {}
        self.ctx.rows = {}

    def should_sample(self) -> bool:
        """Return whether another pool is to be made."""
        return bool(self.ctx.worth_more and self.ctx.round < self.read_settings('distillation').max_rounds)

    def sample(self) -> Any:
        """Make the pool, and in the first round the pairs of atoms for the baseline."""
        self.ctx.round += 1
        elements = self.inputs.elements.get_list()
        pool = self.read_settings('distillation').pool.model_dump()
        density = self._density()
        self.report(f'round {self.ctx.round}: a pool for {"-".join(elements)} at density {density:.2f}')
        structures = self._prototypes()
        settings = {'mode': 'pool', 'elements': elements, 'pool': pool, 'density': density}
        inputs = {'teacher': self.inputs.teacher, 'structures': structures, 'settings': orm.Dict(settings)}
        children = {'sample_pool': self.submit_task(self._label('sample_pool'), SampleCalculation, **inputs)}
        if self.ctx.round == 1:
            dimers = orm.Dict({'mode': 'dimers', 'elements': elements, 'pool': pool})
            children['sample_dimers'] = self.submit_task('sample_dimers', SampleCalculation, settings=dimers)
        return self.await_tasks(children)

    def inspect_sample(self) -> Any:
        """Say how many frames there are."""
        failed = self.failed('sample_pool', 'sample_dimers')
        if failed:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_SAMPLE.format(message='; '.join(failed))
        self.ctx.pool = self.ctx.sample_pool.outputs.dataset
        if self.ctx.round == 1:
            self.ctx.first_pool = self.ctx.sample_pool
            self.out('pool', self.ctx.pool)
            relaxed = call_once(self, 'prototypes', take_prototypes, self.ctx.pool)
            self.out('prototypes', relaxed)
            self.ctx.home = relaxed
            nodes = (relaxed, self.ctx.sample_pool.outputs.report)
            self.out('ground_state', call_once(self, 'ground_state', take_ground_state, *nodes))
        self.report(f'the pool holds {len(self.ctx.pool)} frames; selecting is next')
        return None

    def select(self) -> Any:
        """Select what to label, and in the first round what to keep out of training."""
        settings = self.read_settings('distillation')
        count = round(settings.n_selected * max(self._density(), 1.0))  # a denser pool is there to be learnt from
        kept_out = settings.held_out_fraction if self.ctx.round == 1 else 0.0
        how = {'count': count, 'held_out_fraction': kept_out, 'selection': settings.selection.model_dump()}
        if settings.selection.needs_student:
            how['fit'] = self.inputs.fit.get_dict()
        inputs = {'dataset': self.ctx.pool, 'teacher': self.inputs.teacher, 'settings': orm.Dict(how)}
        return self.await_tasks({'select': self.submit_task(self._label('select'), SelectCalculation, **inputs)})

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
        """Let the teacher label the selected frames; in the first round the held-out ones, pairs and reference too."""
        settings = self.read_settings('distillation')
        # frames that nobody asked the teacher about while the pool was made may still be absurd to it
        limit = {} if settings.pool.check_forces else {'max_force': settings.pool.max_force_eV_per_A}
        selection = {'dataset': self.ctx.pool, 'indices': self.ctx.select.outputs.selection}
        limits = ('uncertainty_threshold', 'atom_uncertainty_threshold', 'distance_threshold')
        wanted = {**limit, **{name: getattr(settings, name) for name in limits if getattr(settings, name) is not None}}
        home = {'home': self.ctx.home} if settings.distance_threshold else {}
        steps = {'label': (wanted, {**selection, **home, 'indices_name': orm.Str('selected')})}
        if self.ctx.round == 1:
            steps['label_dimers'] = ({}, {'dataset': self.ctx.sample_dimers.outputs.dataset})
            if self.ctx.n_held_out:
                steps['label_held_out'] = (limit, {**selection, 'indices_name': orm.Str('held_out')})
            if 'reference' in self.inputs:
                steps['label_reference'] = ({}, {'dataset': self.inputs.reference})
        return self.await_tasks({name: self._submit_label(self._label(name), *parts) for name, parts in steps.items()})

    def inspect_label(self) -> Any:
        """Say how many labels the committee agrees on."""
        failed = self.failed(*self.ctx.awaited)
        if self.ctx.label.exit_status == LabelCalculation.exit_codes.ERROR_NOTHING_LEFT.status:
            return self.exit_codes.ERROR_NOTHING_CONFIDENT
        if failed:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_LABEL.format(message='; '.join(failed))
        outputs, block = self.ctx.label.outputs, f'teacher_{self.ctx.round - 1:02d}'
        self.ctx.lessons = {**self.ctx.lessons, block: outputs.dataset}
        self.ctx.rows = {**self.ctx.rows, block: outputs.kept}
        if 'rejected' in outputs:
            self.ctx.rejected = {**self.ctx.get('rejected', {}), block: outputs.rejected}
        n_kept = outputs.kept.get_shape('indices')[0]
        if self.ctx.round == 1:
            self.ctx.first_labels = self.ctx.label
            self.out('labelled', outputs.dataset)
            self._keep_held_out()
        self.report(f'the teacher labelled {len(outputs.dataset)} frames, {n_kept} with confidence; the fit is next')
        return None

    def fit(self) -> Any:
        """Fit the student to the labels of all rounds that are kept."""
        settings = self.read_settings('distillation')
        held_out = self.ctx.get('held_out')
        curve = {'learning_curve': settings.learning_curve, 'worth_gain': settings.worth_gain} if held_out else {}
        lesson = Lesson(
            datasets=self.ctx.lessons,
            rows=self.ctx.rows,
            dimers=self.ctx.label_dimers.outputs.dataset,
            held_out=held_out,
            settings={'elements': self.inputs.elements.get_list(), 'baseline': self.inputs.baseline.value},
            curve=curve,
        )
        return ToContext(fit=self.submit_fit(self._label('fit'), lesson))

    def inspect_fit(self) -> Any:
        """Check that there is a student, and whether another pool would make a better one."""
        failed = self.fit_failed('fit')
        if failed and self.lacks_environments('fit'):
            return self.exit_codes.ERROR_TOO_FEW_ENVIRONMENTS.format(message='; '.join(failed))
        if failed:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_FIT.format(message='; '.join(failed))
        curve = self.ctx.fit.outputs.metrics.get_dict().get('learning_curve', {})
        self.ctx.worth_more = bool(curve.get('worth_more'))
        if 'gain_of_twice_as_many' in curve:
            gain, wanted = curve['gain_of_twice_as_many'], curve['worth_gain']
            verdict = 'worth it' if self.ctx.worth_more else 'not worth it'
            self.report(f'twice as many frames promise an error lower by {gain:.0%}, wanted {wanted:.0%}: {verdict}')
        return None

    def results(self) -> None:
        """Attach the student and the report."""
        self.attach_fit(self.ctx.fit, {}, {})
        later = {name: node for name, node in self.ctx.lessons.items() if name != BLOCK}
        if later:
            self.out('more_labelled', later)
        if 'rejected' in self.ctx:
            self.out('rejected', self.ctx.rejected)
        records = {
            'pool': self.ctx.first_pool.outputs.report,
            'selection': self.ctx.select.outputs.report,
            'labels': self.ctx.first_labels.outputs.report,
            'metrics': self.ctx.fit.outputs.metrics,
        }
        if 'label_reference' in self.ctx:
            records |= {'reference': self.inputs.reference, 'answers': self.ctx.label_reference.outputs.dataset}
        self.out('report', call_once(self, 'summary', summarise_distillation, **records))

    def _keep_held_out(self) -> None:
        """Attach the held-out frames, without those that the teacher finds absurd."""
        if not self.ctx.n_held_out:
            return
        outputs = self.ctx.label_held_out.outputs
        whole = outputs.kept.get_shape('indices')[0] == len(outputs.dataset)
        nodes = (outputs.dataset, outputs.kept)
        self.ctx.held_out = outputs.dataset if whole else call_once(self, 'held_out', keep_rows, *nodes)
        self.out('held_out', self.ctx.held_out)

    def _prototypes(self) -> AtomicDatasetData | None:
        """Return what the pool starts from besides structure types, if anything; later rounds have it relaxed."""
        given = dict(self.inputs.get('structures', {}))
        if not given:
            return self.inputs.get('prototypes')
        if 'prototypes' in self.inputs:
            given['prototypes'] = self.inputs.prototypes
        return call_once(self, 'gather_prototypes', gather_prototypes, **given)

    def _label(self, step: str) -> str:
        """Return the link label of a step: its own name in the first round."""
        return step if self.ctx.round == 1 else f'{step}_{self.ctx.round}'

    def _density(self) -> float:
        """Return the factor on the pool's counts, lowered where the pool would exceed the settings' maximum."""
        settings = self.read_settings('distillation')
        given = any(name in self.inputs for name in ('prototypes', 'structures'))
        largest = settings.pool.largest_subsystem(structures_given=given)
        n_systems = max(1, len(subsystems_of(self.inputs.elements.get_list(), largest=largest)))
        allowed = settings.sampling_structures_per_system * n_systems / max(settings.pool.n_frames, 1)
        return float(min(self.inputs.density.value, allowed))

    def _submit_label(self, link_label: str, settings: dict[str, Any], nodes: dict[str, Any]) -> orm.ProcessNode:
        shared = {'teacher': self.inputs.teacher, 'settings': orm.Dict(settings)}
        return self.submit_task(link_label, LabelCalculation, **nodes, **shared)
