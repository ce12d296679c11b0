"""A teacher that has seen DFT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from ..data.dataset import AtomicDatasetData
from ..data.teacher import TeacherModelData
from ..science.config import FinetuneConfig
from .base import TaskCalculation, add_seed, write_dataset, write_teacher


class FinetuneCalculation(TaskCalculation):
    """Trains the readouts of every member on DFT forces, anchored to where they started."""

    TASK = 'finetune'
    SETTINGS = {'finetune': FinetuneConfig}
    OUTPUT_FILES = ('model_*.model',)

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports."""
        super().define(spec)
        spec.input('teacher', valid_type=TeacherModelData, validator=validate_trainable,
                   help='The model, or the committee, to train; MACE models only.')
        spec.input_namespace('datasets', valid_type=AtomicDatasetData, dynamic=True,
                             help='DFT-labelled label geometries by name.')
        add_seed(spec)
        spec.output('teacher', valid_type=TeacherModelData, help='The trained committee, members in the same order.')
        spec.output('report', valid_type=orm.Dict, help='Loss by epoch, errors before and after.')

    def write_inputs(self, folder: Path) -> dict[str, Any]:
        """Write teacher and datasets, these in the order of their names."""
        datasets = self.inputs.datasets
        return {
            'models': write_teacher(self.inputs.teacher, folder),
            'datasets': [write_dataset(datasets[name], folder, f'dataset_{name}') for name in sorted(datasets)],
            'seed': self.inputs.seed.value,
        }


def validate_trainable(node: TeacherModelData, _: Any) -> str | None:
    """Refuse a teacher that has no readouts to train."""
    if node.is_trainable:
        return None
    return f'teacher: is of the family {node.family}, which cannot be trained on DFT; allowed: mace'
