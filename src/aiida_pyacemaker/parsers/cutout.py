"""What cutting out leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from .base import TaskParser


class CutoutParser(TaskParser):
    """Label geometries, training geometries in the same order, and a report."""

    def collect(self, folder: Path, report: dict[str, Any]) -> None:
        """Attach both geometries and report."""
        self.out_frames('label_geometry', folder / 'label.npz')
        self.out_frames('training_geometry', folder / 'training.npz')
        self.out('report', orm.Dict(report))
