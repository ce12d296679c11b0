"""Phases 3 and 4 as one child: what halts taught goes through DFT into teacher and student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ToContext, WorkChain, calcfunction

from ...data.ace_potential import AcePotentialData
from ...data.dataset import AtomicDatasetData
from ...data.teacher import TeacherModelData
from ...science.config import ActiveLearningThresholds, CutoutConfig
from ..cutout import CutoutWorkChain
from ..finetune import FinetuneWorkChain
from ..input_checks import settings_validator
from ..labels import join_datasets
from ..protocol import DEFAULT_OPTIONS
from ..submission import SubmitOnce, call_once, derived_seed

KINDS = {'dft': 'dft_', 'teacher': 'halt_'}  # theory of a training geometry -> how its dataset is called
SHARED = ('task_code', 'options', 'potential', 'teacher', 'thresholds')


class LearningWorkChain(SubmitOnce, WorkChain):
    """Cut out and label the halts of one round side by side, then teach teacher and student all of them at once."""

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports, outline and exit codes."""
        super().define(spec)
        spec.input('task_code', valid_type=orm.AbstractCode, help='The `pyacemaker-task` program.')
        spec.input('options', valid_type=dict, non_db=True, default=lambda: dict(DEFAULT_OPTIONS),
                   help='Scheduler options of every calculation.')  # fmt: skip
        spec.input('potential', valid_type=AcePotentialData, help='The student that drove the MD.')
        spec.input('teacher', valid_type=TeacherModelData, help='The teacher as it is.')
        spec.input('thresholds', valid_type=orm.Dict, default=lambda: orm.Dict({}),
                   validator=settings_validator(ActiveLearningThresholds, 'thresholds'),
                   help='Settings, see `ActiveLearningThresholds`.')  # fmt: skip
        spec.input_namespace('frames', valid_type=AtomicDatasetData, dynamic=True,
                             help='Frames around each halt with grades, in order of time, by walker.')  # fmt: skip
        spec.input_namespace('steps', valid_type=orm.List, dynamic=True,
                             help='The MD step of every frame, by walker.')  # fmt: skip
        spec.input_namespace('escalated', valid_type=orm.Dict, dynamic=True, required=False,
                             validator=validate_escalated,
                             help='Other settings of the cutouts of a walker, see `CutoutConfig`.')  # fmt: skip
        spec.input('to_dft', valid_type=orm.List, default=lambda: orm.List([]),
                   help='Walkers whose halts DFT labels, whatever an oracle says.')  # fmt: skip
        spec.input_namespace('earlier', valid_type=AtomicDatasetData, dynamic=True, required=False,
                             help='Label geometries with DFT forces of earlier rounds.')  # fmt: skip
        empty = {'populate_defaults': True, 'validator': None}
        spec.expose_inputs(
            CutoutWorkChain, namespace='cutout', exclude=('frames', 'steps', *SHARED),
            namespace_options={**empty, 'help': 'Phase 3; `dft.max_calls` is for all halts together.'})  # fmt: skip
        taught = ('label_datasets', 'training_datasets', 'halted', 'generation')
        spec.expose_inputs(
            FinetuneWorkChain, namespace='finetune', exclude=(*taught, *SHARED),
            namespace_options={**empty, 'help': 'Phase 4.'})  # fmt: skip
        spec.input('generation', valid_type=orm.Int, help='The number of this round, in names of labels and blocks.')
        spec.inputs.validator = validate_inputs
        spec.outline(cls.run_cutouts, cls.inspect_cutouts, cls.run_finetuning, cls.inspect_finetuning)
        spec.output_namespace('reports', valid_type=orm.Dict, dynamic=True, required=False,
                              help='What was cut, paid and rejected, by walker.')  # fmt: skip
        spec.output_namespace('label_datasets', valid_type=AtomicDatasetData, dynamic=True, required=False,
                              help='Label geometries with DFT forces, by round and walker.')  # fmt: skip
        spec.output_namespace('training_datasets', valid_type=AtomicDatasetData, dynamic=True, required=False,
                              help='Training geometries by round and walker: `dft_..` has the forces of DFT, '
                              '`halt_..` of a teacher that was sure.')  # fmt: skip
        spec.expose_outputs(FinetuneWorkChain)
        for port in FinetuneWorkChain.spec().outputs:
            spec.outputs[port].required = False
        spec.exit_code(401, 'ERROR_SUB_PROCESS_FAILED_CUTOUT', message='Phase 3 gave no label: {message}')
        spec.exit_code(402, 'ERROR_SUB_PROCESS_FAILED_FINETUNE', message='Phase 4 failed: {message}')

    def run_cutouts(self) -> Any:
        """Run phase 3 on the frames around every halt; no more SCFs in all than may be paid for."""
        shares = share_out(self.inputs.cutout.dft.max_calls.value, len(self.inputs.frames))
        walkers = sorted(self.inputs.frames)
        self.ctx.walkers = [name for name, share in zip(walkers, shares, strict=True) if share]
        for name in walkers[len(self.ctx.walkers) :]:
            self.report(f'{name}: no SCF is left for its halt')
        children = {
            name: self.submit_once(f'cutout_{name}', CutoutWorkChain, self._cutout_inputs(name, share))
            for name, share in zip(self.ctx.walkers, shares, strict=False)
        }
        return ToContext(**children)

    def _cutout_inputs(self, name: str, share: int) -> dict[str, Any]:
        given = self.inputs.cutout
        alone = len(self.inputs.frames) == 1
        if name in self.inputs.to_dft.get_list():
            given = {port: value for port, value in given.items() if port != 'oracle_threshold_eV_per_A'}
        return {
            **given,
            **self._shared(),
            'cutout': self.inputs.get('escalated', {}).get(name, given['cutout']),
            'frames': self.inputs.frames[name],
            'steps': self.inputs.steps[name],
            'n_epicentres': orm.Int(min(given['n_epicentres'].value, share)),
            'dft': {**given['dft'], 'max_calls': orm.Int(share)},
            'seed': given['seed'] if alone else orm.Int(derived_seed(given['seed'].value, name)),
        }

    def inspect_cutouts(self) -> Any:
        """Attach what was paid and learnt; a halt without a label is no reason to throw away those of others."""
        labels: dict[str, AtomicDatasetData] = {}
        training: dict[str, AtomicDatasetData] = {}
        said = []
        for name in self.ctx.walkers:
            child = self.ctx[name]
            if 'report' in child.outputs:
                self.out(f'reports.{name}', child.outputs.report)
            if 'training_dataset' in child.outputs:
                for kind, prefix in KINDS.items():
                    training |= self._of_theory(child.outputs.training_dataset, kind, f'{prefix}{self._name(name)}')
                labels |= self._of_theory(child.outputs.label_dataset, 'dft', f'dft_{self._name(name)}')
            else:
                said.append(f'{name}: {child.exit_message or child.process_state.value}')
                self.report(f'no label: {said[-1]}')
        if not training:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_CUTOUT.format(message='; '.join(said))
        if labels:
            self.out('label_datasets', labels)
        self.out('training_datasets', training)
        self.ctx.labels, self.ctx.training = labels, training
        return None

    def run_finetuning(self) -> Any:
        """Run phase 4 on all label geometries so far and the newest training geometries."""
        frames = dict(self.inputs.frames)
        halted = next(iter(frames.values())) if len(frames) == 1 else call_once(self, 'halted', join_datasets, **frames)
        inputs = {
            **self.inputs.finetune,
            **self._shared(),
            'label_datasets': {**self.inputs.get('earlier', {}), **self.ctx.labels} if self.ctx.labels else {},
            'training_datasets': self.ctx.training,
            'halted': halted,
            'generation': self.inputs.generation,
        }
        return ToContext(finetune=self.submit_once('finetune', FinetuneWorkChain, inputs))

    def inspect_finetuning(self) -> Any:
        """Attach teacher, student and blocks."""
        child = self.ctx.finetune
        if not child.is_finished_ok:
            message = child.exit_message or child.process_state.value
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_FINETUNE.format(message=message)
        self.out_many(self.exposed_outputs(child, FinetuneWorkChain))
        return None

    def _shared(self) -> dict[str, Any]:
        return {port: self.inputs[port] for port in SHARED}

    def _of_theory(self, dataset: AtomicDatasetData, kind: str, name: str) -> dict[str, AtomicDatasetData]:
        """Return the rows of ``dataset`` with labels of this kind of theory under ``name``; nothing without any."""
        kinds = {theory.get('kind') for theory in dataset.base.attributes.get('theories')}
        if kind not in kinds:
            return {}
        if kinds == {kind}:
            return {name: dataset}
        return {name: call_once(self, f'rows_{dataset.uuid[:8]}_{kind}', take_theory, dataset, orm.Str(kind))}

    def _name(self, walker: str) -> str:
        """Return the number of the round, and the walker where there are several."""
        base = f'{self.inputs.generation.value:02d}'
        return base if len(self.inputs.frames) == 1 else f'{base}_{walker}'


