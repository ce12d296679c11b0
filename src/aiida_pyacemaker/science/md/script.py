"""The LAMMPS script of one MD segment: the same for ``lmp`` with ML-PACE and for ``pyacemaker-lmp``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.io.lammpsdata import write_lammps_data

from ..config import ActiveLearningThresholds, MdConfig
from .checks import allowed_deviation, check_box, check_intervals
from .halting import grade_lines, halt_lines
from .server import GRADED_STYLE, TEACHER_STYLE
from .soft_start import judge_lines, marks, ramp_lines, soft_start_kind

if TYPE_CHECKING:
    from ..student import Canary

INPUT_FILE, LOG_FILE, SCREEN_FILE = 'in.lmp', 'log.lammps', 'screen.out'
DATA_FILE, START_RESTART, CANARY_DATA = 'start.data', 'start.restart', 'canary.data'
BEGIN_RESTART, END_RESTART = 'begin.restart', 'final.restart'
ALTERNATING_RESTARTS = ('restart.a', 'restart.b')
FIRST_DUMP, LAST_DUMP = 'first.dump', 'last.dump'
RING_PATTERN, COARSE_PATTERN = 'ring.*.dump', 'coarse.*.dump'
CHECK_LOG = 'gamma.log'
_STATE = 'id type x y z vx vy vz'
_SORTED = 'sort id format float %.17g'
_BAR_PER_GPA = 1e4


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a segment is to do and who reads it must know; it ends at :attr:`last_step` where nothing stops it.

    elements: one per LAMMPS type; until_step: absolute step that ends it before the goal, None for the goal; swapped:
    its potential is not that of the MD before.
    """

    md: MdConfig
    thresholds: ActiveLearningThresholds
    elements: Sequence[str]
    until_step: int | None = None
    swapped: bool = False

    @property
    def last_step(self) -> int:
        """Return the goal ``md.n_steps``, or ``until_step`` where that comes first; ramps are over the goal."""
        return self.md.n_steps if self.until_step is None else min(self.until_step, self.md.n_steps)


@dataclass(frozen=True, kw_only=True)
class Segment(Plan):
    """What the script of one segment needs to know.

    pair_lines: ``pair_style`` and ``pair_coeff``; pbc: of the structure; from_restart: start from ``start.restart``
    instead of ``start.data``; wall_seconds: it ends itself before, None for no limit; canary: the frame in
    ``canary.data`` and its γ, None when the potential has none; soft_start: let the forces in gently;
    previous_pair_lines: those of the potential before, of styles ``pace`` and ``table``, where it was swapped;
    teacher_files: of the committee, where it is what ``thresholds.measure`` asks.
    """

    pair_lines: Sequence[str]
    seed: int
    from_restart: bool = False
    soft_start: bool = False
    previous_pair_lines: Sequence[str] = ()
    pbc: Sequence[bool] = (True, True, True)
    wall_seconds: float | None = None
    canary: Canary | None = None
    teacher_files: Sequence[str] = ()


def write_structure(path: str | Path, atoms: Atoms, elements: Sequence[str]) -> None:
    """Write ``atoms`` as LAMMPS data, wrapped, 17 digits, type i = ``elements[i - 1]``; the cell may be rotated.

    Raises ``ValueError`` for a cell without volume and for an element that is not in ``elements``.
    """
    unknown = sorted(set(atoms.symbols) - set(elements))
    if unknown:
        raise ValueError(f'structure holds {", ".join(unknown)}, the potential knows {", ".join(elements)}')
    if not atoms.cell.rank == 3:
        raise ValueError(f'structure has cell {atoms.cell.lengths()} Å, expected three vectors: add a box around it')
    wrapped = atoms.copy()
    wrapped.wrap()
    with Path(path).open('w') as handle:
        write_lammps_data(handle, wrapped, specorder=list(elements), units='metal', atom_style='atomic')


def write_canary(path: str | Path, canary: Canary, elements: Sequence[str]) -> None:
    """Write the frame of ``canary`` as LAMMPS data; one without a cell gets a box with 10 Å around it."""
    atoms = canary.atoms.copy()
    if atoms.cell.rank < 3:
        atoms.center(vacuum=10.0)
    write_structure(path, atoms, elements)


