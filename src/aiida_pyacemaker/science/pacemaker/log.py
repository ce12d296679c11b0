"""What pacemaker's log, its screen and ``metrics.txt`` say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

LOG_FILE, METRICS_FILE, OUTPUT_FILE = 'log.txt', 'metrics.txt', 'output_potential.yaml'
STATUS_MAXITER, STATUS_NAN = 1, 3  # of scipy's minimisers

_TIME = re.compile(r'^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ [DIWE] - ', re.MULTILINE)
_ITERATION = re.compile(r' - Iteration +#(\d+) +\(\d+ evals\)')
_RESULT = re.compile(r'Optimization result\(success=(\w+), status=(\w+), message=(.*), nfev=')
_BATCH = re.compile(r'Decrease batch size \(by factor [^)]*\): (\d+) -> (\d+)')
_VERSION = re.compile(r'pacemaker/pyace version: (\S+)')
_TENSORPOT = re.compile(r'tensorpot_version: (\S+)')
_ERROR = re.compile(r'^(?:[\w.]*(?:Error|Exception|Interrupt))\b.*', re.MULTILINE)

# outcome -> what the screen shows of it, in the order in which they are looked for
_CAUSES = (
    ('out_of_memory', re.compile(r'ResourceExhausted|OOM when allocating|MemoryError|bad_alloc|[Oo]ut of memory'
                                 r'|Unable to allocate|oom[-_]kill|No further batch size reduction')),
    ('no_tensorflow', re.compile(r"No module named '(?:tensorflow|tensorpotential)[\w.]*'|libtensorflow")),
    ('dataset', re.compile(r'load_dataframe|load_dataset|process_dataset|UnpicklingError|contains NaN')),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LogRecord:
    """What a log says of one run (the last, where several wrote into one file).

    iterations: of the last optimisation, 0 when none began; started: whether a first iteration was made; saved:
    whether the final potential was; skipped: no fit, since the potential counts as fitted already; over: the program
    went on to predictions or its end; success, status, message: the optimiser's last word; seconds: from first to
    last line; batch_size: where pacemaker lowered it itself; versions: of programs.
    """

    iterations: int
    started: bool
    saved: bool
    skipped: bool
    over: bool
    success: bool | None
    status: int | None
    message: str
    seconds: float
    batch_size: int | None
    versions: Mapping[str, str]


def read_log(text: str) -> LogRecord:
    """Read ``log.txt``, whole or cut off anywhere."""
    text = text[max(text.rfind(' - Start pacemaker'), 0) :]
    times = [datetime.fromisoformat(found) for found in _TIME.findall(text)]
    iterations = [int(found) for found in _ITERATION.findall(text)]
    results = _RESULT.findall(text)
    success, status, message = results[-1] if results else (None, None, '')
    batches = _BATCH.findall(text)
    found = {'pacemaker': _VERSION.search(text), 'tensorpotential': _TENSORPOT.search(text)}
    return LogRecord(
        iterations=iterations[-1] if iterations else 0,
        started=1 in iterations,
        saved='Final potential is saved to' in text,
        skipped='Number of finished fit cycles' in text,
        over='Making predictions' in text or 'Final potential is saved to' in text,
        success=None if success is None else success == 'True',
        status=int(status) if status is not None and status.lstrip('-').isdigit() else None,
        message=message,
        seconds=(times[-1] - times[0]).total_seconds() if times else 0.0,
        batch_size=int(batches[-1][1]) if batches else None,
        versions={name: match.group(1) for name, match in found.items() if match},
    )


def read_metrics(text: str) -> dict[str, NDArray[np.float64]]:
    """Return column -> (n,) of ``metrics.txt``, a line that is being written left out; empty without a header.

    Energies in eV/atom, forces in eV/Å a component; the errors are not weighted, the loss is.
    """
    lines = text.split('\n')[:-1]  # what follows the last newline is not whole
    if not lines or not lines[0].startswith('ladder_step'):
        return {}
    names = lines[0].split()
    rows = [line.split() for line in lines[1:]]
    values = np.array([row for row in rows if len(row) == len(names)], dtype=float).reshape(-1, len(names))
    return dict(zip(names, values.T, strict=True))


def has_diverged(loss: NDArray[np.float64], factor: float) -> bool:
    """Return whether the last loss is not finite, or above ``factor`` times the first."""
    return bool(len(loss)) and not loss[-1] <= factor * loss[0]


def last_error(screen: str) -> str:
    """Return the line with which a traceback ends, or ''."""
    start = screen.rfind('Traceback (most recent call last)')
    found = _ERROR.findall(screen[start:]) if start >= 0 else []
    return found[-1].strip() if found else ''


def why_it_stopped(screen: str) -> str:
    """Return why a run stopped before its end: a cause that the screen names, 'refused' by a traceback, else ''."""
    start = screen.rfind('Traceback (most recent call last)')
    text = screen[max(start, screen.rfind('Iteration   #'), 0) :]  # what it had recovered from is no cause
    for outcome, pattern in _CAUSES:
        if pattern.search(text) and (start >= 0 or outcome == 'out_of_memory'):
            return outcome
    return 'refused' if start >= 0 else ''
