"""The training geometry: what the student's rows are made of, the untouched surroundings of the core."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..frames import SHELL_CORE, SHELL_ENVIRONMENT
from ..images import FrameIndex, images_near


@dataclass(frozen=True, kw_only=True)
class TrainingGeometry:
    """Structure, (n,) ``SHELL_*``, (n,) parent row in the frame, and whether it is the whole frame."""

    atoms: Atoms
    shell: NDArray[np.int8]
    parents: NDArray[np.int64]
    is_whole_frame: bool


def build_training_geometry(
    frame: FrameIndex, epicentre: int, core: NDArray[np.int64], *, cutoff_A: float
) -> TrainingGeometry:
    """Return every atom of ``frame`` within twice ``cutoff_A`` of a core atom, unwrapped, without caps or relaxation.

    A core atom's force holds the energies of its neighbours (within the cut-off), whose own environments reach as far
    again. Where the sphere holds an atom twice, or as many atoms as the frame, the whole periodic frame is returned.
    core: (c,) rows of the frame, the epicentre among them.
    """
    offsets = frame.atoms.get_distances(epicentre, core, mic=bool(frame.atoms.pbc.any()), vector=True)
    images = images_near(frame, epicentre, np.asarray(offsets).reshape(-1, 3), radius=2 * cutoff_A)
    if len(images) >= len(frame.atoms) or len(np.unique(images.parents)) < len(images):
        return take_whole_frame(frame.atoms, core)
    shell = np.where(np.isin(images.parents, core), SHELL_CORE, SHELL_ENVIRONMENT).astype(np.int8)
    low, high = images.positions.min(axis=0), images.positions.max(axis=0)
    box = high - low + 2.0
    atoms = Atoms(numbers=images.numbers, positions=images.positions - low + 1.0, cell=box, pbc=False)
    return TrainingGeometry(atoms=atoms, shell=shell, parents=images.parents, is_whole_frame=False)


def take_whole_frame(frame: Atoms, core: NDArray[np.int64]) -> TrainingGeometry:
    """Return the whole frame, of which the rows ``core`` are learnt."""
    shell = np.full(len(frame), SHELL_ENVIRONMENT, dtype=np.int8)
    shell[core] = SHELL_CORE
    return TrainingGeometry(atoms=frame.copy(), shell=shell, parents=np.arange(len(frame)), is_whole_frame=True)
