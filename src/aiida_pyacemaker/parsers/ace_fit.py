"""What a fit leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from ..data.ace_fit_block import AceFitBlockData
from ..data.ace_potential import AcePotentialData
from .base import TaskParser


class AceFitParser(TaskParser):
    """The potential, one block for every new dataset, and metrics."""

    def collect(self, folder: Path, report: dict[str, Any]) -> None:
        """Attach potential, blocks and metrics."""
        self.out('potential', AcePotentialData.from_folder(folder, metrics=report))
        for name in sorted(self.node.inputs.datasets) if 'datasets' in self.node.inputs else ():
            self.out(f'blocks.{name}', AceFitBlockData.from_file(folder / f'block_{name}.npz'))
        self.out('metrics', orm.Dict(report))
