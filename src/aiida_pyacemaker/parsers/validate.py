"""What validation leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm

from .base import TaskParser


class ValidateParser(TaskParser):
    """Gates and curves."""

    def collect(self, folder: Path, report: dict[str, Any]) -> None:
        """Attach gates and curves."""
        with np.load(folder / 'arrays.npz', allow_pickle=False) as archive:
            self.out('arrays', orm.ArrayData({name: archive[name] for name in archive.files}))
        self.out('report', orm.Dict(report))
