"""What fine-tuning leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from ..data.teacher import TeacherModelData
from .base import TaskParser


class FinetuneParser(TaskParser):
    """The trained committee and a report."""

    def collect(self, folder: Path, report: dict[str, Any]) -> None:
        """Attach committee and report; what training does not change is taken from the teacher it started from."""
        start = self.node.inputs.teacher
        paths = [folder / name for name in start.file_names]
        facts = {key: start.base.attributes.get(key) for key in ('family', 'elements', 'cutoff_A', 'dtype')}
        node = TeacherModelData.from_files(
            paths,
            source='pyacemaker.finetune',
            licence=start.licence,
            description=facts,
            versions=report.get('versions', {}),
        )
        self.out('teacher', node)
        self.out('report', orm.Dict(report))
