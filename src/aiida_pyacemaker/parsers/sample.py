"""What sampling leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from .base import TaskParser


class SampleParser(TaskParser):
    """Frames without labels and a report."""

    def collect(self, folder: Path, report: dict[str, Any]) -> None:
        """Attach frames and report."""
        self.out_frames('dataset', folder / 'frames.npz')
        self.out('report', orm.Dict(report))
