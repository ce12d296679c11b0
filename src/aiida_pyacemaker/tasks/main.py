"""``pyacemaker-task NAME task.json``: run one task in the current folder."""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .base import Progress, Task, TaskFailure

TASKS = ('sample', 'select', 'label', 'ace_fit', 'finetune', 'cutout', 'validate', 'reference')


def load_task(name: str) -> type[Task]:
    """Return the task class ``NAME`` (module ``tasks/NAME.py``, attribute ``TASK``)."""
    if name not in TASKS:
        raise TaskFailure('INVALID_INPUT', f'unknown task {name!r}, allowed: {", ".join(TASKS)}')
    task: type[Task] = importlib.import_module(f'{__package__}.{name}').TASK
    return task


def run_task(name: str, path: Path) -> dict[str, Any]:
    """Run task ``name`` with the inputs in ``path`` and return its result; every failure has a name and a status."""
    try:
        task = load_task(name).model_validate_json(path.read_text())
        return {'status': 0, 'task': name, **task.run(Progress())}
    except TaskFailure as failure:
        return {'status': failure.status, 'task': name, 'failure': failure.name, 'message': str(failure)}
    except (ValidationError, OSError) as error:
        status = TaskFailure.STATUSES['INVALID_INPUT']
        return {'status': status, 'task': name, 'failure': 'INVALID_INPUT', 'message': str(error)}
    except MemoryError as error:
        status = TaskFailure.STATUSES['OUT_OF_MEMORY']
        return {'status': status, 'task': name, 'failure': 'OUT_OF_MEMORY', 'message': str(error)}
    except Exception as error:  # the last door: nothing may leave without a result file
        traceback.print_exc()
        status = TaskFailure.STATUSES['UNEXPECTED']
        return {'status': status, 'task': name, 'failure': 'UNEXPECTED', 'message': f'{type(error).__name__}: {error}'}


def main() -> None:
    """Entry point of the ``pyacemaker-task`` program."""
    if len(sys.argv) != 3:
        sys.exit('usage: pyacemaker-task NAME task.json')
    result = run_task(sys.argv[1], Path(sys.argv[2]))
    Path('result.json').write_text(json.dumps(result, indent=1))
    if result['status']:
        sys.stderr.write(f'{result["failure"]}: {result["message"]}\n')
        sys.exit(1)
