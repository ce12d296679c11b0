"""How a new potential is let in: a ramp from the old one or strong damping, and what the temperature says afterwards.

``hybrid/scaled`` adds both potentials during the ramp, the old one as style ``pace``: LAMMPS' ``fix pair`` finds a
style only when it occurs once, and the γ it reads is that of the new potential.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from .log import LogRecord
    from .script import Plan, Segment

PREVIOUS_FOLDER = 'previous'
Kind = Literal['lambda', 'langevin', 'none']
_STYLES = ('pace/extrapolation', 'pace', 'table')


def soft_start_kind(segment: Segment) -> Kind:
    """Return what happens: no ramp without a potential to come from, nothing at all where no soft start is asked for.

    Without a previous potential the atoms were moved, not the potential: then ``lambda`` means ``langevin``.
    """
    kind: Kind = segment.md.soft_start
    if not segment.soft_start or not segment.md.soft_start_steps:
        return 'none'
    return 'langevin' if kind == 'lambda' and not segment.previous_pair_lines else kind


def marks(segment: Segment) -> list[str]:
    """Return the lines that name the steps: of the soft start, and of the temperature's average after it."""
    if not segment.soft_start and not segment.previous_pair_lines:
        return []
    every, last = segment.thresholds.check_every, segment.last_step
    kind = soft_start_kind(segment)
    until = f'v_SOFT_FROM+{segment.md.soft_start_steps if kind != "none" else 0}'
    return [
        'variable SOFT_FROM equal $(step:%.0f)',
        f'variable SOFT equal $(ternary({until}<{last},{until},{last}):%.0f)',
        f'print "SOFT_START {kind} from ${{SOFT_FROM}} until ${{SOFT}}"',
        f'variable SWAP_FROM equal $(ceil(v_SOFT/{every})*{every}:%.0f)',
        f'variable SWAP equal $(ceil((v_SWAP_FROM+{segment.md.swap_steps})/{every})*{every}:%.0f)',
        'print "SWAP from ${SWAP_FROM} until ${SWAP}"',
    ]


def ramp_lines(new: Sequence[str], old: Sequence[str]) -> list[str]:
    """Return the pair lines of (1 - λ) old + λ new with λ = ``v_RAMP`` rising linearly from 0 at ``v_SOFT_FROM``."""
    styles, coefficients = [], []
    for factor, lines in (('v_RAMP', new), ('v_RAMP_OLD', old)):
        words = lines[0].split()[1:]
        for word in words[1:] if words[0].startswith('hybrid') else words:
            styles.append([factor, word] if word in _STYLES else [word])
        for line in lines[1:]:
            named = line.split()
            coefficients.append(named if words[0].startswith('hybrid') else [*named[:3], words[0], *named[3:]])
    names = Counter(style[1] for style in styles if len(style) == 2)
    n_new = len(new) - 1
    for row, words in enumerate(coefficients):
        if names[words[3]] > 1:  # a style that is listed twice is told apart by its number
            words.insert(4, '1' if row < n_new else '2')
    return [
        'variable RAMP equal "(step-v_SOFT_FROM)/(v_SOFT-v_SOFT_FROM+(v_SOFT==v_SOFT_FROM))"',
        'variable RAMP_OLD equal "1-v_RAMP"',
        ' '.join(['pair_style hybrid/scaled', *(word for style in styles for word in style)]),
        *(' '.join(words) for words in coefficients),
    ]


def judge_lines(segment: Segment) -> list[str]:
    """Return the halt on a temperature that stays above its target after a swap; none without a thermostat.

    The mean over the checks of the window is compared once, at its end.
    """
    md, every = segment.md, segment.thresholds.check_every
    if not segment.previous_pair_lines or md.swap_temperature_limit is None or md.ensemble == 'nve':
        return []
    start, end = md.temperature_start_K, md.temperature_end_K
    return [
        f'fix tswap all ave/time {every} 1 {every} c_thermo_temp ave running start ${{SWAP_FROM}}',
        f'variable target equal "{start:.17g}+{end - start:.17g}*step/{md.n_steps}"',
        'variable overshoot equal "(f_tswap/v_target-1)*(step == v_SWAP)"',
        f'fix swap all halt {every} v_overshoot > {md.swap_temperature_limit:.17g} error soft message yes',
    ]


def target_temperature(plan: Plan, step: float) -> float:
    """Return the thermostat's temperature in K at a step."""
    md = plan.md
    return md.temperature_start_K + (md.temperature_end_K - md.temperature_start_K) * step / md.n_steps


def summarise_swap(log: LogRecord, plan: Plan) -> dict[str, Any] | None:
    """Return what a swap did to the temperature, ``None`` where the potential was not swapped.

    overshoot: mean temperature of the checks from the soft start's end to the window's, relative to the thermostat's
    target (``nve``: to the temperature at the swap), minus 1; None where MD ended before. largest_temperature_K: of all
    steps since the swap, the soft start's as well.
    """
    if log.soft_start is None or log.swap is None or not plan.swapped:
        return None
    kind, first, until = log.soft_start
    begin, end = log.swap
    steps, temperature = (log.thermo.get(name, np.zeros(0)) for name in ('Step', 'Temp'))
    judged, since = (steps >= begin) & (steps <= end), steps <= end
    before = float(temperature[0]) if len(steps) and steps[0] == first else None
    target = before if plan.md.ensemble == 'nve' else target_temperature(plan, end)
    complete = judged.any() and steps[-1] >= end
    mean = float(temperature[judged].mean()) if complete else None
    return {
        'soft_start': kind,
        'from_step': first,
        'soft_start_until': until,
        'judged_until': end,
        'thermostat_state': {'lambda': 'kept', 'none': 'kept', 'langevin': 'discarded'}[kind],
        'temperature_before_K': before,
        'temperature_target_K': target,
        'temperature_after_K': mean,
        'largest_temperature_K': float(temperature[since].max()) if since.any() else None,
        'overshoot': None if mean is None or not target else mean / target - 1.0,
        'limit': plan.md.swap_temperature_limit,
        'rejected': 'swap' in log.halts,
    }
