"""What the root checks before anything is submitted: each error names the port, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from aiida import orm
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

from ..science.config import Settings, check_settings
from ..science.frames import Frames

OVERLAP_FRACTION = 0.6
PW_NAMELISTS = ('CONTROL', 'SYSTEM', 'ELECTRONS')
PW_OURS = ('calculation', 'tprnfor')  # without these there are no forces to read


def settings_validator(model: type[Settings], port: str) -> Callable[[orm.Dict, Any], str | None]:
    """Return a port validator that holds a ``Dict`` against ``model``."""

    def validate(node: orm.Dict, _: Any) -> str | None:
        return check_settings(model, node.get_dict(), port)

    return validate


def validate_pw_parameters(node: orm.Dict, _: Any) -> str | None:
    """Refuse namelists that a static SCF does not read, and overrides that would leave it without forces."""
    values = node.get_dict()
    unknown = sorted(set(values) - set(PW_NAMELISTS))
    if unknown:
        return f'pw.parameters: unknown {", ".join(unknown)}; allowed: {", ".join(PW_NAMELISTS)}'
    ours = [f'CONTROL.{key}' for key in PW_OURS if key in values.get('CONTROL', {})]
    return f'pw.parameters: {", ".join(ours)} cannot be set: a label is a static SCF with forces' if ours else None


def check_elements(needed: Iterable[str], known: Iterable[str], *, port: str, remedy: str) -> str | None:
    """Return a message when an element of ``needed`` is not in ``known``."""
    missing = sorted(set(needed) - set(known))
    if missing:
        return f'{port}: no {", ".join(missing)}; it knows {", ".join(sorted(known))}: {remedy}'
    return None


def check_overlap(frames: Frames, *, port: str) -> str | None:
    """Return a message naming the first two atoms closer than 0.6 of the sum of their covalent radii, or not finite."""
    for index, atoms in enumerate(frames.iter_atoms()):
        if not np.isfinite(atoms.positions).all():
            return f'{port}: frame {index} has a position that is not a finite number'
        limit = 2 * OVERLAP_FRACTION * covalent_radii[atoms.numbers].max()
        first, second, distance = neighbor_list('ijd', atoms, limit)
        allowed = OVERLAP_FRACTION * (covalent_radii[atoms.numbers[first]] + covalent_radii[atoms.numbers[second]])
        close = np.flatnonzero(distance < allowed)
        if len(close):
            worst = close[np.argmin(distance[close])]
            return (
                f'{port}: atoms {first[worst]} and {second[worst]} of frame {index} are {distance[worst]:.3f} Å apart, '
                f'allowed: at least {allowed[worst]:.3f} Å ({OVERLAP_FRACTION} of the covalent sum)'
            )
    return None
