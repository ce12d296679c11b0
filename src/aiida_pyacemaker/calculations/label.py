"""Labels of a teacher: energies, forces, stresses and how far the committee agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from ..data.dataset import AtomicDatasetData
from ..data.teacher import TeacherModelData
from .base import TaskCalculation, add_unfinished, write_dataset, write_indices, write_teacher


class LabelCalculation(TaskCalculation):
    """Labels frames with the mean of a committee; rows that fail the confidence filter are named, not dropped."""

    TASK = 'label'
    SETTINGS = {
        'dtype': None,
        'batch_atoms': None,
        'uncertainty_threshold': None,
        'atom_uncertainty_threshold': None,
        'distance_threshold': None,
        'max_force': None,
    }
    OUTPUT_FILES = ('labels.npz', 'kept.npy', 'rejected.npz')

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports."""
        super().define(spec)
        add_unfinished(spec)
        spec.input('dataset', valid_type=AtomicDatasetData, help='The frames to label.')
        spec.input('indices', valid_type=orm.ArrayData, required=False,
                   help='Rows of `dataset` to label, in this order; default: all.')
        spec.input('indices_name', valid_type=orm.Str, default=lambda: orm.Str('indices'),
                   help='Name of the array of `indices` that holds the rows.')
        spec.input('teacher', valid_type=TeacherModelData, help='The model, or the committee, that labels.')
        spec.input('home', valid_type=AtomicDatasetData, required=False,
                   help='Frames a single model is at home with (those of kind `prototype`, where there are any): its '
                        'uncertainty is the distance to their atoms.')
        spec.input_namespace('labelled', valid_type=AtomicDatasetData, dynamic=True, required=False,
                             help='Frames with DFT forces by name, in the order of their names: they calibrate the '
                                  'uncertainty.')
        spec.output('rejected', valid_type=AtomicDatasetData, required=False,
                    help='Frames that the teacher is too unsure of: candidates for DFT.')
        spec.output('dataset', valid_type=AtomicDatasetData, help='All labelled frames, in the order they were given.')
        spec.output('kept', valid_type=orm.ArrayData,
                    help='Array `indices`: rows of the labelled dataset that pass the confidence filter.')
        spec.output('report', valid_type=orm.Dict, help='How many frames were labelled and kept, and why not.')

    def write_inputs(self, folder: Path) -> dict[str, Any]:
        """Write frames, rows and teacher."""
        indices = self.inputs.get('indices')
        name = self.inputs.indices_name.value
        home, labelled = self.inputs.get('home'), self.inputs.get('labelled', {})
        return {
            'home': None if home is None else write_dataset(home, folder, 'home'),
            'labelled': [write_dataset(labelled[key], folder, f'labelled_{key}') for key in sorted(labelled)],
            'frames': write_dataset(self.inputs.dataset, folder, 'frames'),
            'indices': None if indices is None else write_indices(indices, name, folder),
            'models': write_teacher(self.inputs.teacher, folder),
        }
