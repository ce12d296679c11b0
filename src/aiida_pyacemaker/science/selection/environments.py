"""What a pool shows the student: the B projections of every atom, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..ace import AcePotential
from ..ace.batch import evaluate_frames, species_of
from ..frames import Frames

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Environments:
    """The environments of N frames with M atoms in a student's basis.

    rows: (M, W) B projections, dimensionless, padded with 0 to the longest basis; species: (M,) index of the element
    in the basis; offsets: (N + 1,) first row of every frame; n_functions: of every element.
    """

    rows: Array
    species: NDArray[np.int64]
    offsets: NDArray[np.int64]
    n_functions: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The (N,) numbers of atoms."""
        return np.asarray(np.diff(self.offsets))

    def select(self, frames: NDArray[np.int64]) -> Environments:
        """Return the environments of some frames, in their order."""
        atoms = [np.arange(self.offsets[frame], self.offsets[frame + 1]) for frame in frames]
        rows = np.concatenate(atoms) if atoms else np.zeros(0, dtype=np.int64)
        return Environments(
            rows=self.rows[rows],
            species=self.species[rows],
            offsets=np.concatenate([[0], np.cumsum(self.sizes[frames])]),
            n_functions=self.n_functions,
        )

    def of_frame(self, frame: int) -> dict[int, Array]:
        """Return element index -> (k, functions of that element) rows of one frame."""
        span = slice(self.offsets[frame], self.offsets[frame + 1])
        rows, species = self.rows[span], self.species[span]
        return {int(kind): rows[species == kind, : self.n_functions[kind]] for kind in np.unique(species)}

    def of_element(self, kind: int) -> tuple[Array, NDArray[np.int64]]:
        """Return the (k, functions) rows of one element and the (k,) frames they are in."""
        atoms = np.flatnonzero(self.species == kind)
        frames = np.searchsorted(self.offsets, atoms, side='right') - 1
        return self.rows[atoms, : self.n_functions[kind]], frames

    def scaled(self) -> Environments:
        """Return the same with every function of an element divided by its root mean square over the pool."""
        rows = self.rows.copy()
        for kind in np.unique(self.species):
            atoms = self.species == kind
            size = np.sqrt(np.mean(rows[atoms] ** 2, axis=0))
            rows[atoms] /= np.where(size > 0, size, 1.0)
        return Environments(rows=rows, species=self.species, offsets=self.offsets, n_functions=self.n_functions)

    def frame_features(self) -> Array:
        """Return (N, 2 W E) features of frames: mean and spread of the projections of each of E elements.

        An element that is not in a frame is all 0 there.
        """
        width = self.rows.shape[1]
        features = np.zeros((len(self), len(self.n_functions), 2, width))
        for kind in range(len(self.n_functions)):
            counts = np.zeros(len(self))
            sums, squares = np.zeros((len(self), width)), np.zeros((len(self), width))
            atoms = np.flatnonzero(self.species == kind)
            frames = np.searchsorted(self.offsets, atoms, side='right') - 1
            np.add.at(counts, frames, 1.0)
            np.add.at(sums, frames, self.rows[atoms])
            np.add.at(squares, frames, self.rows[atoms] ** 2)
            n_atoms = np.maximum(counts, 1.0)[:, None]
            features[:, kind, 0] = sums / n_atoms
            features[:, kind, 1] = np.sqrt(np.maximum(squares / n_atoms - features[:, kind, 0] ** 2, 0.0))
        return features.reshape(len(self), -1)


def find_environments(potential: AcePotential, frames: Frames) -> Environments:
    """Return the environments of all frames; coefficients of ``potential`` play no part.

    Raises ``ValueError`` for an unknown element, or projections that are not finite, naming the frames.
    """
    projections = evaluate_frames(potential, frames, with_projections=True).projections
    if projections is None or not np.isfinite(projections).all():
        atoms = np.flatnonzero(~np.isfinite(projections).all(axis=1)) if projections is not None else np.arange(0)
        bad = np.unique(np.searchsorted(frames.offsets, atoms, side='right') - 1)
        raise ValueError(f'projections of frames {bad[:5].tolist()} are not finite: drop these frames first')
    return Environments(
        rows=projections,
        species=species_of(potential, frames.numbers),
        offsets=np.asarray(frames.offsets, dtype=np.int64),
        n_functions=tuple(int(count) for count in potential.n_functions),
    )
