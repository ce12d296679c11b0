"""What is cut out of a halted MD run: what DFT sees and what the student learns from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from ..data.ace_potential import AcePotentialData
from ..data.dataset import AtomicDatasetData
from ..data.teacher import TeacherModelData
from ..science.config import ActiveLearningThresholds, CutoutConfig
from .base import TaskCalculation, add_seed, write_dataset, write_potential, write_teacher


class CutoutCalculation(TaskCalculation):
    """Finds epicentres in the frames around a halt, cuts, caps and pre-relaxes, and checks what it cut."""

    CACHE_VERSION = 2
    TASK = 'cutout'
    SETTINGS = {
        'cutout': CutoutConfig,
        'thresholds': ActiveLearningThresholds,
        'n_epicentres': None,
        'min_steps_apart': None,
        'exclude': None,
        'valence': None,
        'cap_charges': None,
        'kpoints_distance': None,
        'dtype': None,
    }
    OUTPUT_FILES = ('label.npz', 'training.npz')

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports."""
        super().define(spec)
        spec.input('frames', valid_type=AtomicDatasetData,
                   help='Frames around the halt with grades, in the order of time.')
        spec.input('steps', valid_type=orm.List, help='The MD step of every frame.')
        spec.input('potential', valid_type=AcePotentialData, help='The potential that drove the MD.')
        spec.input('teacher', valid_type=TeacherModelData, help='The model that relaxes the buffer.')
        add_seed(spec)
        spec.output('label_geometry', valid_type=AtomicDatasetData,
                    help='What DFT sees: core, frozen shell, buffer, caps.')
        spec.output('training_geometry', valid_type=AtomicDatasetData,
                    help='What the student learns: the untouched surroundings; only core forces have weight.')
        spec.output('report', valid_type=orm.Dict, help='Epicentres, acceptance numbers, what was rejected and why.')

    def write_inputs(self, folder: Path) -> dict[str, Any]:
        """Write frames, potential and teacher."""
        return {
            'frames': write_dataset(self.inputs.frames, folder, 'frames'),
            'steps': self.inputs.steps.get_list(),
            'potential': write_potential(self.inputs.potential, folder),
            'models': write_teacher(self.inputs.teacher, folder),
            'seed': self.inputs.seed.value,
        }
