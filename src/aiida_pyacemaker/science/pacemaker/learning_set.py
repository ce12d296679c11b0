"""What pacemaker learns from: labels less what the student need not explain, with a weight an atom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..ace import AcePotential
from ..ace.weights import atoms_too_close, labelled_kinds
from ..baseline import PairBaseline
from ..config import FitConfig
from ..frames import Frames, concatenate_frames
from .loss import force_share, weigh_source
from .portable import portable_array, portable_atoms, write_dataframe
from .reference import Reference, zero_shift

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Frames of one source.

    factor: what the source counts; shift: eV by element, what was taken from its energies so that their zero is the
    student's; n_too_close: atoms that lost their weight since the baseline rules there.
    """

    frames: Frames
    factor: float = 1.0
    shift: Mapping[str, float] = field(default_factory=dict)
    n_too_close: int = 0

    def learnt_rows(self) -> NDArray[np.int64]:
        """Return the frames with a row for energy or forces."""
        kinds = (labelled_kinds(self.frames, index) for index in range(len(self.frames)))
        return np.array([i for i, found in enumerate(kinds) if set(found) & {'energy', 'forces'}], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class LearningSet:
    """All rows of a fit, N frames with M atoms.

    names: (N,) where a frame comes from; energy: (N,) eV, label less baseline, ``corrected`` less E0 too;
    forces: (M, 3) eV/Å, label less baseline; weights_energy: (N,); weights_forces: (M,); kappa: share of the forces.
    A value without weight is 0, for pacemaker refuses NaN.
    """

    frames: Frames
    names: tuple[str, ...]
    energy: Array
    corrected: Array
    forces: Array
    weights_energy: Array
    weights_forces: Array
    kappa: float

    def write(self, path: str | Path) -> None:
        """Write pacemaker's DataFrame."""
        spans = [self.frames.span(index) for index in range(len(self.frames))]
        structures = [
            portable_atoms(list(self.frames.numbers[span]), self.frames.positions[span], cell, pbc)
            for span, cell, pbc in zip(spans, self.frames.cells, self.frames.pbc, strict=True)
        ]
        columns: dict[str, list[Any]] = {
            'name': list(self.names),
            'ase_atoms': structures,
            'energy': self.energy.tolist(),
            'energy_corrected': self.corrected.tolist(),
            'forces': [portable_array(self.forces[span]) for span in spans],
            'w_energy': self.weights_energy.tolist(),
            'w_forces': [portable_array(self.weights_forces[span]) for span in spans],
        }
        write_dataframe(path, columns)


def drop_close_atoms(source: Source, geometry: AcePotential) -> Source:
    """Return the source without weight on atoms inside the inner cut-off of ``geometry``: the baseline rules there."""
    close = [atoms_too_close(atoms, geometry) for atoms in source.frames.iter_atoms()]
    dropped = np.concatenate([np.zeros(0, dtype=bool), *close]) & (source.frames.force_weight > 0)
    frames = source.frames.with_columns(force_weight=np.where(dropped, 0.0, source.frames.force_weight))
    return replace(source, frames=frames, n_too_close=int(np.count_nonzero(dropped)))


def adopt_zero(source: Source, potential: AcePotential, baseline: PairBaseline) -> Source:
    """Return the source with its energies moved to the zero of ``potential``: another theory has one of its own."""
    shift = zero_shift(source.frames, potential, baseline)
    moved = np.array([_sum_over(atoms, shift) for atoms in source.frames.iter_atoms()])
    frames = source.frames.with_columns(energy=source.frames.energy - moved)
    return replace(source, frames=frames, shift=shift)


def make_learning_set(sources: Mapping[str, Source], config: FitConfig, reference: Reference) -> LearningSet:
    """Return the rows of all sources with a factor > 0; frames without a row are left out.

    ``ValueError`` when nothing is left, or a label that is announced is not finite.
    """
    parts, names, weights = [], [], []
    for name in sorted(name for name, source in sources.items() if source.factor > 0):
        source = sources[name]
        rows = source.learnt_rows()
        kept = replace(source, frames=source.frames.select(rows))
        names += [f'from {name} row {row}' for row in rows]  # a name that begins with `augmented` loses its weight
        parts.append(kept)
        weights.append(weigh_source(kept.frames, config, factor=source.factor))
    labels = [_subtract(source, reference) for source in parts]
    if not parts:
        raise ValueError('no source has a factor > 0, expected at least one to learn from')
    energy, corrected, forces = (np.concatenate(column) for column in zip(*labels, strict=True))
    return LearningSet(
        frames=concatenate_frames([source.frames for source in parts]),
        names=tuple(names),
        energy=energy,
        corrected=corrected,
        forces=forces,
        weights_energy=np.concatenate([part.energy for part in weights]),
        weights_forces=np.concatenate([part.forces for part in weights]),
        kappa=force_share(weights),
    )


def _subtract(source: Source, reference: Reference) -> tuple[Array, Array, Array]:
    """Return energy (N,) and corrected energy (N,) in eV and forces (M, 3) in eV/Å of one source."""
    frames = source.frames
    energy, atomic = np.zeros(len(frames)), np.zeros(len(frames))
    forces = np.zeros((frames.n_atoms, 3))
    for index, atoms in enumerate(frames.iter_atoms()):
        kinds, span = labelled_kinds(frames, index), frames.span(index)
        pair_energies, pair_forces, _ = reference.baseline.evaluate(atoms)
        atomic[index] = _sum_over(atoms, reference.energies)
        energy[index] = atomic[index]
        if 'energy' in kinds:
            energy[index] = frames.energy[index] - pair_energies.sum()
        if 'forces' in kinds:
            learnt = frames.force_weight[span] > 0
            forces[span][learnt] = (frames.forces[span] - pair_forces)[learnt]
    return energy, energy - atomic, forces


def _sum_over(atoms: Atoms, energies: Mapping[str, float]) -> float:
    return float(sum(energies.get(symbol, 0.0) for symbol in atoms.get_chemical_symbols()))
