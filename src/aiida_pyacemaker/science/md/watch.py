"""``pyacemaker-lmp --watch FILE``: MD takes up a new potential between two steps, without leaving LAMMPS.

``FILE`` is JSON, ``{"potential": "FOLDER"}`` (relative to where the file lies), put in place by a rename. Every swap is
a segment boundary: a restart file is written and named in the log with step and digest, random forces get a seed
derived from the step, the lines of the script between ``# rule`` and ``# end of rule`` are run again. So a segment that
starts from that file with the new potential has the same bits. What cannot be used is refused, in a line on the
screen and, when the run has ended, in the log.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..student import ACTIVE_SET_FILE, POTENTIAL_FILE, load_student
from .engine import EngineError, LoadEvaluator, ScriptRunner
from .server import GRADED_STYLE, Evaluator

BASELINE_TABLE = 'baseline.table'
RULE_BEGINS, RULE_ENDS = '# rule', '# end of rule'
LARGEST_SEED = 900_000_000
_FLAG, _HALT = 'pyacemaker_swap', 'pyacemaker_watch'


@dataclass(frozen=True)
class Candidate:
    """A folder that was read: its digest is the sha256 of potential and active set."""

    folder: Path
    digest: str


def digest_of(folder: Path) -> str:
    """Return the sha256 of potential and active set in ``folder``; ``OSError`` when one is missing."""
    content = [(folder / name).read_bytes() for name in (POTENTIAL_FILE, ACTIVE_SET_FILE)]
    return hashlib.sha256(b''.join(content)).hexdigest()


class WatchedFile:
    """Says once for every change of the file which potential it names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None

    def poll(self) -> Candidate | None:
        """Return the candidate when the file has changed, else ``None``; ``ValueError``: it names nothing usable."""
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        signature = (found.st_mtime_ns, found.st_ino, found.st_size)
        if signature == self._seen:
            return None
        self._seen = signature
        try:
            folder = self.path.parent / json.loads(self.path.read_text())['potential']
            return Candidate(folder, digest_of(folder))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ValueError(f'{self.path} names no complete potential: {type(error).__name__} {error}') from error


def read_run(words: Sequence[str], step: int) -> tuple[int, str]:
    """Return the last step of a ``run`` command and its other words, with the ramps' ends said."""
    count, options = int(words[1]), list(words[2:])
    if 'every' in options:
        raise EngineError(f'run ... every is not served with --watch: {" ".join(words)}')
    upto = 'upto' in options
    end = count if upto else step + count
    rest = [word for word in options if word != 'upto']
    for name, value in (('start', step), ('stop', end)):
        rest += [] if name in rest else [name, str(value)]
    return end, ' '.join(rest)


