"""Task ``label``: a teacher's labels for a file of frames, and which of them to trust."""

from __future__ import annotations

import hashlib
import itertools
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..science.frames import Frames, concatenate_frames
from ..science.teacher import Teacher, label_frames, load_teacher
from ..science.teacher.doubt import Doubt, Limits, find_doubt, judge_labels, mask_atoms
from .base import Progress, Task, TaskFailure

PIECE_ATOMS = 2000
PIECES = Path('pieces')
PROTOTYPE = 'prototype'


class LabelTask(Task):
    """Labels frames and applies the confidence filter.

    frames: file of frames; indices: file of the rows to label, in that order, default all; models: the committee;
    home: file of frames that a teacher of one member is at home with (of kind ``prototype``, where there are any);
    labelled: files of frames with DFT forces, in the order they came, which calibrate. Limits as :class:`Limits`:
    uncertainty_threshold a frame, atom_uncertainty_threshold an atom, distance_threshold a frame whose uncertainty has
    no unit yet, max_force. One member without home and labels has no uncertainty and is not filtered, which the result
    says.
    """

    frames: str
    indices: str | None = None
    models: list[str] = Field(min_length=1)
    home: str | None = None
    labelled: list[str] = []
    dtype: Literal['float32', 'float64'] = 'float64'
    batch_atoms: int | None = Field(None, gt=0)
    uncertainty_threshold: float | None = Field(None, gt=0)
    atom_uncertainty_threshold: float | None = Field(None, gt=0)
    distance_threshold: float | None = Field(None, gt=0)
    max_force: float | None = Field(None, gt=0)

    def run(self, progress: Progress) -> dict[str, Any]:
        """Write ``labels.npz`` (all frames, input order), ``kept.npy`` (rows that pass), ``rejected.npz``."""
        frames, teacher = self._read()
        doubt = self._find_doubt(teacher)
        labelled, grades = self._label(frames, teacher, doubt, progress)
        verdict = judge_labels(labelled, grades, self._limits(), has_unit=doubt.has_unit)
        labelled = mask_atoms(labelled, verdict.masked)
        labelled.save('labels.npz')
        labelled.select(verdict.doubtful).save('rejected.npz')
        np.save('kept.npy', verdict.kept)
        limit = self.uncertainty_threshold if doubt.has_unit else self.distance_threshold
        spread = quantiles(verdict.spread)
        if not len(verdict.kept):
            raise TaskFailure(
                'NOTHING_LEFT',
                f'none of {len(labelled)} frames is kept: {verdict.counts}; quantiles of the uncertainty '
                f'({doubt.unit}) {spread}; raise uncertainty_threshold, distance_threshold or max_force, or give '
                'milder structures',
            )
        return {
            'n_frames': len(labelled),
            'n_labelled': int((labelled.label_mask > 0).sum()),
            'n_kept': len(verdict.kept),
            'n_masked_atoms': int(verdict.masked.sum()),
            'rejected': verdict.counts,
            'uncertainty_quantiles': spread,
            'uncertainty_filter': limit is not None and doubt.kind != 'none',
            'uncertainty': {**doubt.report, 'unit': doubt.unit},
            'teacher': {**teacher.theory, 'elements': list(teacher.elements), 'cutoff_A': teacher.cutoff},
            'versions': teacher.versions(),
        }

    def _limits(self) -> Limits:
        return Limits(
            frame=self.uncertainty_threshold,
            atom=self.atom_uncertainty_threshold,
            distance=self.distance_threshold,
            force=self.max_force,
        )

    def _read(self) -> tuple[Frames, Teacher]:
        frames = _read_frames(self.frames)
        try:
            teacher = load_teacher(self.models, dtype=self.dtype)
        except ValueError as error:
            raise TaskFailure('UNREADABLE_FILE', str(error)) from error
        if self.indices is not None:
            frames = frames.select(_read_indices(self.indices, len(frames)))
        _check_elements(teacher, frames)
        return frames, teacher

    def _find_doubt(self, teacher: Teacher) -> Doubt:
        """Settle what the uncertainty is, from files that may hold more than is needed."""
        home = [] if self.home is None else [_read_frames(self.home)]
        known = [_read_frames(path) for path in self.labelled]
        for part in (*home, *known):
            _check_elements(teacher, part)
        crystals = [part.config_type == PROTOTYPE for part in home]
        home = [part.select(rows) if rows.any() else part for part, rows in zip(home, crystals, strict=True)]
        try:
            return find_doubt(teacher, home=home, batches=known)
        except ValueError as error:
            raise TaskFailure('INVALID_INPUT', str(error)) from error

    def _label(
        self, frames: Frames, teacher: Teacher, doubt: Doubt, progress: Progress
    ) -> tuple[Frames, NDArray[np.float64]]:
        """Label piece by piece; a finished piece of an earlier, killed run with the same inputs is read back."""
        known = [_read_frames(path).content_digest() for path in (*filter(None, [self.home]), *self.labelled)]
        content = ' '.join([frames.content_digest(), teacher.digest, self.dtype, str(self.batch_atoms), *known])
        folder = PIECES / hashlib.sha256(content.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        bounds = [*range(0, len(frames), _frames_a_piece(frames)), len(frames)]
        parts, grades = [], []
        for number, (start, stop) in enumerate(itertools.pairwise(bounds)):
            path, graded = folder / f'{number:05d}.npz', folder / f'{number:05d}.npy'
            if not path.is_file():
                piece = label_frames(teacher, frames.select(np.arange(start, stop)), batch_atoms=self.batch_atoms)
                piece, grade = doubt.apply(teacher, piece)
                np.save(graded, grade)
                piece.save(folder / 'part.npz')
                os.replace(folder / 'part.npz', path)
            parts.append(Frames.load(path))
            grades.append(np.load(graded))
            progress.report('label', stop, len(frames), labelled=int((parts[-1].label_mask > 0).sum()))
        return concatenate_frames(parts), np.concatenate([np.zeros(0), *grades])


def quantiles(values: NDArray[np.float64]) -> dict[str, float]:
    """Return the 10, 50, 90 and 100 % quantiles of the finite values, by name."""
    finite = values[np.isfinite(values)]
    return {f'q{q}': float(np.percentile(finite, q)) for q in (10, 50, 90, 100)} if len(finite) else {}


def _read_frames(path: str) -> Frames:
    try:
        return Frames.load(path)
    except ValueError as error:
        raise TaskFailure('UNREADABLE_FILE', str(error)) from error


def _check_elements(teacher: Teacher, frames: Frames) -> None:
    try:
        teacher.check_numbers(frames.numbers)
    except ValueError as error:
        raise TaskFailure('UNKNOWN_ELEMENT', str(error)) from error


def _frames_a_piece(frames: Frames) -> int:
    mean = frames.n_atoms / max(len(frames), 1)
    return max(1, int(PIECE_ATOMS / max(mean, 1.0)))


def _read_indices(path: str, count: int) -> NDArray[np.int64]:
    try:
        indices = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise TaskFailure('UNREADABLE_FILE', f'{path} is not a file of indices: {error}') from error
    if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer) or np.any((indices < 0) | (indices >= count)):
        raise TaskFailure('INVALID_INPUT', f'{path}: expected integers from 0 to {count - 1} in one dimension')
    return np.asarray(indices, dtype=np.int64)


TASK = LabelTask
