"""Evaluation of many frames at once, from their columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from ..neighbours import Pairs, pairs_of
from .engine.run import NeighbourList
from .evaluator import Array, GradesProjections, Index, evaluate_list_of, split

if TYPE_CHECKING:
    from ..frames import Frames
    from .potential import AcePotential

BLOCK = 4096  # atoms evaluated together: enough to fill the vectors, little enough memory


@dataclass(frozen=True, kw_only=True, eq=False)
class FramesEvaluation:
    """
    Result of `evaluate_frames`, columns of N frames with M atoms.

    energies: (M,) eV, reference energies included; forces: (M, 3) eV/Å; stress: (N, 6) eV/Å³, ASE sign and Voigt
    order, NaN unless periodic in three directions; projections: (M, largest n_functions), padded with 0, or None;
    gamma: (M,) or None. All of a frame that is not finite is NaN, its γ infinite.
    """

    energies: Array
    forces: Array
    stress: Array
    projections: Array | None
    gamma: Array | None


def evaluate_frames(
    potential: AcePotential,
    frames: Frames,
    *,
    active_set: GradesProjections | None = None,
    with_projections: bool = False,
) -> FramesEvaluation:
    """Evaluate all frames, to round-off as `evaluate` does; `ValueError` for an unknown element."""
    species = species_of(potential, frames.numbers)
    wanted = with_projections or active_set is not None
    energies, forces = np.full(frames.n_atoms, np.nan), np.full((frames.n_atoms, 3), np.nan)
    virials, gamma = np.full((len(frames), 6), np.nan), np.full(frames.n_atoms, np.inf)
    projections = np.full((frames.n_atoms, max(potential.n_functions) if with_projections else 0), np.nan)
    for block in _blocks(frames):
        rows = np.concatenate([np.arange(frames.offsets[i], frames.offsets[i + 1]) for i in block])
        given = _joined(species[rows], [_pairs(frames, i, potential.cutoff) for i in block])
        found = evaluate_list_of(potential, given, with_projections=wanted)
        energies[rows], forces[rows] = found.energies, found.forces
        starts = np.cumsum([0, *(frames.offsets[i + 1] - frames.offsets[i] for i in block[:-1])])
        virials[block] = np.add.reduceat(found.virials, starts, axis=0)
        if with_projections:
            projections[rows] = found.projections
        if active_set is not None and found.projections is not None:
            parts = split(found.projections, given.species, potential.n_functions)
            gamma[rows] = active_set.gamma(given.species, parts)
    volumes = np.where(frames.pbc.all(axis=1), np.abs(np.linalg.det(frames.cells)), np.nan)
    return FramesEvaluation(
        energies=energies,
        forces=forces,
        stress=-virials / volumes[:, None],
        projections=projections if with_projections else None,
        gamma=None if active_set is None else gamma,
    )


def species_of(potential: AcePotential, numbers: NDArray[np.integer[Any]]) -> Index:
    """Return the element index of atomic numbers, (M,); `ValueError` for an unknown element."""
    numbers = np.asarray(numbers, dtype=np.int64)
    lookup = np.full(len(chemical_symbols), -1, dtype=np.int64)
    lookup[[atomic_numbers[element] for element in potential.elements]] = np.arange(len(potential.elements))
    found = lookup[numbers]
    if np.any(found < 0):
        potential.species_index(sorted({chemical_symbols[int(z)] for z in numbers[found < 0]}))
    return found


def _blocks(frames: Frames) -> Iterator[list[int]]:
    """Yield the frames that are finite and not empty, in order, some thousand atoms at a time."""
    block: list[int] = []
    size = 0
    for index in range(len(frames)):
        span = frames.span(index)
        good = np.isfinite(frames.positions[span]).all() and np.isfinite(frames.cells[index]).all()
        if good and span.stop > span.start:
            block.append(index)
            size += span.stop - span.start
        if size >= BLOCK or (block and index == len(frames) - 1):
            yield block
            block, size = [], 0


def _pairs(frames: Frames, index: int, cutoff: float) -> Pairs:
    return pairs_of(frames.positions[frames.span(index)], frames.cells[index], frames.pbc[index], cutoff)


def _joined(species: Index, parts: list[Pairs]) -> NeighbourList:
    """Return one list of structures that do not see each other."""
    atoms = np.cumsum([0, *(len(part.starts) - 1 for part in parts)])
    entries = np.cumsum([0, *(len(part.second) for part in parts)])
    first = [part.starts[:-1] + shift for part, shift in zip(parts, entries[:-1], strict=True)]
    second = [part.second + shift for part, shift in zip(parts, atoms[:-1], strict=True)]
    return NeighbourList(
        species,
        np.concatenate([*first, entries[-1:]]),
        np.concatenate(second),
        np.concatenate([part.vectors for part in parts]),
    )