@calcfunction
def take_theory(dataset: AtomicDatasetData, kind: orm.Str) -> AtomicDatasetData:
    """Return the rows whose labels are of this kind of theory."""
    frames = dataset.get_frames()
    ours = [number for number, theory in enumerate(frames.theories) if theory.get('kind') == kind.value]
    chosen = frames.select(np.flatnonzero(np.isin(frames.theory_id, ours)))
    numbers = np.searchsorted(ours, chosen.theory_id)
    theories = tuple(frames.theories[number] for number in ours)
    return AtomicDatasetData.from_frames(chosen.with_columns(theory_id=numbers, theories=theories))


def share_out(total: int, n_parts: int) -> Sequence[int]:
    """Return ``total`` in ``n_parts`` whole parts that differ by one at most, the larger first."""
    return [total // n_parts + (part < total % n_parts) for part in range(n_parts)]


def validate_escalated(given: Any, _: Any) -> str | None:
    """Hold every entry against the model of the cutouts' settings."""
    check = settings_validator(CutoutConfig, 'escalated')
    return next((message for node in (given or {}).values() if (message := check(node, None))), None)


def validate_inputs(inputs: dict[str, Any], _: Any) -> str | None:
    """Refuse a call without halts or a budget, and steps that belong to no frames."""
    if any(name not in inputs for name in ('frames', 'steps', 'cutout')):
        return None
    if not inputs['frames'] or set(inputs['frames']) != set(inputs['steps']):
        return f'frames: of {sorted(inputs["frames"])}, steps: of {sorted(inputs["steps"])}; need both of each walker'
    if 'max_calls' not in inputs['cutout'].get('dft', {}):
        return 'cutout.dft.max_calls: not given; say how many SCFs may be paid for'
    return None