class WatchingRunner(ScriptRunner):
    """Runs a script and swaps the potential as the watched file says."""

    def __init__(self, lmp: Any, load: LoadEvaluator, folder: Path, watched: Path) -> None:
        self._file = WatchedFile(watched)
        super().__init__(lmp, load, folder)

    def _clear(self) -> None:
        super()._clear()
        self.server.between_steps = self._look
        self._coefficients: list[str] = []
        self._baths: dict[str, str] = {}
        self._rule: list[str] = []
        self._refused: list[str] = []
        self._timer: tuple[float, list[str]] | None = None
        self._in_rule = self._has_halt = False
        self._digest: str | None = None
        self._pending: tuple[Candidate, Evaluator] | None = None

    def _run_one(self, command: str) -> None:
        words = command.split('#')[0].split()
        if command.strip() in (RULE_BEGINS, RULE_ENDS):
            self._in_rule = command.strip() == RULE_BEGINS
        elif self._in_rule and words[:1] in (['fix'], ['variable'], ['if']):
            self._rule.append(command)
        if words[:1] == ['fix'] and words[3:4] == ['langevin']:
            self._baths[words[1]] = command
        elif words[:1] == ['unfix']:
            self._baths.pop(words[1], None)
        elif words[:2] == ['timer', 'timeout'] and words[2] != 'off':
            self._timer = (
                time.monotonic() + sum(60**n * float(x) for n, x in enumerate(words[2].split(':')[::-1])),
                words,
            )
        if words[:1] == ['run']:
            self._run_watched(words)
        else:
            super()._run_one(command)

    def _pair_coeff(self, command: str, words: list[str]) -> None:
        super()._pair_coeff(command, words)
        if not self._hybrid or words[3] == GRADED_STYLE:
            self._coefficients = words
            self._digest = digest_of((self.folder / self._names()[0]).parent)

    def _names(self) -> list[str]:
        """Return files and elements of the potential that is served."""
        return self._coefficients[4 if self._hybrid else 3 :]

    def _run_watched(self, words: list[str]) -> None:
        """Run to the end of the command, through any number of swaps."""
        end, rest = read_run([self._number(word) for word in words], self._step())
        if end > self._step() and 1 in self.server.gamma_fixes.values():
            raise EngineError('--watch swaps between two checks: check_every must be above 1')
        if not self._has_halt:
            self.lmp.command(f'variable {_FLAG} internal 0')
            self.lmp.command(f'fix {_HALT} all halt 1 v_{_FLAG} > 0.5 error continue message no')
            self._has_halt = True
        while True:
            self.lmp.command(f'run {end} upto {rest}')
            for line in self._refused:
                self.lmp.command(f'print "{line}"')
            self._refused.clear()
            if self.server.error is not None or self._pending is None:
                return
            self._swap(*self._pending)

    def _number(self, word: str) -> str:
        return str(self.lmp.extract_variable(word[2:-1])) if word.startswith('${') else word

    def _step(self) -> int:
        return int(self.lmp.extract_global('ntimestep'))

    def _look(self, step: int) -> None:
        """Look at the file from inside a run, at steps at which the halting rule cannot end it."""
        busy = self._pending is not None or list(self.server.terms) != [GRADED_STYLE]
        if busy or any(step % every == 0 for every in self.server.gamma_fixes.values()):
            return
        try:
            candidate = self._file.poll()
            if candidate is None or candidate.digest == self._digest:
                return
            self._pending = (candidate, self._read(candidate))
        except (OSError, ValueError) as error:
            plain = ' '.join(str(error).replace('Å', 'A').split()).encode('ascii', 'replace').decode()
            text = re.sub(r'[\'"$&#]', '', plain)  # what LAMMPS' print would trip over
            self._refused.append(f'POTENTIAL_REFUSED step {step}: {text}')
            print(self._refused[-1], flush=True)  # LAMMPS takes no command, so no line of its log, inside a run
            return
        self.lmp.set_internal_variable(_FLAG, 1.0)

    def _read(self, candidate: Candidate) -> Evaluator:
        """Return the potential of ``candidate``; ``ValueError`` says why MD cannot go on with it."""
        folder, elements = candidate.folder, self._names()[2:]
        load_student(folder)  # its files are of one fit, and its canary sings
        tables = [path.read_bytes() if path.is_file() else b'' for path in (folder / BASELINE_TABLE, self._table())]
        if tables[0] != tables[1]:
            raise ValueError(f'{folder} has another baseline than the MD: begin a new segment with it')
        evaluator = self.load(str(folder / POTENTIAL_FILE), str(folder / ACTIVE_SET_FILE), elements)
        limit = self.server.terms[GRADED_STYLE].evaluator.cutoff
        if evaluator.cutoff > limit:
            raise ValueError(f'{folder} has cut-off {evaluator.cutoff} Å, the lists of this run reach {limit} Å')
        if digest_of(folder) != candidate.digest:
            raise ValueError(f'{folder} changed while it was read: put it in place by a rename')
        return evaluator

    def _table(self) -> Path:
        return (self.folder / self._names()[0]).parent / BASELINE_TABLE

    def _swap(self, candidate: Candidate, evaluator: Evaluator) -> None:
        """Make the boundary: restart file, record, potential, seeds, empty streaks."""
        step, self._pending = self._step(), None
        restart = f'swap.{step}.restart'
        self.lmp.set_internal_variable(_FLAG, 0.0)
        self.lmp.command(f'write_restart {restart}')
        self.lmp.command(
            f'print "POTENTIAL_SWAP step {step} sha256 {candidate.digest} folder {candidate.folder} restart {restart}"'
        )
        files = [str(candidate.folder.resolve() / name) for name in (POTENTIAL_FILE, ACTIVE_SET_FILE)]
        words = [*self._coefficients[: 4 if self._hybrid else 3], *files, *self._names()[2:]]
        self._loaded[tuple(words[4 if self._hybrid else 3 :])] = evaluator
        self._run_one(' '.join(words))
        for command in [*(reseed(line, step) for line in self._baths.values()), *self._rule, *self._time_left()]:
            super()._run_one(command)

    def _time_left(self) -> list[str]:
        """Return the wall limit's line for what is left of it: LAMMPS counts from the start of a run."""
        if self._timer is None:
            return []
        deadline, words = self._timer
        left = max(1, int(deadline - time.monotonic()))
        return [' '.join([*words[:2], f'{left // 3600}:{left % 3600 // 60:02d}:{left % 60:02d}', *words[3:]])]


def reseed(command: str, step: int) -> str:
    """Return a ``fix ... langevin T T damp seed`` line with the seed of the segment that begins at ``step``."""
    words = command.split()
    words[7] = str((int(words[7]) + step) % LARGEST_SEED + 1)
    return ' '.join(words)
