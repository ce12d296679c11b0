"""Whether a student behaves as its teacher does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from ..data.ace_potential import AcePotentialData
from ..data.dataset import AtomicDatasetData
from ..data.teacher import TeacherModelData
from ..science.config import ValidationConfig
from .base import TaskCalculation, add_seed, write_dataset, write_potential, write_teacher


class ValidateCalculation(TaskCalculation):
    """Compares equation of state, elastic constants and stability, and runs a miniature MD with grades."""

    TASK = 'validate'
    SETTINGS = {'validation': ValidationConfig, 'dtype': None}
    OUTPUT_FILES = ('arrays.npz',)

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports."""
        super().define(spec)
        spec.input('potential', valid_type=AcePotentialData, help='The student.')
        spec.input('teacher', valid_type=TeacherModelData, help='The model it is held against.')
        spec.input('structures', valid_type=AtomicDatasetData, help='Prototype crystals.')
        add_seed(spec)
        spec.output('report', valid_type=orm.Dict, help='Gates with values, limits and whether they passed.')
        spec.output('arrays', valid_type=orm.ArrayData,
                    help='Curves of energy and volume, grades and temperature in MD.')

    def write_inputs(self, folder: Path) -> dict[str, Any]:
        """Write potential, teacher and structures."""
        return {
            'potential': write_potential(self.inputs.potential, folder),
            'models': write_teacher(self.inputs.teacher, folder),
            'structures': write_dataset(self.inputs.structures, folder, 'structures'),
            'seed': self.inputs.seed.value,
        }
