"""Phase 4: DFT at the halt goes into the teacher, and through it and directly into the student."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aiida import orm
from aiida.engine import ToContext, WorkChain, if_

from ..calculations.finetune import FinetuneCalculation
from ..calculations.label import LabelCalculation
from ..calculations.sample import SampleCalculation
from ..data.ace_potential import AcePotentialData
from ..data.dataset import AtomicDatasetData
from ..data.teacher import TeacherModelData
from ..science.config import FitConfig
from .distillation import BLOCK as FIRST_BLOCK
from .pacemaker_base import validate_size
from .ports import add_shared_ports
from .protocol import ProtocolBuilder
from .trainers import BLOCK_TYPES, Lesson, TrainerSteps, add_block_outputs, add_trainer_ports, check_trainer


class FinetuneWorkChain(ProtocolBuilder, TrainerSteps, WorkChain):
    """Train the teacher on DFT, let it label frames around the halt, add these and the DFT rows to the student.

    A teacher that cannot be trained (a plug-in) stays as it is and labels nothing around the halt, where it was found
    wanting: DFT alone goes into the student.
    """

    PROTOCOL = 'finetune'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports, outline and exit codes."""
        super().define(spec)
        add_shared_ports(spec, 'finetune', 'fit', 'thresholds')
        add_trainer_ports(spec)
        spec.input('teacher', valid_type=TeacherModelData, help='The teacher as it is.')
        spec.input(
            'elements',
            valid_type=orm.List,
            required=False,
            help="Chemical symbols of the system; default: the potential's.",
        )
        spec.input('potential', valid_type=AcePotentialData, help='The student as it is; its basis stays frozen.')
        spec.input_namespace(
            'blocks', valid_type=BLOCK_TYPES, dynamic=True, help='What the student was fitted to, by source.'
        )
        spec.input_namespace(
            'rows',
            valid_type=orm.ArrayData,
            dynamic=True,
            required=False,
            help='Array `indices` by block: the rows that count, where not all do.',
        )
        spec.input_namespace(
            'label_datasets',
            valid_type=AtomicDatasetData,
            dynamic=True,
            required=False,
            help='Label geometries with DFT forces by name, all so far, for the teacher; none: it stays as it is.',
        )
        spec.input_namespace(
            'training_datasets',
            valid_type=AtomicDatasetData,
            dynamic=True,
            help='New training geometries with DFT forces by name, for the student.',
        )
        spec.input('halted', valid_type=AtomicDatasetData, help='Frames around the halt: surrogates start from these.')
        spec.input('generation', valid_type=orm.Int, default=lambda: orm.Int(1), help='Number in names of new blocks.')
        spec.input(
            'replay_buffer_size',
            valid_type=orm.Int,
            required=False,
            validator=validate_size,
            help='Earlier frames that are learnt again by a trainer without incremental updates.',
        )
        spec.inputs.validator = validate_inputs
        spec.outline(
            if_(cls.should_finetune_teacher)(
                cls.finetune_teacher,
                cls.inspect_finetune_teacher,
            ),
            if_(cls.should_label_around)(
                cls.sample_surrogates,
                cls.inspect_sample_surrogates,
                cls.label_surrogates,
                cls.inspect_label_surrogates,
            ),
            cls.fit,
            cls.inspect_fit,
            cls.results,
        )
        spec.output('teacher', valid_type=TeacherModelData, help='The teacher that has seen DFT, or as it was.')
        spec.output('potential', valid_type=AcePotentialData, help='The student that has seen DFT.')
        add_block_outputs(spec)
        spec.output('metrics', valid_type=orm.Dict, help='Errors by source, sizes, ridge, what happened to old labels.')
        spec.exit_code(401, 'ERROR_SUB_PROCESS_FAILED_FINETUNE', message='Training the teacher failed: {message}.')
        spec.exit_code(402, 'ERROR_SUB_PROCESS_FAILED_SAMPLE', message='Making surrogates failed: {message}.')
        spec.exit_code(403, 'ERROR_SUB_PROCESS_FAILED_LABEL', message='Labelling surrogates failed: {message}.')
        spec.exit_code(404, 'ERROR_SUB_PROCESS_FAILED_FIT', message='Updating the student failed: {message}.')

    def should_finetune_teacher(self) -> bool:
        """Return whether the teacher can learn, and from what; say so when it cannot."""
        teacher = self.inputs.teacher
        self.ctx.teacher = teacher
        if not teacher.is_trainable:
            self.report(f'a teacher of the family {teacher.family} stays as it is: DFT alone goes into the student')
        elif not self.inputs.get('label_datasets'):
            self.report('no DFT label is new: the teacher stays as it is')
            return False
        return bool(teacher.is_trainable)

    def should_label_around(self) -> bool:
        """Return whether the teacher is worth asking around the halt: none that was found wanting and cannot learn."""
        return bool(self.inputs.teacher.is_trainable)

    def finetune_teacher(self) -> Any:
        """Train the teacher on all DFT labels so far."""
        datasets = self.inputs.label_datasets
        count = sum(len(node) for node in datasets.values())
        self.report(f'generation {self.inputs.generation.value}: the teacher learns from {count} DFT-labelled frames')
        inputs = {
            'teacher': self.inputs.teacher,
            'datasets': dict(datasets),
            'settings': orm.Dict({'finetune': self.read_settings('finetune').model_dump()}),
        }
        return ToContext(finetune_teacher=self.submit_task('finetune_teacher', FinetuneCalculation, **inputs))

    def inspect_finetune_teacher(self) -> Any:
        """Take over the trained teacher."""
        failed = self.failed('finetune_teacher')
        if failed:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_FINETUNE.format(message='; '.join(failed))
        self.ctx.teacher = self.ctx.finetune_teacher.outputs.teacher
        self.report('the teacher is trained; surrogate frames around the halt are next')
        return None

    def sample_surrogates(self) -> Any:
        """Make frames around the halt with the new teacher."""
        settings = {
            'mode': 'surrogate',
            'elements': self._elements(),
            'finetune': self.read_settings('finetune').model_dump(),
        }
        inputs = {
            'teacher': self.ctx.teacher,
            'structures': self.inputs.halted,
            'settings': orm.Dict(settings),
        }
        return ToContext(sample_surrogates=self.submit_task('sample_surrogates', SampleCalculation, **inputs))

    def inspect_sample_surrogates(self) -> Any:
        """Say how many surrogates there are."""
        failed = self.failed('sample_surrogates')
        if failed:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_SAMPLE.format(message='; '.join(failed))
        self.report(f'{len(self.ctx.sample_surrogates.outputs.dataset)} surrogate frames; their labels are next')
        return None

    def label_surrogates(self) -> Any:
        """Let the new teacher label the surrogates."""
        inputs = {'dataset': self.ctx.sample_surrogates.outputs.dataset, 'teacher': self.ctx.teacher}
        return ToContext(label_surrogates=self.submit_task('label_surrogates', LabelCalculation, **inputs))

    def inspect_label_surrogates(self) -> Any:
        """Check that there are labels."""
        failed = self.failed('label_surrogates')
        if failed:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_LABEL.format(message='; '.join(failed))
        return None

    def fit(self) -> Any:
        """Solve again with the new rows; old labels of the teacher count less, as the settings say."""
        settings = self.read_settings('fit')
        labelled = self._surrogates()
        self.ctx.blocks = keep_blocks(self.inputs.blocks, settings)
        has_changed = 'finetune_teacher' in self.ctx or any(block.theory == 'dft' for block in self.ctx.blocks.values())
        factors = old_factors(self.ctx.blocks, settings) if has_changed else {}
        new = sorted([*self.inputs.training_datasets, *labelled])
        self.report(f'new blocks {", ".join(new)}; old labels: {settings.old_teacher_policy}, factors {factors}')
        self.ctx.rows = {name: node for name, node in self.inputs.get('rows', {}).items() if name in self.ctx.blocks}
        lesson = Lesson(
            datasets={**self.inputs.training_datasets, **{name: said.dataset for name, said in labelled.items()}},
            rows={**self.ctx.rows, **{name: said.kept for name, said in labelled.items()}},
            blocks=self.ctx.blocks,
            potential=self.inputs.potential,
            settings={
                'elements': self._elements(),
                'factors': factors,
                'own_zero': sorted(name for name in (*new, *self.ctx.blocks) if name != FIRST_BLOCK),
            },
        )
        return ToContext(fit=self.submit_fit('fit', lesson))

    def inspect_fit(self) -> Any:
        """Check that there is a student."""
        failed = self.fit_failed('fit')
        if failed:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_FIT.format(message='; '.join(failed))
        for name, above in atoms_above_call(self.ctx.fit.outputs.metrics, self.inputs.training_datasets).items():
            self.report(f'{name}: {above} trained core atoms are still above the call threshold')
        return None

    def results(self) -> None:
        """Attach teacher, student and blocks."""
        self.out('teacher', self.ctx.teacher)
        self.attach_fit(self.ctx.fit, self.ctx.blocks, self.ctx.rows)

    def _surrogates(self) -> dict[str, Any]:
        """Return the outputs of the labelling around the halt by block; none without a new teacher."""
        if 'label_surrogates' not in self.ctx:
            return {}
        return {f'surrogate_{self.inputs.generation.value:02d}': self.ctx.label_surrogates.outputs}

    def _elements(self) -> list[str]:
        return list(self.inputs.elements.get_list() if 'elements' in self.inputs else self.inputs.potential.elements)


