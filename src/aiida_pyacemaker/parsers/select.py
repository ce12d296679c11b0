"""What selecting leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from .base import TaskParser


class SelectParser(TaskParser):
    """Rows of the pool and a report."""

    def collect(self, folder: Path, report: dict[str, Any]) -> None:
        """Attach rows and report."""
        self.out_arrays('selection', selected=folder / 'selected.npy', held_out=folder / 'held_out.npy')
        self.out('report', orm.Dict(report))
