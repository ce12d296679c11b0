"""Nodes that phase 1 makes of others: what it starts from, what it keeps, what it reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms
from ase.io import read

from ...data.dataset import AtomicDatasetData
from ...science.ace.quality import compare_forces
from ...science.pools import PROTOTYPE


def read_structures(given: Sequence[Any]) -> dict[str, orm.StructureData]:
    """Return nodes of structures named by files (every frame of them), ASE structures or nodes.

    Raise ``ValueError`` for something else.
    """
    nodes: dict[str, orm.StructureData] = {}
    for item in given:
        for made in _nodes_of(item):
            nodes[f'structure_{len(nodes):02d}'] = made
    return nodes


def _nodes_of(item: Any) -> list[orm.StructureData]:
    if isinstance(item, orm.StructureData):
        return [item]
    if isinstance(item, Atoms):
        return [_structure(item)]
    if isinstance(item, (str, Path)):
        return [_structure(atoms) for atoms in read(item, index=':')]
    raise ValueError(f'structures: {item!r} is a {type(item).__name__}; allowed: a file, ASE Atoms, StructureData')


def _structure(atoms: Atoms) -> orm.StructureData:
    """Return the node; a molecule without a cell gets one, as AiiDA asks for."""
    boxed = atoms.copy()
    if not boxed.cell.rank == 3:
        boxed.center(vacuum=6.0)
    return orm.StructureData(ase=boxed)


@calcfunction
def gather_prototypes(**structures: orm.Data) -> AtomicDatasetData:
    """Return all structures, and those of datasets, as one dataset, in the order of their names."""
    atoms: list[Atoms] = []
    for name in sorted(structures):
        node = structures[name]
        atoms += list(node.iter_ase()) if isinstance(node, AtomicDatasetData) else [node.get_ase()]
    return AtomicDatasetData.from_atoms(*atoms)


@calcfunction
def take_prototypes(pool: AtomicDatasetData) -> AtomicDatasetData:
    """Return the relaxed prototypes of a pool."""
    frames = pool.get_frames()
    return AtomicDatasetData.from_frames(frames.select(frames.config_type == PROTOTYPE))


@calcfunction
def take_ground_state(prototypes: AtomicDatasetData, report: orm.Dict) -> AtomicDatasetData:
    """Return the prototype that the pool's report calls the most stable one with the most elements."""
    row = report['inferred']['ground_state']
    return AtomicDatasetData.from_frames(prototypes.get_frames().select([row]))


@calcfunction
def keep_rows(dataset: AtomicDatasetData, rows: orm.ArrayData) -> AtomicDatasetData:
    """Return the frames of ``dataset`` at the array `indices` of ``rows``."""
    return AtomicDatasetData.from_frames(dataset.get_frames().select(rows.get_array('indices')))


@calcfunction
def summarise_distillation(
    pool: orm.Dict,
    selection: orm.Dict,
    labels: orm.Dict,
    metrics: orm.Dict,
    reference: AtomicDatasetData | None = None,
    answers: AtomicDatasetData | None = None,
) -> orm.Dict:
    """Return one report of phase 1; the student's error stands beside that of its teacher where DFT is known."""
    learnt = metrics.get_dict()
    tested = learnt.get('held_out', {})
    own = None if reference is None or answers is None else compare_forces(reference.get_frames(), answers.get_frames())
    said = labels.get_dict()
    return orm.Dict(
        {
            'pool': pool.get_dict(),
            'selection': selection.get_dict(),
            'labels': {key: said.get(key) for key in ('n_frames', 'n_labelled', 'n_kept', 'rejected')},
            'student': {key: learnt.get(key) for key in ('elements', 'cutoff', 'reference_energies', 'learning_curve')},
            'zero_shot_error_against_teacher': {
                key: tested.get(key) for key in ('n_frames', 'rmse_energy_eV_per_atom', 'rmse_forces_eV_per_A')
            },
            'by_generator': tested.get('by_generator', {}),
            'by_subsystem': tested.get('by_subsystem', {}),
            'teacher_error_against_dft': own,
        }
    )
