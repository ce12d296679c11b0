"""Task ``select``: which frames of a pool are worth a label, and which are kept out of training."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..science.frames import Frames
from ..science.selection import first_occurrences, project_features, select_direct, split_held_out
from ..science.teacher import Teacher, load_teacher, teacher_descriptors
from .base import Progress, Task, TaskFailure
from .inputs import check_elements, read_frames
from .pieces import Arrays, reuse_arrays

FRAMES_PER_PIECE = 50
PROTOTYPE = 'prototype'


class SelectTask(Task):
    """A pool, the teacher whose features span the space, how many frames to select, what fraction to keep out."""

    frames: str
    models: tuple[str, ...] = Field(min_length=1)
    count: int = Field(gt=0)
    held_out_fraction: float = Field(0.1, ge=0, lt=0.5)
    dtype: Literal['float32', 'float64'] = 'float64'
    seed: int = 0

    def run(self, progress: Progress) -> dict[str, Any]:
        """Write ``selected.npy`` and ``held_out.npy`` (sorted rows of the pool); return what the features span."""
        pool = read_frames(self.frames)
        unique = first_occurrences(pool)
        features = self._features(pool.select(unique), progress)
        held_out, selected = self._split(pool.select(unique), features)
        np.save('selected.npy', unique[selected])
        np.save('held_out.npy', unique[held_out])
        projection = project_features(features)
        return {
            'n_pool': len(pool),
            'n_duplicates': len(pool) - len(unique),
            'n_selected': len(selected),
            'n_held_out': len(held_out),
            'n_asked': self.count,
            'selected_by_type': _count_types(pool, unique[selected]),
            'held_out_by_type': _count_types(pool, unique[held_out]),
            'features': {
                'n_features': features.shape[1],
                'n_components': len(projection.explained),
                'explained_variance': float(projection.explained.sum()),
                'coverage_radius': _coverage(projection.scores, selected),
            },
            'seed': self.seed,
        }

    def _split(self, pool: Frames, features: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return held-out and selected rows; relaxed prototypes are always selected, as far as ``count`` goes."""
        held_out_rng, direct_rng = np.random.default_rng(self.seed).spawn(2)
        n_held_out = round(self.count * self.held_out_fraction)
        held_out, training = split_held_out(pool, count=n_held_out, rng=held_out_rng, never=(PROTOTYPE,))
        fixed = training[pool.config_type[training] == PROTOTYPE][: self.count]
        others = np.setdiff1d(training, fixed)
        if len(fixed) == self.count or not len(others):
            return held_out, fixed
        drawn = select_direct(features[others], count=self.count - len(fixed), rng=direct_rng)
        return held_out, np.sort(np.concatenate([fixed, others[drawn]]))

    def _features(self, pool: Frames, progress: Progress) -> NDArray[np.float64]:
        teacher = load_teacher([Path(model) for model in self.models], dtype=self.dtype)
        check_elements(pool, teacher.elements, 'the teacher')
        rows = []
        for start in range(0, len(pool), FRAMES_PER_PIECE):
            part = pool.select(np.arange(start, min(start + FRAMES_PER_PIECE, len(pool))))
            piece = reuse_arrays(f'features_{start}', partial(_describe, teacher, part))
            rows.append(piece['features'])
            progress.report('features', start + len(part), len(pool))
        features = np.concatenate(rows)
        if not np.isfinite(features).all():
            bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
            raise TaskFailure('NON_FINITE_RESULT', f'teacher features of {len(bad)} frames are not finite: {bad[:5]}')
        return features


def _describe(teacher: Teacher, frames: Frames) -> Arrays:
    return {'features': teacher_descriptors(teacher, frames)}


def _count_types(pool: Frames, rows: NDArray[np.int64]) -> dict[str, int]:
    kinds, counts = np.unique(pool.config_type[rows], return_counts=True)
    return dict(zip(kinds.tolist(), counts.tolist(), strict=True))


def _coverage(scores: NDArray[np.float64], selected: NDArray[np.int64]) -> float:
    """Return the largest distance of any row to its nearest selected row, over the largest distance to the mean."""
    nearest = np.full(len(scores), np.inf)
    for row in selected:
        nearest = np.minimum(nearest, np.linalg.norm(scores - scores[row], axis=1))
    spread = float(np.linalg.norm(scores - scores.mean(axis=0), axis=1).max())
    return float(nearest.max()) / spread if spread else 0.0


TASK = SelectTask
