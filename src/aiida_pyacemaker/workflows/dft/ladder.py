"""The ladder of measures against an SCF that does not converge: what each sets, what changed, what it means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

DEGAUSS_STEP = 0.02  # Ry
MORE_STEPS = 1.5  # gentler mixing needs more iterations
MORE_BANDS, FEWEST_MORE_BANDS = 1.2, 4
LOW_SPIN = 0.1  # of the valence electrons: the other basin than that of the usual start
EXTENSIONS = 2  # times that an SCF on its way is given more steps
# what each rung sets; numbers replace, and a rung that changes nothing is skipped
LADDER: tuple[dict[str, dict[str, Any]], ...] = (
    {'ELECTRONS': {'mixing_beta': 0.3}},
    {'ELECTRONS': {'mixing_beta': 0.1}},
    {'ELECTRONS': {'mixing_mode': 'local-TF', 'mixing_beta': 0.3}},
    {'SYSTEM': {'degauss': DEGAUSS_STEP}},
    {'ELECTRONS': {'diagonalization': 'cg'}},
    {'SYSTEM': {'nbnd': MORE_BANDS}},
    {'SYSTEM': {'starting_magnetization': LOW_SPIN}},
)
DEFAULTS = {'mixing_beta': 0.7, 'mixing_mode': 'plain', 'diagonalization': 'david', 'degauss': 0.0, 'nspin': 1}
# first run, extensions, convergence at the broadening asked for, one repeat of a killed run
MAX_RUNS = len(LADDER) + EXTENSIONS + 3
# a converged SCF that differs from what was asked in one of these has another meaning
MEANING = (
    ('SYSTEM', 'degauss'),
    ('SYSTEM', 'nspin'),
    ('SYSTEM', 'starting_magnetization'),
    ('ELECTRONS', 'diagonalization'),
)


def apply_rung(
    parameters: dict[str, Any], rung: Mapping[str, Mapping[str, Any]], n_bands: int | None = None
) -> list[str]:
    """Change ``parameters`` in place as ``rung`` says; return each change as ``name old -> new``.

    ``mixing_beta`` is only lowered, unless the mixing mode changes with it; ``degauss`` is raised by the rung's value;
    ``nbnd`` grows by its factor, if ``n_bands`` says how many there were; the spins are reset only where there are two.
    Gentler mixing gets ``MORE_STEPS`` times the iterations. Nothing to change: an empty list.
    """
    changes = []
    for namelist, values in rung.items():
        section = parameters.setdefault(namelist, {})
        for name, value in values.items():
            old = n_bands if name == 'nbnd' else section.get(name, DEFAULTS.get(name))
            new = _new_value(name, old, value)
            if new is None or new == old or (name == 'mixing_beta' and new > old and 'mixing_mode' not in values):
                continue
            section[name] = new
            changes.append(f'{name} {old} -> {new}')
    if changes and 'mixing_beta' in rung.get('ELECTRONS', {}):
        old = parameters['ELECTRONS'].get('electron_maxstep', 100)
        parameters['ELECTRONS']['electron_maxstep'] = int(old * MORE_STEPS)
        changes.append(f'electron_maxstep {old} -> {int(old * MORE_STEPS)}')
    return changes


def _new_value(name: str, old: Any, value: Any) -> Any:
    if name == 'degauss':
        return round(old + value, 10)
    if name == 'nbnd':
        return None if old is None else max(math.ceil(old * value), old + FEWEST_MORE_BANDS)
    if name == 'starting_magnetization':
        return None if not old else {kind: math.copysign(value, start) for kind, start in old.items()}
    return value


def find_flags(asked: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """Return what gives the run's result another meaning than was asked for, each as ``name asked -> run``."""
    flags = []
    for namelist, name in MEANING:
        old, new = (parameters.get(namelist, {}).get(name, DEFAULTS.get(name)) for parameters in (asked, run))
        if old != new:
            flags.append(f'{name} {old} -> {new}')
    return flags
