"""Small processes between cutouts and their DFT labels: every row of a label follows from nodes."""

from __future__ import annotations

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from ..data.dataset import AtomicDatasetData
from ..science.frames import HAS_FORCES, SHELL_CORE, Frames, concatenate_frames
from .submission import call_once

__all__ = ['call_once', 'join_datasets', 'report_cutouts', 'transfer_labels']


@calcfunction
def join_datasets(**parts: AtomicDatasetData) -> AtomicDatasetData:
    """Return all frames of ``parts``, in the order of their names."""
    return AtomicDatasetData.from_frames(concatenate_frames([parts[name].get_frames() for name in sorted(parts)]))


@calcfunction
def transfer_labels(
    training: AtomicDatasetData, labelled: AtomicDatasetData, dft_report: orm.Dict
) -> AtomicDatasetData:
    """Return the training geometries of the labelled cutouts with the DFT forces on their core atoms.

    ``dft_report['labelled']`` names the row of ``training`` that each row of ``labelled`` belongs to; core atoms are
    matched by the atom of the MD frame they both come from. All other forces are NaN and have no weight. Where DFT saw
    the very frame, energy and stress are handed over too.
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
    whole = np.array([is_same_frame(frames, labels, index) for index in range(len(frames))], dtype=bool)
    return AtomicDatasetData.from_frames(
        frames.with_columns(
            energy=np.where(whole, labels.energy, np.nan),
            stress=np.where(whole[:, None], labels.stress, np.nan),
            forces=forces,
            force_weight=np.where(wanted, frames.force_weight, 0.0),
            label_mask=np.where(whole, labels.label_mask, HAS_FORCES).astype(np.uint8),
            theory_id=labels.theory_id,
            theories=labels.theories,
        )
    )


def is_same_frame(frames: Frames, labels: Frames, index: int) -> bool:
    """Return whether row ``index`` of both is one structure, every atom of it core: then its energy is the frame's."""
    here, there = frames.span(index), labels.span(index)
    return bool(
        (frames.shell[here] == SHELL_CORE).all()
        and np.array_equal(frames.numbers[here], labels.numbers[there])
        and np.array_equal(frames.positions[here], labels.positions[there])
        and np.array_equal(frames.cells[index], labels.cells[index])
        and np.array_equal(frames.pbc[index], labels.pbc[index])
    )


@calcfunction
def report_cutouts(cutout: orm.Dict, dft: orm.Dict) -> orm.Dict:
    """Return what was cut, what was paid and what was learnt, in one report."""
    return orm.Dict({**cutout.get_dict(), **dft.get_dict()})
