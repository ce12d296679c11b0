"""What labelling leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from ..data.dataset import AtomicDatasetData
from ..science.frames import Frames
from .base import TaskParser


class LabelParser(TaskParser):
    """Labelled frames, the rows that are kept, what the teacher is too unsure of, and a report."""

    def collect(self, folder: Path, report: dict[str, Any]) -> None:
        """Attach frames, rows and report."""
        self.out_frames('dataset', folder / 'labels.npz')  # first: a program that left nothing lacks this above all
        rejected = Frames.load(folder / 'rejected.npz')
        if len(rejected):
            self.out('rejected', AtomicDatasetData.from_frames(rejected))
        self.out_arrays('kept', indices=folder / 'kept.npy')
        self.out('report', orm.Dict(report))
