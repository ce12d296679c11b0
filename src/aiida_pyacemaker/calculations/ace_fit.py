"""A student from labelled data: fresh, or incremental on blocks of earlier data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from ..data.ace_fit_block import AceFitBlockData
from ..data.ace_potential import AcePotentialData
from ..data.dataset import AtomicDatasetData
from ..science.config import ActiveLearningThresholds, FitConfig
from .base import TaskCalculation, add_check, add_seed, write_dataset, write_potential


class AceFitCalculation(TaskCalculation):
    """Fits a linear ACE with a pair baseline; each source of data leaves a block that later fits build on."""

    CACHE_VERSION = 2
    TASK = 'ace_fit'
    SETTINGS = {'elements': None, 'fit': FitConfig, 'baseline': None, 'factors': None, 'own_zero': None,
                'thresholds': ActiveLearningThresholds, 'learning_curve': None, 'worth_gain': None}
    OUTPUT_FILES = ('potential.*', 'baseline.*', 'canary.json', 'block_*.npz')

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports."""
        super().define(spec)
        spec.input_namespace('datasets', valid_type=AtomicDatasetData, dynamic=True, required=False,
                             help='New labelled data by name; each name becomes a block.')
        spec.input_namespace('rows', valid_type=orm.ArrayData, dynamic=True, required=False,
                             help='Array `indices` by name of a dataset: the rows of it to use; default: all.')
        spec.input_namespace('blocks', valid_type=AceFitBlockData, dynamic=True, required=False,
                             help='Blocks of earlier data by name; they need `potential`.')
        spec.input('potential', valid_type=AcePotentialData, required=False,
                   help='Its basis, baseline and reference energies are kept frozen; default: they are made anew.')
        spec.input('dimers', valid_type=AtomicDatasetData, required=False,
                   help='Labelled pairs of atoms that the baseline is fitted to.')
        spec.input('held_out', valid_type=AtomicDatasetData, required=False,
                   help='Labelled frames that are only tested on.')
        add_seed(spec)
        add_check(spec, validate_sources)
        spec.output('potential', valid_type=AcePotentialData, help='The fitted potential.')
        spec.output_namespace('blocks', valid_type=AceFitBlockData, dynamic=True,
                              help='One block for every new dataset.')
        spec.output('metrics', valid_type=orm.Dict, help='Errors by source and held out, sizes, ridge, grades.')

    def write_inputs(self, folder: Path) -> dict[str, Any]:
        """Write datasets, blocks and the frozen potential."""
        blocks = {name: f'old_block_{name}.npz' for name in self.inputs.get('blocks', {})}
        for name, file_name in blocks.items():
            self.inputs.blocks[name].write_to(folder / file_name)
        rows = self.inputs.get('rows', {})
        datasets = {
            name: write_dataset(node, folder, f'dataset_{name}', rows.get(name))
            for name, node in self.inputs.get('datasets', {}).items()
        }
        optional = {
            name: None if name not in self.inputs else write_dataset(self.inputs[name], folder, name)
            for name in ('dimers', 'held_out')
        }
        potential = self.inputs.get('potential')
        return {
            'datasets': datasets,
            'blocks': blocks,
            'potential': None if potential is None else write_potential(potential, folder, 'frozen'),
            **optional,
            'seed': self.inputs.seed.value,
        }


def validate_sources(inputs: dict[str, Any], _: Any) -> str | None:
    """Hold names of datasets, rows and blocks against each other."""
    if 'datasets' not in inputs and 'blocks' not in inputs:
        return None
    datasets, blocks, rows = (set(inputs.get(name) or {}) for name in ('datasets', 'blocks', 'rows'))
    if datasets & blocks:
        return f'datasets and blocks share {", ".join(sorted(datasets & blocks))}: give new data a new name'
    if rows - datasets:
        extra, allowed = ', '.join(sorted(rows - datasets)), ', '.join(sorted(datasets))
        return f'rows: {extra} is no dataset; allowed: {allowed}'
    if blocks and 'potential' not in inputs:
        return 'blocks: earlier blocks hold rows of a frozen basis: give its `potential` too'
    return None
