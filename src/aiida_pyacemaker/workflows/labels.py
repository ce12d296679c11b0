"""Small processes between datasets and SCF runs: every row of a label follows from nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from ase.units import GPa

from ..data.dataset import AtomicDatasetData
from ..science.frames import HAS_ENERGY, HAS_FORCES, HAS_STRESS, SHELL_CORE, concatenate_frames
from .submission import find_called

FULL_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
MAX_LINKS = 200  # frames that one calcfunction collects


def call_once(work_chain: Any, link_label: str, function: Any, *nodes: orm.Data, **named: orm.Data) -> Any:
    """Return what ``work_chain`` got from ``function`` under ``link_label``, calling it when it has not yet."""
    called = find_called(work_chain.node, link_label)
    if called is not None and called.is_finished_ok:
        return called.outputs.result
    return function(*nodes, **named, metadata={'call_link_label': link_label})


@calcfunction
def frame_structure(dataset: AtomicDatasetData, row: orm.Int) -> orm.StructureData:
    """Return frame ``row`` of ``dataset`` as a structure that ``pw.x`` can be given."""
    return orm.StructureData(ase=dataset[row.value].atoms(0))


@calcfunction
def collect_labels(dataset: AtomicDatasetData, theories: orm.List, **frames: orm.TrajectoryData) -> AtomicDatasetData:
    """Return the rows ``frame_<row>`` of ``dataset`` with the labels of their SCF, in the order of the rows.

    frames: the trajectory of each SCF: energy (eV, with the -TS of the smearing, so that forces are its derivative),
    forces (eV/Å), stress (GPa, pressure positive), turned into ASE's sign and eV/Å³. theories: what each row is an
    answer of, in the same order.
    """
    rows = sorted((int(name.removeprefix('frame_')), node) for name, node in frames.items())
    parts = [
        _labelled(dataset[row], node, theory) for (row, node), theory in zip(rows, theories.get_list(), strict=True)
    ]
    return AtomicDatasetData.from_frames(concatenate_frames(parts))


def _labelled(frame: Any, trajectory: orm.TrajectoryData, theory: dict[str, Any]) -> Any:
    forces = np.asarray(trajectory.get_array('forces'))[-1]
    columns: dict[str, Any] = {
        'energy': np.asarray(trajectory.get_array('energy'))[-1:],
        'forces': forces,
        'label_mask': np.array([HAS_ENERGY | HAS_FORCES]),
        'theory_id': np.array([0]),
        'theories': (theory,),
    }
    if frame.pbc.all() and 'stress' in trajectory.get_arraynames():
        tensor = -np.asarray(trajectory.get_array('stress'))[-1] * GPa
        columns['stress'] = np.array([[tensor[a, b] for a, b in FULL_VOIGT]])
        columns['label_mask'] = np.array([HAS_ENERGY | HAS_FORCES | HAS_STRESS])
    return frame.with_columns(**columns)


@calcfunction
def join_datasets(**parts: AtomicDatasetData) -> AtomicDatasetData:
    """Return all frames of ``parts``, in the order of their names."""
    return AtomicDatasetData.from_frames(concatenate_frames([parts[name].get_frames() for name in sorted(parts)]))


@calcfunction
def pick_rows(dataset: AtomicDatasetData, rows: orm.List) -> AtomicDatasetData:
    """Return some rows of a small dataset."""
    return AtomicDatasetData.from_frames(dataset.get_frames().select(rows.get_list()))


@calcfunction
def state_report(summary: orm.Dict) -> orm.Dict:
    """Return ``summary`` as a node with a creator."""
    return orm.Dict(summary.get_dict())


@calcfunction
def transfer_core_forces(
    training: AtomicDatasetData, labelled: AtomicDatasetData, dft_report: orm.Dict
) -> AtomicDatasetData:
    """Return the training geometries of the labelled cutouts with the DFT forces on their core atoms.

    ``dft_report['labelled']`` names the row of ``training`` that each row of ``labelled`` belongs to; core atoms are
    matched by the atom of the MD frame they both come from. All other forces are NaN and have no weight.
    """
    rows = dft_report['labelled']
    frames, labels = training.get_frames().select(rows), labelled.get_frames()
    forces = np.full((frames.n_atoms, 3), np.nan)
    for index in range(len(frames)):
        here, there = frames.span(index), labels.span(index)
        core = there.start + np.flatnonzero(labels.shell[there] == SHELL_CORE)
        target = {int(parent): here.start + k for k, parent in enumerate(frames.parent_index[here])}
        forces[[target[int(parent)] for parent in labels.parent_index[core]]] = labels.forces[core]
    wanted = frames.shell == SHELL_CORE
    if not np.isfinite(forces[wanted]).all():
        raise ValueError('a core atom of a training geometry has no DFT force: label and training rows do not match')
    return AtomicDatasetData.from_frames(
        frames.with_columns(
            forces=forces,
            force_weight=wanted.astype(float),
            label_mask=np.full(len(frames), HAS_FORCES),
            theory_id=labels.theory_id,
            theories=labels.theories,
        )
    )


@calcfunction
def report_cutouts(cutout: orm.Dict, dft: orm.Dict) -> orm.Dict:
    """Return what was cut, what was paid and what was learnt, in one report."""
    return orm.Dict({**cutout.get_dict(), **dft.get_dict()})
