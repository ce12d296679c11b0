"""What the root hands to each of its phases."""

from __future__ import annotations

from typing import Any

from aiida import orm

from ...science.config import BudgetConfig
from ..ports import TaskSteps
from ..protocol import merge
from ..submission import derived_seed


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
            **self._shared('task_code', 'teacher', 'elements', 'prototypes', 'distillation', 'fit'),
            **self._trainer(),
            'baseline': orm.Str(self.read_settings('strategy').baseline_potential_type),
            'thresholds': self._thresholds(),
            'density': orm.Float(pool.denser_factor ** (self.ctx.attempt - 1)),
            'seed': self._seed('distillation', self.ctx.attempt),
        }

    def validation_inputs(self) -> dict[str, Any]:
        """Return the inputs of phase 2: the newest potential against the teacher it was made from."""
        return {
            **self._shared('task_code', 'teacher', 'prototypes', 'validation'),
            'potential': self.ctx.candidate.outputs.potential,
            'seed': self._seed('validation', self.ctx.attempt),
        }

    def exploration_inputs(self, name: str) -> dict[str, Any]:
        """Return the inputs of an MD with the current potential; where it starts is the caller's."""
        return {
            **self._shared('lammps_code', 'md'),
            'potential': self.ctx.potential,
            'thresholds': self._thresholds(),
            'settings': self.inputs.lammps_settings,
            'options': merge(self.inputs.options, self.inputs.lammps_options),
            'max_segments': orm.Int(self.read_budget().max_segments),
            'seed': self._seed(name),
        }

    def cutout_inputs(self, name: str, count: int) -> dict[str, Any]:
        """Return the inputs of phase 3: ``count`` cutouts from the frames of the last MD, no more SCFs than remain."""
        remaining = self.read_budget().max_dft_calls - self.ctx.spent
        return {
            **self._shared('task_code', 'cutout'),
            'frames': self.ctx.explored.outputs.frames,
            'steps': orm.List(self.ctx.explored.outputs.summary['frame_steps']),
            'potential': self.ctx.potential,
            'teacher': self.ctx.teacher,
            'thresholds': self._thresholds(),
            'n_epicentres': orm.Int(min(count, remaining)),
            'dft': {**self._shared('pw', 'dft'), 'max_calls': orm.Int(remaining)},
            'seed': self._seed(name),
        }

    def finetune_inputs(self) -> dict[str, Any]:
        """Return the inputs of phase 4: all label geometries so far, the newest training geometries."""
        return {
            **self._shared('task_code', 'elements', 'fit', 'finetune'),
            **self._trainer(),
            'teacher': self.ctx.teacher,
            'potential': self.ctx.potential,
            'blocks': self.ctx.blocks,
            'rows': self.ctx.rows,
            'thresholds': self._thresholds(),
            'replay_buffer_size': orm.Int(self.read_settings('strategy').replay_buffer_size),
            'label_datasets': self.ctx.label_datasets,
            'training_datasets': {f'dft_{self.ctx.round:02d}': self.ctx.training_dataset},
            'halted': self.ctx.explored.outputs.frames,
            'generation': orm.Int(self.ctx.round),
            'seed': self._seed('finetune', self.ctx.round),
        }

    def _shared(self, *ports: str) -> dict[str, Any]:
        return {port: self.inputs[port] for port in ports}

    def _trainer(self) -> dict[str, Any]:
        return {'trainer': self.inputs.trainer} if 'trainer' in self.inputs else {}

    def _seed(self, *names: Any) -> orm.Int:
        return orm.Int(derived_seed(self.inputs.seed.value, *map(str, names)))

    def _thresholds(self) -> orm.Dict:
        return orm.Dict(self.read_settings('strategy').thresholds.model_dump())
