"""What every task parser shares: the result file, its failures, its numbers as plain JSON."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from aiida.parsers import Parser

from ..calculations.base import RESULT_FILE
from ..data.dataset import AtomicDatasetData
from ..science.frames import Frames
from ..tasks.base import TaskFailure


class TaskParser(Parser):
    """Reads ``result.json``; a subclass turns the other files into nodes."""

    CACHE_VERSION = 1

    def parse(self, retrieved_temporary_folder: str | None = None, **_: Any) -> ExitCode | None:
        """Attach the outputs of a finished task; return its failure as a numbered exit code."""
        try:
            result = json.loads(self.retrieved.base.repository.get_object_content(RESULT_FILE))
            status = int(result['status'])
        except (FileNotFoundError, ValueError, KeyError):
            return self._killed()
        if status:
            return self._failed(result)
        report = plain_json({key: value for key, value in result.items() if key not in ('status', 'task')})
        try:
            self.collect(Path(retrieved_temporary_folder or '.'), report)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            return self.exit_codes.ERROR_UNREADABLE_OUTPUT.format(message=f'{type(error).__name__}: {error}')
        return None

    def collect(self, folder: Path, report: dict[str, Any]) -> None:
        """Turn the files in ``folder`` into output nodes; raise what a missing or cut-off file raises."""
        raise TypeError(f'{type(self).__name__} does not say what a finished task leaves')

    def out_frames(self, label: str, path: Path) -> None:
        """Attach a file of frames as a dataset."""
        self.out(label, AtomicDatasetData.from_frames(Frames.load(path)))

    def out_arrays(self, label: str, **paths: Path) -> None:
        """Attach ``.npy`` files as arrays of one node."""
        self.out(label, orm.ArrayData({name: np.load(path, allow_pickle=False) for name, path in paths.items()}))

    def _killed(self) -> ExitCode:
        """Return what the scheduler says, if it says something, else that there is no result."""
        if self.node.exit_status is not None:
            return ExitCode(self.node.exit_status, self.node.exit_message, invalidates_cache=True)
        return self.exit_codes.ERROR_NO_RESULT

    def _failed(self, result: dict[str, Any]) -> ExitCode:
        name = result.get('failure')
        name = name if name in TaskFailure.STATUSES else 'UNEXPECTED'
        code: ExitCode = self.exit_codes[f'ERROR_{name}']
        message = one_line(result.get('message', 'no message'))
        self.logger.error(f'{name}: {message}')
        return code.format(message=message)


class ProgramParser(Parser):
    """Parser of a program of others, which leaves text files."""

    def _text(self, name: str) -> str:
        """Return a retrieved file as text, '' where there is none."""
        try:
            return self.retrieved.base.repository.get_object_content(name, mode='rb').decode(errors='replace')
        except FileNotFoundError:
            return ''

    def _last_words(self) -> str:
        """Return the last line of the screen and of what the job script said, for a program that left no log."""
        names = (self.node.get_option(option) for option in ('scheduler_stderr', 'output_filename'))
        lines = '\n'.join(self._text(name) for name in names if name).split('\n')
        return one_line(next((line for line in reversed(lines) if line.strip()), 'it said nothing'))


def plain_json(value: Any) -> Any:
    """Return ``value`` with numbers that are not finite replaced by ``None``: the database holds no NaN."""
    if isinstance(value, dict):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def one_line(text: object) -> str:
    """Return ``text`` as one line without braces, which the template of a message would read."""
    return ' '.join(str(text).split()).replace('{', '(').replace('}', ')')
