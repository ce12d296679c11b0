"""Task ``select``: which frames of a pool are worth a label, and which are kept out of training."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray
from pydantic import Field

from ..science.ace import AcePotential, build_potential
from ..science.ace.quality import nearest_distances
from ..science.config import EmbeddingConfig, FitConfig, SelectionConfig
from ..science.frames import Frames
from ..science.selection import (
    IN_ENVIRONMENTS,
    Candidates,
    Environments,
    distribution_entropy,
    drop_near_duplicates,
    find_environments,
    find_strata,
    first_occurrences,
    kernel_width,
    project_features,
    select,
    split_held_out,
)
from ..science.teacher import Teacher, load_teacher, teacher_descriptors
from .base import Progress, Task, TaskFailure
from .inputs import check_elements, read_frames
from .pieces import Arrays, reuse_arrays

FRAMES_PER_PIECE = 50
FRAMES_AT_ONCE = 500  # whose projections are held together
SPACE_FUNCTIONS = 100  # of an element, where the basis only spans the space: 10⁵ frames of four elements take 0.6 GB
PROTOTYPE = 'prototype'
ROWS_FOR_ENTROPY = 5000  # its cost grows with the square: a larger pool is judged by every so-manieth frame


class SelectTask(Task):
    """A pool, how many frames to select and how, what fraction to keep out.

    The teacher in ``models`` gives the features of frames where ``selection`` asks for them; ``fit`` is the student
    that will be fitted, in whose basis the other methods work.
    """

    frames: str
    models: tuple[str, ...] = ()
    count: int = Field(gt=0)
    held_out_fraction: float = Field(0.1, ge=0, lt=0.5)
    selection: SelectionConfig = SelectionConfig()
    fit: FitConfig = FitConfig()
    dtype: Literal['float32', 'float64'] = 'float64'
    seed: int = 0

    def run(self, progress: Progress) -> dict[str, Any]:
        """Write ``selected.npy`` and ``held_out.npy`` (sorted rows of the pool); return what the features span."""
        pool = read_frames(self.frames)
        unique = first_occurrences(pool)
        known = self._describe(pool.select(unique), progress)
        kept = drop_near_duplicates(known.scores, tolerance=self.selection.duplicate_tolerance)
        unique, known = unique[kept], known.subset(kept)
        held_out, selected = self._split(pool.select(unique), known, progress)
        np.save('selected.npy', unique[selected])
        np.save('held_out.npy', unique[held_out])
        return {
            'n_pool': len(pool),
            'n_duplicates': len(pool) - len(unique),
            'n_selected': len(selected),
            'n_held_out': len(held_out),
            'n_asked': self.count,
            'selected_by_type': _count(pool.config_type[unique[selected]]),
            'held_out_by_type': _count(pool.config_type[unique[held_out]]),
            'selected_by_stratum': _count(known.strata[selected]),
            'selection': self.selection.model_dump(),
            'features': {'n_components': known.scores.shape[1], **_spread(known.scores, selected)},
            'seed': self.seed,
        }

    def _split(
        self, pool: Frames, known: Candidates, progress: Progress
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return held-out and selected rows; relaxed prototypes are always selected, as far as ``count`` goes."""
        held_out_rng, rng = np.random.default_rng(self.seed).spawn(2)
        n_held_out = round(self.count * self.held_out_fraction)
        held_out, training = split_held_out(pool, count=n_held_out, rng=held_out_rng, never=(PROTOTYPE,))
        fixed = np.flatnonzero(pool.config_type[training] == PROTOTYPE)[: self.count]
        progress.report(f'select by {self.selection.method}', 0, 1)
        rows = select(
            known.subset(training),
            self.selection.method,
            count=min(self.count, len(training)),
            rng=rng,
            start=fixed.tolist(),
            floor=self.selection.quota_floor,
        )
        progress.report(f'select by {self.selection.method}', 1, 1)
        return held_out, training[rows]

    def _describe(self, pool: Frames, progress: Progress) -> Candidates:
        """Return the frames in the space that the method works in."""
        environments: Environments | None = None
        if self.selection.method in IN_ENVIRONMENTS:
            environments = self._environments(pool, self._student(pool))
            features = environments.frame_features()
        elif self.selection.descriptors == 'student':
            features = self._student_features(pool, progress)
        else:
            features = self._features(pool, progress)
        return Candidates(scores=project_features(features).scores, environments=environments, strata=find_strata(pool))

    def _student(self, pool: Frames, *, most_functions: int | None = None) -> AcePotential:
        """Return the student that will be fitted, without embeddings, which no projection depends on."""
        basis = self.fit.whole_basis
        count = basis.functions.number_of_functions_per_element
        if most_functions is not None and (count is None or count > most_functions):
            functions = basis.functions.model_copy(update={'number_of_functions_per_element': most_functions})
            basis = basis.model_copy(update={'functions': functions})
        basis = basis.model_copy(update={'embeddings': {'ALL': EmbeddingConfig()}})
        config = self.fit.model_copy(update={'basis': basis, 'cutoff': None, 'number_of_functions_per_element': None})
        elements = [chemical_symbols[number] for number in np.unique(pool.numbers)]
        distances = nearest_distances(pool)  # none where all are molecules: then as the fit does without them
        bond_length = float(np.median(distances)) if len(distances) else None
        try:
            return build_potential(sorted(elements), config, bond_length=bond_length)
        except ValueError as error:
            raise TaskFailure('INVALID_INPUT', f'the basis of the student: {error}') from error

    def _environments(self, pool: Frames, student: AcePotential, *, first: int = 0) -> Environments:
        try:
            return find_environments(student, pool)
        except ValueError as error:
            raise TaskFailure('INVALID_INPUT', f'the basis of the student, frames from {first} on: {error}') from error

    def _student_features(self, pool: Frames, progress: Progress) -> NDArray[np.float64]:
        """Return mean and spread of the projections frame by frame; those of all atoms are never in memory together."""
        student, rows = self._student(pool, most_functions=SPACE_FUNCTIONS), []
        for start in range(0, len(pool), FRAMES_AT_ONCE):
            part = pool.select(np.arange(start, min(start + FRAMES_AT_ONCE, len(pool))))
            rows.append(self._environments(part, student, first=start).frame_features())
            progress.report('environments', start + len(part), len(pool))
        return np.concatenate(rows)

    def _features(self, pool: Frames, progress: Progress) -> NDArray[np.float64]:
        if not self.models:
            raise TaskFailure('INVALID_INPUT', "models: none, and selection.descriptors is 'teacher': give either")
        teacher = load_teacher([Path(model) for model in self.models], dtype=self.dtype)
        check_elements(pool, teacher.elements, 'the teacher')
        rows = []
        for start in range(0, len(pool), FRAMES_PER_PIECE):
            part = pool.select(np.arange(start, min(start + FRAMES_PER_PIECE, len(pool))))
            piece = reuse_arrays(f'features_{start}', partial(_described, teacher, part))
            rows.append(piece['features'])
            progress.report('features', start + len(part), len(pool))
        features = np.concatenate(rows)
        if not np.isfinite(features).all():
            bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
            raise TaskFailure('NON_FINITE_RESULT', f'teacher features of {len(bad)} frames are not finite: {bad[:5]}')
        return features


def _described(teacher: Teacher, frames: Frames) -> Arrays:
    return {'features': teacher_descriptors(teacher, frames)}


def _count(names: NDArray[np.str_]) -> dict[str, int]:
    kinds, counts = np.unique(names, return_counts=True)
    return dict(zip(kinds.tolist(), counts.tolist(), strict=True))


def _spread(scores: NDArray[np.float64], selected: NDArray[np.int64]) -> dict[str, float]:
    """Return how well the selected rows cover all: largest distance to one, entropies (nats) of all and of them.

    The distance is in units of the largest distance to the mean.
    """
    nearest = np.full(len(scores), np.inf)
    for row in selected:
        nearest = np.minimum(nearest, np.linalg.norm(scores - scores[row], axis=1))
    spread = float(np.linalg.norm(scores - scores.mean(axis=0), axis=1).max())
    width = kernel_width(scores, len(selected))
    return {
        'coverage_radius': float(nearest.max()) / spread if spread else 0.0,
        'entropy_pool': distribution_entropy(scores[:: -(-len(scores) // ROWS_FOR_ENTROPY)], width),
        'entropy_selected': distribution_entropy(scores[selected], width),
    }


TASK = SelectTask
