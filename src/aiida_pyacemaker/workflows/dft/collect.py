"""Small processes between datasets and SCF runs: every row of a label follows from nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms
from ase.units import GPa
from numpy.typing import NDArray

from ...data.dataset import AtomicDatasetData
from ...science.frames import HAS_ENERGY, HAS_FORCES, HAS_STRESS, concatenate_frames
from .scf_inputs import frame_atoms

FULL_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
MAX_ROWS = 240  # of a dataset: its links, one a row and two more, stay below 250
SAME_PLACE_A = 1e-6


@calcfunction
def frame_structures(
    dataset: AtomicDatasetData, rows: orm.List, vacuum: orm.Float, hosts: orm.List | None = None
) -> dict[str, orm.StructureData]:
    """Return frames of ``dataset`` as structures that ``pw.x`` can be given, ``row_<row>``.

    hosts: atomic numbers whose caps are a kind of their own.
    """
    frames = dataset.get_frames()
    own = hosts.get_list() if hosts is not None else []
    atoms = {row: frame_atoms(frames.select([row]), vacuum.value, own) for row in rows.get_list()}
    return {f'row_{row}': orm.StructureData(ase=each) for row, each in atoms.items()}


@calcfunction
def collect_labels(
    dataset: AtomicDatasetData, theories: orm.List, vacuum: orm.Float, **frames: orm.TrajectoryData
) -> AtomicDatasetData:
    """Return the rows ``frame_<row>`` of ``dataset`` with the labels of their SCF, in the order of the rows.

    frames: the trajectory of each SCF: energy (eV, with the -TS of the smearing, so that forces are its derivative),
    forces (eV/Å), stress (GPa, pressure positive), turned into ASE's sign and eV/Å³; moments (µB), where there are
    two spins. theories: what each row is an answer of, in the same order. A label that was made for the same frame with
    its atoms in another order is put into the order of ``dataset``.
    """
    rows = sorted((int(name.removeprefix('frame_')), node) for name, node in frames.items())
    bare = dataset.get_frames()
    parts = [
        _labelled(bare.select([row]), node, theory, vacuum.value)
        for (row, node), theory in zip(rows, theories.get_list(), strict=True)
    ]
    return AtomicDatasetData.from_frames(concatenate_frames(parts))


def _labelled(frame: Any, trajectory: orm.TrajectoryData, theory: dict[str, Any], vacuum_A: float) -> Any:
    order = match_atoms(frame_atoms(frame, vacuum_A), np.asarray(trajectory.get_array('positions'))[-1])
    columns: dict[str, Any] = {
        'energy': np.asarray(trajectory.get_array('energy'))[-1:],
        'forces': np.asarray(trajectory.get_array('forces'))[-1][order],
        'label_mask': np.array([HAS_ENERGY | HAS_FORCES]),
        'theory_id': np.array([0]),
        'theories': (theory,),
    }
    names = trajectory.get_arraynames()
    if frame.pbc.all() and 'stress' in names:
        tensor = -np.asarray(trajectory.get_array('stress'))[-1] * GPa
        columns['stress'] = np.array([[tensor[a, b] for a, b in FULL_VOIGT]])
        columns['label_mask'] = np.array([HAS_ENERGY | HAS_FORCES | HAS_STRESS])
    if 'atomic_magnetic_moments' in names:
        columns['magmom'] = np.asarray(trajectory.get_array('atomic_magnetic_moments'), dtype=float)[-1][order]
    return frame.with_columns(**columns)


def match_atoms(atoms: Atoms, positions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return (N,) for each of ``atoms`` its row in ``positions`` (Å), the same frame in whatever order.

    Raise ``ValueError`` when it is another frame. The species are those of ``atoms``, element by element.
    """
    if np.allclose(atoms.positions, positions, rtol=0, atol=SAME_PLACE_A):
        return np.arange(len(atoms))
    difference = atoms.positions[:, None] - positions[None]
    fractional = difference @ np.linalg.inv(atoms.cell[:])
    fractional -= np.where(atoms.pbc, np.round(fractional), 0)
    distance = np.linalg.norm(fractional @ atoms.cell[:], axis=2)
    order = distance.argmin(axis=1)
    if distance[np.arange(len(order)), order].max() > 10 * SAME_PLACE_A or len(set(order)) < len(order):
        raise ValueError('the label belongs to another frame: its atoms are elsewhere')
    return np.asarray(order)


@calcfunction
def quarantine_frames(dataset: AtomicDatasetData, rows: orm.List, reasons: orm.List) -> AtomicDatasetData:
    """Return the rows of ``dataset`` that have no label; the attributes ``rows`` and ``reasons`` say which and why."""
    picked = AtomicDatasetData.from_frames(dataset.get_frames().select(rows.get_list()))
    picked.base.attributes.set_many({'rows': rows.get_list(), 'reasons': reasons.get_list()})
    return picked


@calcfunction
def state_report(summary: orm.Dict) -> orm.Dict:
    """Return ``summary`` as a node with a creator."""
    return orm.Dict(summary.get_dict())
