"""What a LAMMPS log says: how the run ended, the thermodynamic table, the speed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from .soft_start import Kind as SoftStart

Ending = Literal['halt', 'error', 'walltime', 'completed', 'killed']
_HALT = re.compile(r'Fix halt condition for fix-id (\S+) met on step (\d+) with value (\S+)')
# what LAMMPS, a library below it or MPI says when it gives up; the last two go to the screen only
_ERROR = re.compile(
    r'^(?:ERROR(?: on proc \d+)?:|Exception:|terminate called|MPI_ABORT was invoked|Abort\(\d+\)).*$', re.MULTILINE
)
# without MPI, ML-PACE ends without a word when the active set is missing, damaged or of another potential
_SILENT = re.compile(r'^Loading ASI[^\n]*\s*\Z', re.MULTILINE)
_LIMIT = 'WARNING: Wall time limit reached'
_END = re.compile(r'^(?:SEGMENT_END|RUN_COMPLETED) step (\d+)', re.MULTILINE)
_CANARY = re.compile(r'^CANARY ((?:\w+ \S+ \S+ ?)+)$', re.MULTILINE)
_SOFT = re.compile(r'^SOFT_START (\w+) from (\d+) until (\d+)', re.MULTILINE)
_SWAP = re.compile(r'^SWAP from (\d+) until (\d+)', re.MULTILINE)
_LOOP = re.compile(r'^Loop time of (\S+) on \d+ procs for (\d+) steps with (\d+) atoms', re.MULTILINE)
# texts of ERROR lines -> the outcome they mean
_LOST = ('Lost atoms', 'Bond atoms', 'missing on proc')
_NON_FINITE = (
    'Non-numeric',
    'simulation unstable',
    'Out of range atoms',
    'Pair distance < table inner cutoff',
    'box size << cutoff',
    'Domain too large for neighbor bins',
)
# what the system says, and what LAMMPS says of a restart file that it could not write to its end
_DISK_FULL = ('No space left on device', 'Disk quota exceeded', 'I/O error')


@dataclass(frozen=True, kw_only=True)
class LogRecord:
    """One log, read in the order that cannot be mistaken: halt, error, wall limit, our last line, nothing (killed).

    halts: fix id -> (step, value); thermo: column -> (n_rows,), units metal, one row a step; seconds and steps of the
    runs that ended; soft_start: its kind, first and last step; swap: first and last step of the temperature's average
    after it; canary: what was found and expected for the known frame (max_gamma, sum_gamma, energy), empty where there
    is none.
    """

    ending: Ending
    halts: dict[str, tuple[int, float]]
    error: str
    last_step: int | None
    thermo: dict[str, NDArray[np.float64]]
    seconds: float
    n_steps: int
    n_atoms: int
    soft_start: tuple[SoftStart, int, int] | None = None
    swap: tuple[int, int] | None = None
    canary: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def failure(self) -> Literal['lost_atoms', 'non_finite', 'disk_full', 'refused', 'crashed'] | None:
        """Return what an ``error`` ending means (refused: before the first step), ``None`` for other endings."""
        if self.ending != 'error':
            return None
        if any(text in self.error for text in _LOST):
            return 'lost_atoms'
        if any(text in self.error for text in _NON_FINITE):
            return 'non_finite'
        if any(text in self.error for text in _DISK_FULL):
            return 'disk_full'
        return 'refused' if self.last_step is None else 'crashed'


def read_log(text: str, screen: str = '') -> LogRecord:
    """Return the record of a log file's ``text`` and of what went to the ``screen``; never raises."""
    halts = {match[1]: (int(match[2]), float(match[3])) for match in _HALT.finditer(text + '\n' + screen)}
    error = _ERROR.search(text) or _ERROR.search(screen) or _SILENT.search(text)
    canary = _CANARY.search(text)
    text = text[canary.end() :] if canary else text  # the known frame's own table is no part of the run
    end = _END.search(text)
    thermo = read_thermo(text)
    loops, soft, swap = _LOOP.findall(text), _SOFT.search(text), _SWAP.search(text)
    steps = thermo.get('Step')
    last = int(end[1]) if end else (int(steps[-1]) if steps is not None and len(steps) else None)
    return LogRecord(
        ending=_ending(bool(halts), error, text, end),
        halts=halts,
        error=error[0].strip() if error else '',
        last_step=last,
        thermo=thermo,
        seconds=sum(float(row[0]) for row in loops),
        n_steps=sum(int(row[1]) for row in loops),
        n_atoms=int(loops[-1][2]) if loops else 0,
        soft_start=(cast(SoftStart, soft[1]), int(soft[2]), int(soft[3])) if soft else None,
        swap=(int(swap[1]), int(swap[2])) if swap else None,
        canary=_read_canary(canary[1]) if canary else {},
    )


def _read_canary(text: str) -> dict[str, tuple[float, float]]:
    words = text.split()
    return {name: (float(x), float(y)) for name, x, y in zip(words[::3], words[1::3], words[2::3], strict=True)}


def _ending(halted: bool, error: object, text: str, end: object) -> Ending:
    if halted:
        return 'halt'
    if error:
        return 'error'
    if _LIMIT in text:
        return 'walltime'
    return 'completed' if end or 'Total wall time:' in text else 'killed'


def read_thermo(text: str) -> dict[str, NDArray[np.float64]]:
    """Return the columns of all tables of a log, joined; of a step that occurs twice the last row is kept."""
    names: list[str] = []
    rows: dict[int, list[float]] = {}
    for line in text.split('\n')[:-1]:
        words = line.split()
        if words[:1] == ['Step']:
            names = words if not names or names == words else []
        elif line.startswith('Loop time'):
            continue
        elif names and len(words) == len(names) and words[0].isdigit():
            try:
                rows[int(words[0])] = [float(word) for word in words]
            except ValueError:
                continue
    table = np.array([rows[step] for step in sorted(rows)]).reshape(len(rows), len(names))
    return {name: table[:, column] for column, name in enumerate(names)}


def read_checks(text: str) -> dict[str, NDArray[np.float64]]:
    """Return the columns of ``gamma.log``: step, largest γ (NaN-blind), atoms above add, call and danger."""
    rows: dict[int, list[float]] = {}
    for line in text.split('\n')[:-1]:
        words = line.split()
        if len(words) == len(CHECK_COLUMNS) and words[0].isdigit():
            rows[int(words[0])] = [float(word) for word in words]
    table = np.array([rows[step] for step in sorted(rows)]).reshape(len(rows), len(CHECK_COLUMNS))
    return {name: table[:, column] for column, name in enumerate(CHECK_COLUMNS)}


CHECK_COLUMNS = ('step', 'max_gamma', 'n_over_add', 'n_over_call', 'n_over_danger')