def write_script(segment: Segment) -> str:
    """Return the script; it reads and writes the files named in this module."""
    problem = check_intervals(segment.md, segment.thresholds) or check_box(segment.md, segment.pbc)
    if problem:
        raise ValueError(problem)
    parts = (_canary, _start, marks, _potential, _grades, _halts, judge_lines, _outputs, _dynamics, _end)
    return '\n'.join(line for part in parts for line in part(segment)) + '\n'


def _canary(segment: Segment) -> list[str]:
    """Return the check that this program grades a known frame as its potential's maker did; MD does not start else.

    A pair style that is older than its library gives γ = 0 everywhere and ends well. A training frame may hold an atom
    of the active set, whose γ is 1 by construction, hence the sum beside the maximum. ``clear`` keeps variables, so
    their names are not used again. The energy is judged by the parser: not every program knows the free atoms'.
    """
    if segment.canary is None:
        return []
    expected = {
        'max_gamma': float(segment.canary.gamma.max()),
        'sum_gamma': float(segment.canary.gamma.sum()),
        'energy': segment.canary.energy,
    }
    found = ' '.join(f'{name} ${{canary_{name}}} {value:.17g}' for name, value in expected.items())
    off = ' || '.join(
        f'!(abs(v_canary_{name}-{expected[name]:.17g}) <= {allowed_deviation(expected[name]):.17g})'
        for name in ('max_gamma', 'sum_gamma')
    )
    return [
        'units metal',
        'atom_style atomic',
        _boundary(segment.canary.atoms.pbc),
        f'read_data {CANARY_DATA}',
        *_masses(segment),
        *segment.pair_lines,
        'fix gam all pair 1 pace/extrapolation gamma 1',
        'compute max_gamma all reduce max f_gam',
        'compute sum_gamma all reduce sum f_gam',
        'thermo_style custom step pe c_max_gamma c_sum_gamma',
        'thermo_modify norm no',
        'run 0',
        'variable canary_max_gamma equal $(c_max_gamma:%.17g)',
        'variable canary_sum_gamma equal $(c_sum_gamma:%.17g)',
        'variable canary_energy equal $(pe:%.17g)',
        f'variable canary_off equal "{off}"',
        f'print "CANARY {found}"',
        'if "${canary_off} > 0.5" then "quit 1"',
        'clear',
    ]


def _boundary(pbc: Sequence[bool]) -> str:
    return 'boundary ' + ' '.join('p' if periodic else 's' for periodic in pbc)


def _masses(segment: Segment) -> list[str]:
    return [f'mass {i} {atomic_masses[atomic_numbers[e]]:.10g}' for i, e in enumerate(segment.elements, start=1)]


def _start(segment: Segment) -> list[str]:
    masses = _masses(segment)
    seed, temperature = _seeds(segment)[0], segment.md.temperature_start_K
    velocities = f'velocity all create {temperature:.17g} {seed} mom yes dist gaussian'
    fresh = [_boundary(segment.pbc), f'read_data {DATA_FILE}', *masses, velocities]
    resumed = [f'read_restart {START_RESTART}', *masses]
    return [
        'units metal',
        'atom_style atomic',
        *(resumed if segment.from_restart else fresh),
        f'write_dump all custom {FIRST_DUMP} {_STATE} modify {_SORTED}',
    ]


def _potential(segment: Segment) -> list[str]:
    ramped = soft_start_kind(segment) == 'lambda'
    return [
        *(ramp_lines(segment.pair_lines, segment.previous_pair_lines) if ramped else segment.pair_lines),
        'neighbor 1.0 bin',
        'neigh_modify every 1 delay 0 check yes',
        f'timestep {segment.md.timestep_ps:.17g}',
    ]


def _grades(segment: Segment) -> list[str]:
    """Return γ, the counts of atoms above each threshold and the log of all checks."""
    every = segment.thresholds.check_every
    lines = [_gamma(segment), 'compute gmax all reduce max f_gam', *grade_lines(segment.thresholds, segment.elements)]
    checks = ' '.join(f'${{{name}}}' for name in ('wstep', 'wgmax', 'wadd', 'wcall', 'wdanger'))
    lines += ['variable wstep equal step', 'variable wgmax equal c_gmax']
    lines += [f'variable w{name} equal c_n{name}' for name in ('add', 'call', 'danger')]
    title = '# step max_gamma n_add n_call n_danger'
    return [*lines, f'fix checks all print {every} "{checks}" file {CHECK_LOG} screen no title "{title}"']


