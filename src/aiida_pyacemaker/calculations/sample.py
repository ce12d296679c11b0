"""Structures to learn from: a pool, surrogates around a halt, or pairs of atoms for the baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from ..data.dataset import AtomicDatasetData
from ..data.teacher import TeacherModelData
from ..science.config import FinetuneConfig, PoolConfig
from .base import TaskCalculation, add_seed, add_unfinished, write_dataset, write_teacher


class SampleCalculation(TaskCalculation):
    """Makes bare frames from prototypes or halted frames; the teacher relaxes lattices and runs short MD."""

    TASK = 'sample'
    SETTINGS = {
        'mode': None,
        'elements': None,
        'pool': PoolConfig,
        'finetune': FinetuneConfig,
        'density': None,
        'dtype': None,
    }
    OUTPUT_FILES = ('frames.npz',)

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports."""
        super().define(spec)
        add_unfinished(spec)
        spec.input('structures', valid_type=AtomicDatasetData, required=False,
                   help='Prototype crystals (mode `pool`) or frames around a halt (mode `surrogate`).')
        spec.input('teacher', valid_type=TeacherModelData, required=False,
                   help='The model that relaxes lattices and drives short MD; mode `dimers` needs none.')
        add_seed(spec)
        spec.output('dataset', valid_type=AtomicDatasetData, help='The frames that were made, without labels.')
        spec.output('report', valid_type=orm.Dict, help='How many frames of each kind were made and dropped, and why.')

    def write_inputs(self, folder: Path) -> dict[str, Any]:
        """Write structures and teacher."""
        structures, teacher = self.inputs.get('structures'), self.inputs.get('teacher')
        return {
            'structures': None if structures is None else write_dataset(structures, folder, 'structures'),
            'models': [] if teacher is None else write_teacher(teacher, folder),
            'seed': self.inputs.seed.value,
        }
