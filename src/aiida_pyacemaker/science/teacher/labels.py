"""Labels of a teacher: energy, forces, stress and how far the members disagree; descriptors of frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..frames import HAS_ENERGY, HAS_FORCES, HAS_STRESS, Frames
from .batches import ask_in_batches
from .committee import Teacher
from .engine import CommitteeLabels
from .graphs import is_sane


def evaluate_apart(teacher: Teacher, structures: Sequence[Atoms]) -> CommitteeLabels:
    """Evaluate all structures at once; those that are not finite once more alone: a NaN spreads over its batch."""
    answer = teacher.evaluate(structures)
    owner = np.repeat(np.arange(len(structures)), [len(atoms) for atoms in structures])
    fine = np.asarray(np.isfinite(answer.energy).all(axis=0))
    fine[owner[~np.isfinite(answer.forces).all(axis=(0, 2))]] = False
    if fine.all() or len(structures) == 1:
        return answer
    energy, forces, stress = answer.energy.copy(), answer.forces.copy(), answer.stress.copy()
    for row in np.flatnonzero(~fine).tolist():
        alone = teacher.evaluate([structures[row]])
        energy[:, row], stress[:, row], forces[:, owner == row] = alone.energy[:, 0], alone.stress[:, 0], alone.forces
    return CommitteeLabels(energy=energy, forces=forces, stress=stress)


def force_spread(forces: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (m,) eV/Å, the members' rms distance from their mean force: sqrt(mean_k |F_k - <F>|²); 0 for one member.

    forces: (K, m, 3) eV/Å.
    """
    spread: NDArray[np.float64] = np.sqrt(np.mean(np.sum((forces - forces.mean(axis=0)) ** 2, axis=2), axis=0))
    return spread


def label_frames(
    teacher: Teacher,
    frames: Frames,
    *,
    batch_atoms: int | None = None,
    on_batch: Callable[[int, int], None] | None = None,
) -> Frames:
    """Return the frames with the committee's mean energy, forces and stress and its per-atom uncertainty.

    Order and all other columns are kept. Stress is given for fully periodic frames only, and by a calculator that has
    one. A frame for which anything is not finite gets NaN labels, ``label_mask`` 0 and ``theory_id`` -1: it stays in
    its place. The uncertainty of a committee of one is 0 everywhere. batch_atoms: default the teacher's own, less where
    memory is short; on_batch: called with (frames done, frames in all) after every batch. Raise ``ValueError`` for an
    element that a member does not know, ``MemoryError`` for a frame too large.
    """
    teacher.check_numbers(frames.numbers)
    energy, stress = np.full(len(frames), np.nan), np.full((len(frames), 6), np.nan)
    forces, uncertainty = np.full((frames.n_atoms, 3), np.nan), np.full(frames.n_atoms, np.nan)
    candidates = sane_rows(frames)
    size = batch_atoms or teacher.batch_atoms
    batches = ask_in_batches(lambda part: evaluate_apart(teacher, part), frames, candidates, batch_atoms=size)
    for rows, answer in batches:
        atom_rows = np.concatenate([np.arange(frames.offsets[row], frames.offsets[row + 1]) for row in rows])
        energy[rows], stress[rows] = answer.energy.mean(axis=0), answer.stress.mean(axis=0)
        forces[atom_rows], uncertainty[atom_rows] = answer.forces.mean(axis=0), force_spread(answer.forces)
        if on_batch is not None:
            on_batch(int(rows[-1]) + 1, len(frames))
    has_stress = np.isfinite(stress).all(axis=1) & frames.pbc.all(axis=1)
    good = np.isfinite(energy) & (has_stress | ~frames.pbc.all(axis=1) | (not teacher.has_stress))
    owner = frames.frame_of_atom()
    good[owner[~np.isfinite(forces).all(axis=1)]] = False
    of_good = good[owner]
    return frames.with_columns(
        energy=np.where(good, energy, np.nan),
        forces=np.where(of_good[:, None], forces, np.nan),
        stress=np.where((good & has_stress)[:, None], stress, np.nan),
        uncertainty=np.where(of_good, uncertainty, np.nan),
        label_mask=np.where(good, HAS_ENERGY | HAS_FORCES | np.where(has_stress, HAS_STRESS, 0), 0),
        theory_id=np.where(good, 0, -1),
        theories=(teacher.theory,),
    )


def sane_rows(frames: Frames) -> NDArray[np.int64]:
    """Return the frames that have atoms, finite coordinates and, where periodic, a volume."""
    filled = np.diff(frames.offsets) > 0
    return np.flatnonzero([bool(filled[row]) and is_sane(atoms) for row, atoms in enumerate(frames.iter_atoms())])


def atom_features(teacher: Teacher, frames: Frames, *, batch_atoms: int | None = None) -> NDArray[np.float64]:
    """Return (M, D): the first member's invariant features of every atom; NaN for atoms of a frame that it refuses.

    Raise ``ValueError`` for an unknown element or a frame without atoms or with coordinates that are not finite.
    """
    teacher.check_numbers(frames.numbers)
    rows = np.arange(len(frames))
    bad = np.setdiff1d(rows, sane_rows(frames))
    if len(bad):
        raise ValueError(
            f'frames {bad[:5].tolist()} (of {len(bad)}) are empty or not finite: drop them before asking for '
            'descriptors'
        )
    batches = ask_in_batches(teacher.describe, frames, rows, batch_atoms=batch_atoms or teacher.batch_atoms)
    parts = [features for _, features in batches]
    return np.concatenate(parts) if parts else teacher.describe([])


def teacher_descriptors(teacher: Teacher, frames: Frames, *, batch_atoms: int | None = None) -> NDArray[np.float64]:
    """Return (N, D): :func:`atom_features` averaged over each frame's atoms."""
    features = atom_features(teacher, frames, batch_atoms=batch_atoms)
    sums = np.zeros((len(frames), features.shape[1]))
    np.add.at(sums, frames.frame_of_atom(), features)
    return sums / np.diff(frames.offsets)[:, None]
