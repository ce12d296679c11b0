"""Labels of any ASE calculator: what DFT labelling gives, from another program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from ..data.dataset import AtomicDatasetData
from .base import TaskCalculation, write_dataset


class ReferenceCalculation(TaskCalculation):
    """Labels frames with an ASE calculator; its `dataset`, `labels`, `quarantine`, `report` are those of DFT."""

    TASK = 'reference'
    SETTINGS = dict.fromkeys(('calculator', 'parameters', 'force_limit_eV_per_A', 'rigid_force_limit_eV_per_A'))
    OUTPUT_FILES = ('labels.npz', 'quarantine.npz')

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports."""
        super().define(spec)
        spec.input('dataset', valid_type=AtomicDatasetData, help='The frames to label.')
        spec.output_namespace(
            'labels',
            valid_type=AtomicDatasetData,
            dynamic=True,
            required=False,
            help='Frames with labels in the order of the input, in `part_000`.',
        )
        spec.output('quarantine', valid_type=AtomicDatasetData, required=False, help='Frames that have no label.')
        spec.output('report', valid_type=orm.Dict, help='Counts, rows with a label, rows without one and why.')

    def write_inputs(self, folder: Path) -> dict[str, Any]:
        """Write the frames."""
        return {'frames': write_dataset(self.inputs.dataset, folder, 'frames')}