def _gamma(segment: Segment) -> str:
    """Return the fix of what ``thresholds.measure`` measures; the teacher's is served by pyacemaker-lmp only."""
    every = segment.thresholds.check_every
    if segment.thresholds.measure == 'gamma':
        return f'fix gam all pair {every} {GRADED_STYLE} gamma 1'
    names = ' '.join([*segment.teacher_files, *segment.elements])
    return f'fix gam all pair {every} {TEACHER_STYLE} uncertainty 1 {names}'


def _halts(segment: Segment) -> list[str]:
    """Return the rule; ``pyacemaker-lmp --watch`` runs the marked lines again at each of its boundaries."""
    return ['# rule', *halt_lines(segment.thresholds), '# end of rule']


def _outputs(segment: Segment) -> list[str]:
    every, md = segment.thresholds.check_every, segment.md
    limit = [] if segment.wall_seconds is None else [f'timer timeout {_clock(segment.wall_seconds)} every {every}']
    return [
        f'dump ring all custom {every} {RING_PATTERN} {_STATE} f_gam',
        f'dump_modify ring maxfiles {md.ring_size} pbc yes {_SORTED}',
        f'dump coarse all custom {md.dump_every} {COARSE_PATTERN} {_STATE} f_gam',
        f'dump_modify coarse maxfiles {md.ring_size} pbc yes {_SORTED}',
        'thermo_style custom step temp pe ke etotal press pxx pyy pzz pxy pxz pyz vol',
        'thermo_modify norm no flush yes lost error format float %.15g',
        f'thermo {every}',
        f'restart {md.restart_every} {" ".join(ALTERNATING_RESTARTS)}',
        *limit,
    ]


def _dynamics(segment: Segment) -> list[str]:
    md = segment.md
    ramp = f'{md.temperature_start_K:.17g} {md.temperature_end_K:.17g}'
    goal = f'run {segment.last_step} upto start 0 stop {md.n_steps}'
    seeds = _seeds(segment)
    first = [] if segment.from_restart else [f'write_restart {BEGIN_RESTART}']
    soft = f'run ${{SOFT}} upto start 0 stop {md.n_steps}'
    damped = f'fix bath all langevin {ramp} {md.soft_start_damping_ps:.17g} {seeds[1]}'
    bath = f'fix bath all langevin {ramp} {md.damping_ps:.17g} {seeds[2]}'
    normal = {
        'nve': ['fix integrate all nve'],
        'nvt': [f'fix integrate all nvt temp {ramp} {md.damping_ps:.17g}'],
        'npt': [f'fix integrate all npt temp {ramp} {md.damping_ps:.17g} {_pressure(md)}'],
        'langevin': ['fix integrate all nve', bath],
    }
    kind, chosen = soft_start_kind(segment), normal[md.ensemble]
    if kind == 'langevin':
        return [*first, 'fix integrate all nve', damped, soft, 'unfix bath', 'unfix integrate', *chosen, goal]
    if kind == 'lambda':  # the thermostat stays; fix pair holds on to the style it was made for, so it is made again
        return [*first, *chosen, soft, 'unfix gam', *segment.pair_lines, _gamma(segment), goal]
    return [*first, *chosen, goal]


def _pressure(md: MdConfig) -> str:
    ramp = f'{md.pressure_start_GPa * _BAR_PER_GPA:.17g} {md.pressure_end_GPa * _BAR_PER_GPA:.17g}'
    return f'{md.barostat} {ramp} {md.pressure_damping_ps:.17g}'


def _end(segment: Segment) -> list[str]:
    """Return the boundary: the restart wraps atoms, so the last frame is dumped after it."""
    return [
        f'write_restart {END_RESTART}',
        f'write_dump all custom {LAST_DUMP} {_STATE} modify {_SORTED}',
        f'print "SEGMENT_END step $(step:%.0f) goal {segment.md.n_steps}"',
    ]


def _seeds(segment: Segment) -> list[int]:
    """Return seeds of velocities, soft start and bath, in the range that all of LAMMPS' generators take."""
    return [int(word) % 900_000_000 + 1 for word in np.random.SeedSequence(segment.seed).generate_state(3)]


def _clock(seconds: float) -> str:
    whole = max(1, int(seconds))
    return f'{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}'