def atoms_above_call(metrics: orm.Dict, names: Iterable[str]) -> dict[str, int]:
    """Return how many trained atoms of the sources ``names`` have a γ above call after the fit, where any has.

    A trainer that grades nothing reports nothing.
    """
    sources = metrics.get_dict().get('sources', {})
    counts = {name: sources.get(name, {}).get('trained_atoms_above_call', {}).get('n_atoms', 0) for name in names}
    return {name: count for name, count in counts.items() if count}


def keep_blocks(blocks: Mapping[str, Any], settings: FitConfig) -> dict[str, Any]:
    """Return the blocks that stay: with policy ``forget`` those of the old teacher go."""
    if settings.old_teacher_policy == 'forget':
        return {name: node for name, node in blocks.items() if node.theory == 'dft'}
    return dict(blocks)


def old_factors(blocks: Mapping[str, Any], settings: FitConfig) -> dict[str, float]:
    """Return the factor of every old block that the old teacher labelled; DFT's keep the factor 1."""
    return {name: settings.old_teacher_factor for name in sorted(blocks) if blocks[name].theory != 'dft'}


def validate_inputs(inputs: dict[str, Any], _: Any) -> str | None:
    """Hold names of new data against those of the blocks, and the fit against its trainer."""
    message = check_trainer(inputs)
    if message:
        return message
    if any(name not in inputs for name in ('blocks', 'training_datasets', 'generation')):
        return None
    if not inputs.get('label_datasets') and not inputs['training_datasets']:
        return 'label_datasets: is empty, and training_datasets; give at least one dataset with forces to learn'
    new = {*inputs['training_datasets'], f'surrogate_{inputs["generation"].value:02d}'}
    taken = sorted(new & set(inputs['blocks']))
    return f'blocks: {", ".join(taken)} exist already; give new data new names, a new `generation`' if taken else None
