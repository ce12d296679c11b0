"""Task ``finetune``: the teacher's readouts meet DFT."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from ..science.config import FinetuneConfig
from ..science.frames import Frames, concatenate_frames
from ..science.teacher import finetune_readouts, load_teacher
from .base import Progress, Task, TaskFailure


class FinetuneTask(Task):
    """Trains the readouts of every member on the labelled forces of all datasets.

    models: the committee to start from; datasets: files of labelled frames; finetune: settings; seed: of the order of
    the batches.
    """

    models: list[str] = Field(min_length=1)
    datasets: list[str] = Field(min_length=1)
    finetune: FinetuneConfig = FinetuneConfig()
    seed: int = Field(ge=0)

    def run(self, progress: Progress) -> dict[str, Any]:
        """Write ``model_0.model``, ...; return history and force errors (eV/Å) before and after."""
        try:
            frames = concatenate_frames([Frames.load(path) for path in self.datasets])
            # a force that the student must not learn may weigh 1 here: a weight of 0 would not keep a label out
            frames = frames.select(~frames.flagged) if self.finetune.flagged_labels == 'leave_out' else frames
            start = load_teacher(self.models)
        except ValueError as error:
            raise TaskFailure('UNREADABLE_FILE', str(error)) from error
        try:
            start.check_numbers(frames.numbers)
        except ValueError as error:
            raise TaskFailure('UNKNOWN_ELEMENT', str(error)) from error
        progress.report('finetune', 0, len(self.models), frames=len(frames))
        try:
            paths, history = finetune_readouts(self.models, frames, self.finetune, seed=self.seed, output_dir='.')
        except ValueError as error:
            raise TaskFailure('INVALID_INPUT', str(error)) from error
        except FloatingPointError as error:
            raise TaskFailure('NON_FINITE_RESULT', str(error)) from error
        trained = load_teacher(paths)
        progress.report('finetune', len(paths), len(paths))
        return {
            'n_frames': len(frames),
            'rmse_before': [row['rmse_before'] for row in history],
            'rmse_after': [row['rmse_after'] for row in history],
            'mean_rmse_before': float(np.mean([row['rmse_before'] for row in history])),
            'mean_rmse_after': float(np.mean([row['rmse_after'] for row in history])),
            'history': history,
            'digest_before': start.digest,
            'digest_after': trained.digest,
            'versions': trained.versions(),
        }


TASK = FinetuneTask
