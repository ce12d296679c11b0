"""What every task shares: its model of inputs, its progress, its result, its named failures."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict


class TaskFailure(Exception):
    """A failure with a name and a number: what was found, what was expected, what to do."""

    # name -> exit status of the task program and of the CalcJob
    STATUSES = {
        'INVALID_INPUT': 310,
        'UNREADABLE_FILE': 311,
        'UNKNOWN_ELEMENT': 312,
        'NON_FINITE_RESULT': 410,
        'NOTHING_LEFT': 411,
        'TOO_FEW_ENVIRONMENTS': 412,
        'OUT_OF_MEMORY': 413,
        'UNEXPECTED': 390,
    }

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        if name not in self.STATUSES:
            raise ValueError(f'failure {name!r} has no number, known: {sorted(self.STATUSES)}')
        self.name = name
        self.status = self.STATUSES[name]


class Task(BaseModel):
    """Inputs of one task, read from ``task.json``; ``run`` works in the current folder and returns the result."""

    model_config = ConfigDict(extra='forbid', frozen=True)

    def run(self, progress: Progress) -> dict[str, Any]:
        """Do the work; return plain JSON values for ``result.json``; raise :class:`TaskFailure` when it fails."""
        raise TypeError(f'{type(self).__name__} does not say how it runs')


class Progress:
    """Appends one JSON line a step to ``progress.jsonl``: stage, done, total, seconds since the start, free numbers."""

    def __init__(self, path: str | Path = 'progress.jsonl') -> None:
        self.path = Path(path)
        self.start = time.monotonic()

    def report(self, stage: str, done: int, total: int, **numbers: Any) -> None:
        """Append one line; it is on disk when this returns."""
        seconds = round(time.monotonic() - self.start, 3)
        line = {'stage': stage, 'done': done, 'total': total, 'seconds': seconds, **numbers}
        with self.path.open('a') as handle:
            handle.write(json.dumps(line) + '\n')
