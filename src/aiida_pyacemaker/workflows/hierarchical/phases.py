"""What the root hands to each of its phases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiida import orm
from aiida.engine import calcfunction

from ...data.dataset import AtomicDatasetData
from ...science.ace.calibration import calibrated_thresholds
from ...science.config import ActiveLearningThresholds, BudgetConfig
from ...science.pools import most_compact_supercell
from ..ports import TaskSteps
from ..protocol import merge
from ..submission import call_once, derived_seed
from .walkers import Walker, next_stop

START_ATOMS = 128


class PhaseInputs(TaskSteps):
    """Mixin of the root: inputs of the phases, from the root's ports and what is known in ``ctx``."""

    inputs: Any
    ctx: Any

    def read_budget(self) -> BudgetConfig:
        """Return when to stop paying."""
        budget: BudgetConfig = self.read_settings('strategy').budget
        return budget

    def distillation_inputs(self) -> dict[str, Any]:
        """Return the inputs of phase 1: every further attempt has a denser pool."""
        pool = self.read_settings('distillation').pool
        return {
            **self._shared('task_code', 'teacher', 'elements', 'distillation', 'fit'),
            'prototypes': self.inputs.get('prototypes'),
            **self._trainer(),
            'baseline': orm.Str(self.read_settings('strategy').baseline_potential_type),
            'thresholds': self._thresholds(),
            'density': orm.Float(pool.denser_factor ** (self.ctx.attempt - 1)),
            'seed': self._seed('distillation', self.ctx.attempt),
        }

    def validation_inputs(self) -> dict[str, Any]:
        """Return the inputs of phase 2: the newest potential against the teacher it was made from."""
        return {
            **self._shared('task_code', 'teacher', 'validation'),
            'prototypes': self.inputs.get('prototypes', self.ctx.candidate.outputs.ground_state),
            'potential': self.ctx.candidate.outputs.potential,
            'seed': self._seed('validation', self.ctx.attempt),
        }

    def exploration_inputs(self, name: str) -> dict[str, Any]:
        """Return the inputs of an MD with the current potential; where it starts is the caller's."""
        return {
            **self._shared('lammps_code', 'md'),
            **({'teacher': self.ctx.teacher} if self._is_teacher_asked() else {}),
            'potential': self.ctx.potential,
            'thresholds': self._thresholds(),
            'settings': self.inputs.lammps_settings,
            'options': merge(self.inputs.options, self.inputs.lammps_options),
            'max_segments': orm.Int(self.read_budget().max_segments),
            'seed': self._seed(name),
        }

    def stretch_inputs(self, name: str, walker: Walker) -> dict[str, Any]:
        """Return the inputs of a walker's next stretch: from its structure, or from where its last one ended."""
        alone = len(self.ctx.walkers) == 1
        inputs = self.exploration_inputs(f'explore_{self.ctx.round}' if alone else f'{name}_explore_{self.ctx.round}')
        changed = {**walker['md'], **({'soft_start': 'langevin'} if walker['shaken'] else {})}
        if changed:
            inputs['md'] = orm.Dict(merge(self.inputs.md.get_dict(), changed))
        stop = next_stop(walker)
        if stop is not None:
            inputs['until_step'] = orm.Int(stop)
        if walker['restart'] is None:
            return {**inputs, 'structure': self.first_structure(walker['structure'])}
        swapped = walker['potential'] != self.ctx.potential
        if swapped:
            inputs['previous_potential'] = walker['potential']
        return {**inputs, 'restart': walker['restart'], 'soft_start': orm.Bool(swapped or walker['shaken'])}

    def first_structure(self, row: int) -> AtomicDatasetData:
        """Return frame ``row`` of `md_structure` as a dataset of its own, or what stands for it."""
        if 'md_structure' not in self.inputs:
            return call_once(self, 'md_structure', make_start, self.ctx.ground_state)
        if len(self.inputs.md_structure) == 1:
            return self.inputs.md_structure
        return call_once(self, f'structure_{row}', take_frame, self.inputs.md_structure, orm.Int(row))

    def cutout_inputs(self, explored: Any, name: str, count: int) -> dict[str, Any]:
        """Return the inputs of phase 3 on the frames that an MD left, which asks for ``count`` cutouts."""
        return {
            **self._shared('task_code'),
            **self._cutout_settings(name, count),
            'frames': explored.outputs.frames,
            'steps': orm.List(explored.outputs.summary['frame_steps']),
            'potential': self.ctx.potential,
            'teacher': self.ctx.teacher,
            'thresholds': self._thresholds(),
        }

    def learning_inputs(self, batch: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the inputs of phases 3 and 4 on the halts in ``batch``, all of one round."""
        number = batch[0]['round']
        count = self.read_settings('cutout').max_epicentres
        return {
            **self._shared('task_code'),
            'potential': self.ctx.potential,
            'teacher': self.ctx.teacher,
            'thresholds': self._thresholds(),
            'frames': {halt['walker']: halt['frames'] for halt in batch},
            'steps': {halt['walker']: orm.List(halt['summary']['frame_steps']) for halt in batch},
            'escalated': {halt['walker']: orm.Dict(halt['cutout']) for halt in batch if halt['cutout']},
            'to_dft': orm.List(sorted(halt['walker'] for halt in batch if halt['met'] > 1)),
            'earlier': self.ctx.label_datasets,
            'cutout': self._cutout_settings(f'round_{number:02d}_cutout', count) | self._oracle(),
            'finetune': {
                **self._shared('elements', 'fit', 'finetune'),
                **self._trainer(),
                'blocks': self.ctx.blocks,
                'rows': self.ctx.rows,
                'replay_buffer_size': orm.Int(self.read_settings('strategy').replay_buffer_size),
                'seed': self._seed('finetune', number),
            },
            'generation': orm.Int(number),
        }

    def _oracle(self) -> dict[str, Any]:
        """Return up to which uncertainty a teacher is believed at a halt, if it is at all."""
        if not self.read_settings('strategy').use_tiered_oracle:
            return {}
        return {'oracle_threshold_eV_per_A': orm.Float(self.read_settings('distillation').uncertainty_threshold)}

    def _cutout_settings(self, name: str, count: int) -> dict[str, Any]:
        """Return settings and limits of phase 3: no more SCFs than remain."""
        remaining = self.read_budget().max_dft_calls - self.ctx.spent
        return {
            **self._shared('cutout'),
            'n_epicentres': orm.Int(min(count, remaining)),
            'dft': {**self._shared('pw', 'dft'), 'max_calls': orm.Int(remaining)},
            'seed': self._seed(name),
        }

    def _shared(self, *ports: str) -> dict[str, Any]:
        return {port: self.inputs[port] for port in ports}

    def _trainer(self) -> dict[str, Any]:
        return {'trainer': self.inputs.trainer} if 'trainer' in self.inputs else {}

    def _is_teacher_asked(self) -> bool:
        return bool(self.read_settings('strategy').thresholds.measure == 'teacher')

    def _seed(self, *names: Any) -> orm.Int:
        return orm.Int(derived_seed(self.inputs.seed.value, *map(str, names)))

    def _thresholds(self) -> orm.Dict:
        return self.ctx.get('thresholds') or orm.Dict(self.read_settings('strategy').thresholds.model_dump())


@calcfunction
def calibrate_thresholds(thresholds: orm.Dict, metrics: orm.Dict) -> orm.Dict:
    """Return thresholds whose call keeps `target_force_error` on the held-out set of the fit."""
    rule = ActiveLearningThresholds.model_validate(thresholds.get_dict())
    return orm.Dict(calibrated_thresholds(rule, read_calibration(metrics)).model_dump())


def read_calibration(metrics: orm.Dict) -> Any:
    """Return the calibration of γ in the metrics of a fit, `None` where it had no held-out atoms."""
    return metrics.get_dict().get('held_out', {}).get('gamma_calibration')


@calcfunction
def make_start(crystal: AtomicDatasetData) -> AtomicDatasetData:
    """Return a compact supercell of ``START_ATOMS`` atoms at most: where MD starts when nobody says."""
    return AtomicDatasetData.from_atoms(most_compact_supercell(crystal[0].atoms(0), max_atoms=START_ATOMS))


@calcfunction
def take_frame(dataset: AtomicDatasetData, row: orm.Int) -> AtomicDatasetData:
    """Return one frame of a dataset: a walker starts from one."""
    return AtomicDatasetData.from_frames(dataset[row.value])
