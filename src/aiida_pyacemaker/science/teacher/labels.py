"""Labels of a teacher: energy, forces, stress and how far the members disagree; descriptors of frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from ..frames import HAS_ENERGY, HAS_FORCES, HAS_STRESS, Frames
from .committee import Teacher
from .graphs import is_sane, make_batch, make_batches, split_batches


@dataclass(frozen=True, kw_only=True)
class CommitteeLabels:
    """What K members say of n structures with m atoms in all.

    energy: (K, n) eV; forces: (K, m, 3) eV/Å; stress: (K, n, 6) eV/Å³, ASE's sign and order, NaN unless fully periodic.
    """

    energy: NDArray[np.float64]
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]


def evaluate_members(teacher: Teacher, structures: Sequence[Atoms]) -> CommitteeLabels:
    """Ask every member about all structures at once; neighbour lists are built once."""
    energy, forces, stress = [], [], []
    batches = make_batches(teacher.models, structures, dtype=teacher.dtype, device=teacher.device)
    for model, batch in zip(teacher.models, batches, strict=True):
        batch['positions'] = batch['positions'].detach().clone()
        answer = model(batch, compute_stress=True, training=False)
        energy.append(_numpy(answer['energy']))
        forces.append(_numpy(answer['forces']))
        stress.append(full_3x3_to_voigt_6_stress(_numpy(answer['stress']).reshape(-1, 3, 3)))
    periodic = np.array([atoms.pbc.all() for atoms in structures])
    voigt = np.where(periodic[None, :, None], np.array(stress), np.nan)
    return CommitteeLabels(energy=np.array(energy), forces=np.array(forces), stress=voigt)


def evaluate_apart(teacher: Teacher, structures: Sequence[Atoms]) -> CommitteeLabels:
    """Evaluate all structures at once; where that is not finite, one by one, since one NaN spreads over its batch."""
    answer = evaluate_members(teacher, structures)
    if len(structures) == 1 or (np.isfinite(answer.energy).all() and np.isfinite(answer.forces).all()):
        return answer
    parts = [evaluate_members(teacher, [atoms]) for atoms in structures]
    return CommitteeLabels(
        energy=np.concatenate([part.energy for part in parts], axis=1),
        forces=np.concatenate([part.forces for part in parts], axis=1),
        stress=np.concatenate([part.stress for part in parts], axis=1),
    )


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
    batch_atoms: int = 200,
    on_batch: Callable[[int, int], None] | None = None,
) -> Frames:
    """Return the frames with the committee's mean energy, forces and stress and its per-atom uncertainty.

    Order and all other columns are kept. Stress is given for fully periodic frames only. A frame for which anything
    is not finite gets NaN labels, ``label_mask`` 0 and ``theory_id`` -1: it stays in its place. The uncertainty of a
    committee of one is 0 everywhere. on_batch: called with (frames done, frames in all) after every batch. Raise
    ``ValueError`` for an element that a member does not know.
    """
    teacher.check_numbers(frames.numbers)
    energy, stress = np.full(len(frames), np.nan), np.full((len(frames), 6), np.nan)
    forces, uncertainty = np.full((frames.n_atoms, 3), np.nan), np.full(frames.n_atoms, np.nan)
    structures = list(frames.iter_atoms())
    sane = np.array([len(atoms) > 0 and is_sane(atoms) for atoms in structures], dtype=bool)
    candidates = np.flatnonzero(sane)
    for part in split_batches(np.diff(frames.offsets)[candidates].tolist(), batch_atoms):
        rows = candidates[part]
        answer = evaluate_apart(teacher, [structures[row] for row in rows])
        atom_rows = np.concatenate([np.arange(frames.offsets[row], frames.offsets[row + 1]) for row in rows])
        energy[rows], stress[rows] = answer.energy.mean(axis=0), answer.stress.mean(axis=0)
        forces[atom_rows], uncertainty[atom_rows] = answer.forces.mean(axis=0), force_spread(answer.forces)
        if on_batch is not None:
            on_batch(int(rows[-1]) + 1, len(frames))
    periodic = frames.pbc.all(axis=1)
    good = sane & np.isfinite(energy) & (~periodic | np.isfinite(stress).all(axis=1))
    owner = frames.frame_of_atom()
    good[owner[~np.isfinite(forces).all(axis=1)]] = False
    of_good = good[owner]
    return frames.with_columns(
        energy=np.where(good, energy, np.nan),
        forces=np.where(of_good[:, None], forces, np.nan),
        stress=np.where((good & periodic)[:, None], stress, np.nan),
        uncertainty=np.where(of_good, uncertainty, np.nan),
        label_mask=np.where(good, HAS_ENERGY | HAS_FORCES | np.where(periodic, HAS_STRESS, 0), 0),
        theory_id=np.where(good, 0, -1),
        theories=(teacher.theory,),
    )


def teacher_descriptors(teacher: Teacher, frames: Frames, *, batch_atoms: int = 200) -> NDArray[np.float64]:
    """Return (N, D): the first member's invariant atomic features of all layers, averaged over each frame's atoms.

    Raise ``ValueError`` for an unknown element or a frame without atoms or with coordinates that are not finite.
    """
    import torch
    from e3nn.o3 import Irreps

    teacher.check_numbers(frames.numbers)
    model = teacher.models[0]
    structures = list(frames.iter_atoms())
    bad = [index for index, atoms in enumerate(structures) if len(atoms) == 0 or not is_sane(atoms)]
    if bad:
        raise ValueError(
            f'frames {bad[:5]} (of {len(bad)}) are empty or not finite: drop them before asking for descriptors'
        )
    layers = [Irreps(str(product.linear.irreps_out)) for product in model.products]
    columns = _invariant_columns(layers)
    rows = []
    for part in split_batches(np.diff(frames.offsets).tolist(), batch_atoms):
        batch = make_batch(model, structures[part], dtype=teacher.dtype, device=teacher.device)
        with torch.no_grad():
            features = _numpy(model(batch, compute_force=False)['node_feats'])[:, columns]
        owner = batch['batch'].cpu().numpy()
        sums = np.zeros((len(structures[part]), features.shape[1]))
        np.add.at(sums, owner, features)
        rows.append(sums / np.bincount(owner)[:, None])
    return np.concatenate(rows) if rows else np.zeros((0, len(columns)))


def _invariant_columns(layers: Sequence[Any]) -> NDArray[np.int64]:
    """Return the columns of the concatenated features that hold scalars; a layer is an ``Irreps``."""
    columns, offset = [], 0
    for irreps in layers:
        for (_, irrep), part in zip(irreps, irreps.slices(), strict=True):
            if irrep.l == 0 and irrep.p == 1:
                columns.append(np.arange(part.start, part.stop) + offset)
        offset += irreps.dim
    return np.concatenate(columns)


def _numpy(tensor: Any) -> NDArray[np.float64]:
    return np.asarray(tensor.detach().cpu().numpy(), dtype=np.float64)
