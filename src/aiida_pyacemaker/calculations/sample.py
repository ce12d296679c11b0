"""Structures to learn from: a pool, surrogates around a halt, or pairs of atoms for the baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from ..data.dataset import AtomicDatasetData
from ..data.teacher import TeacherModelData
from ..science.config import FinetuneConfig, PoolConfig
from .base import TaskCalculation, add_seed, write_dataset, write_teacher


class SampleCalculation(TaskCalculation):
    """Makes bare frames from prototypes or halted frames; the teacher relaxes lattices and runs short MD."""

    TASK = 'sample'
    SETTINGS = {'mode': None, 'elements': None, 'pool': PoolConfig, 'finetune': FinetuneConfig, 'density': None}
    OUTPUT_FILES = ('frames.npz',)

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports."""
        super().define(spec)
        spec.input('structures', valid_type=AtomicDatasetData, required=False,
                   help='Prototype crystals (mode `pool`) or frames around a halt (mode `surrogates`).')
        spec.input('teacher', valid_type=TeacherModelData, help='The model that relaxes lattices and drives short MD.')
        add_seed(spec)
        spec.output('dataset', valid_type=AtomicDatasetData, help='The frames that were made, without labels.')
        spec.output('report', valid_type=orm.Dict, help='How many frames of each kind were made and dropped, and why.')

    def write_inputs(self, folder: Path) -> dict[str, Any]:
        """Write structures and teacher."""
        structures = self.inputs.get('structures')
        return {
            'structures': None if structures is None else write_dataset(structures, folder, 'structures'),
            'models': write_teacher(self.inputs.teacher, folder),
            'seed': self.inputs.seed.value,
        }
