"""What labelling by an ASE calculator leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from .base import TaskParser


class ReferenceParser(TaskParser):
    """Labelled frames, frames set apart, and a report."""

    def collect(self, folder: Path, report: dict[str, Any]) -> None:
        """Attach what there is of each."""
        if report['labelled']:
            self.out_frames('labels.part_000', folder / 'labels.npz')
        if report['failed']:
            self.out_frames('quarantine', folder / 'quarantine.npz')
        self.out('report', orm.Dict(report))
