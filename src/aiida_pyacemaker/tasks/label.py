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
from .base import Progress, Task, TaskFailure

PIECE_ATOMS = 2000
PIECES = Path('pieces')


class LabelTask(Task):
    """Labels frames and applies the confidence filter.

    frames: file of frames; indices: file of the rows to label, in that order, default all; models: the committee;
    uncertainty_threshold: eV/Å, a frame is kept when the rms over its atoms of the per-atom uncertainty is not
    above it (the rms is the scale of the force error that the frame would teach; a maximum would sort by size of the
    frame); a committee of one has no uncertainty and is not filtered, which the result says; max_force: eV/Å, a frame
    is kept when no atom's force is longer.
    """

    frames: str
    indices: str | None = None
    models: list[str] = Field(min_length=1)
    dtype: Literal['float32', 'float64'] = 'float64'
    batch_atoms: int | None = Field(None, gt=0)
    uncertainty_threshold: float | None = Field(None, gt=0)
    max_force: float | None = Field(None, gt=0)

    def run(self, progress: Progress) -> dict[str, Any]:
        """Write ``labels.npz`` (all frames, input order) and ``kept.npy`` (its rows that pass)."""
        frames, teacher = self._read()
        labelled = self._label(frames, teacher, progress)
        labelled.save('labels.npz')
        kept, reasons, spread = self._judge(labelled, teacher)
        np.save('kept.npy', kept)
        numbers = {
            'n_frames': len(labelled),
            'n_labelled': int((labelled.label_mask > 0).sum()),
            'n_kept': len(kept),
            'rejected': reasons,
            'uncertainty_quantiles': quantiles(spread),
            'uncertainty_filter': self.uncertainty_threshold is not None and teacher.n_members > 1,
            'teacher': {**teacher.theory, 'elements': list(teacher.elements), 'cutoff_A': teacher.cutoff},
            'versions': teacher.versions(),
        }
        if not len(kept):
            raise TaskFailure(
                'NOTHING_LEFT',
                f'none of {len(labelled)} frames is kept: {reasons}; uncertainty quantiles (eV/Å) {quantiles(spread)}; '
                'raise uncertainty_threshold or max_force, or give milder structures',
            )
        return numbers

    def _read(self) -> tuple[Frames, Teacher]:
        try:
            frames = Frames.load(self.frames)
            teacher = load_teacher(self.models, dtype=self.dtype)
        except ValueError as error:
            raise TaskFailure('UNREADABLE_FILE', str(error)) from error
        if self.indices is not None:
            frames = frames.select(_read_indices(self.indices, len(frames)))
        try:
            teacher.check_numbers(frames.numbers)
        except ValueError as error:
            raise TaskFailure('UNKNOWN_ELEMENT', str(error)) from error
        return frames, teacher

    def _label(self, frames: Frames, teacher: Teacher, progress: Progress) -> Frames:
        """Label piece by piece; a finished piece of an earlier, killed run with the same inputs is read back."""
        content = f'{frames.content_digest()} {teacher.digest} {self.dtype} {self.batch_atoms}'
        folder = PIECES / hashlib.sha256(content.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        bounds = [*range(0, len(frames), _frames_a_piece(frames)), len(frames)]
        parts = []
        for number, (start, stop) in enumerate(itertools.pairwise(bounds)):
            path = folder / f'{number:05d}.npz'
            if not path.is_file():
                piece = label_frames(teacher, frames.select(np.arange(start, stop)), batch_atoms=self.batch_atoms)
                piece.save(folder / 'part.npz')
                os.replace(folder / 'part.npz', path)
            parts.append(Frames.load(path))
            progress.report('label', stop, len(frames), labelled=int((parts[-1].label_mask > 0).sum()))
        return concatenate_frames(parts)

    def _judge(self, frames: Frames, teacher: Teacher) -> tuple[NDArray[np.int64], dict[str, int], NDArray[np.float64]]:
        """Return the rows to keep, how many fail by reason (the first that applies), and the spread of each frame."""
        spread = frame_rms(frames, frames.uncertainty)
        length = np.linalg.norm(frames.forces, axis=1)
        longest = np.array([length[frames.span(row)].max(initial=0.0) for row in range(len(frames))])
        bad = frames.label_mask == 0
        too_strong = ~bad & (longest > (np.inf if self.max_force is None else self.max_force))
        limit = np.inf if self.uncertainty_threshold is None or teacher.n_members == 1 else self.uncertainty_threshold
        unsure = ~bad & ~too_strong & (spread > limit)
        reasons = {'non_finite': int(bad.sum()), 'max_force': int(too_strong.sum()), 'uncertainty': int(unsure.sum())}
        return np.flatnonzero(~bad & ~too_strong & ~unsure), reasons, spread


def frame_rms(frames: Frames, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N,) the rms over each frame's atoms; values: (M,)."""
    counts = np.maximum(np.diff(frames.offsets), 1)
    sums = np.bincount(frames.frame_of_atom(), weights=values**2, minlength=len(frames))
    rms: NDArray[np.float64] = np.sqrt(sums / counts)
    return rms


def quantiles(values: NDArray[np.float64]) -> dict[str, float]:
    """Return the 10, 50, 90 and 100 % quantiles of the finite values, by name."""
    finite = values[np.isfinite(values)]
    return {f'q{q}': float(np.percentile(finite, q)) for q in (10, 50, 90, 100)} if len(finite) else {}


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
