"""Which frames of a pool are worth a label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from ..data.dataset import AtomicDatasetData
from ..data.teacher import TeacherModelData
from ..science.config import FitConfig, SelectionConfig
from .base import TaskCalculation, add_seed, add_unfinished, write_dataset, write_teacher


class SelectCalculation(TaskCalculation):
    """Selects frames that are worth a label, and keeps some out for testing."""

    TASK = 'select'
    SETTINGS = {
        'count': None,
        'held_out_fraction': None,
        'selection': SelectionConfig,
        'fit': FitConfig,
        'dtype': None,
    }
    OUTPUT_FILES = ('selected.npy', 'held_out.npy')

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports."""
        super().define(spec)
        add_unfinished(spec)
        spec.input('dataset', valid_type=AtomicDatasetData, help='The pool to select from.')
        spec.input('teacher', valid_type=TeacherModelData, help='The model whose features span the space.')
        add_seed(spec)
        spec.output('selection', valid_type=orm.ArrayData, help='Arrays `selected` and `held_out`: rows of the pool.')
        spec.output('report', valid_type=orm.Dict, help='How many frames were selected and what the features span.')

    def write_inputs(self, folder: Path) -> dict[str, Any]:
        """Write pool and teacher."""
        return {
            'frames': write_dataset(self.inputs.dataset, folder, 'frames'),
            'models': write_teacher(self.inputs.teacher, folder),
            'seed': self.inputs.seed.value,
        }
