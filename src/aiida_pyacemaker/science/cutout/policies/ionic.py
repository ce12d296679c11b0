"""A periodic box whose ions add up to no charge: ionic solids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ..charges import PAULING, UNKNOWN
from ..label_geometry import CutRequest, LabelGeometry, RejectedCutoutError
from ..shells import Surroundings
from .box import Box, assemble_box
from .metal import find_box

NEUTRAL = 0.05  # charge an atom of the whole frame that a few defects may leave
# oxidation states in compounds, the most common first; without an entry: 2, 3
STATES = {
    'H': (1, -1), 'Li': (1,), 'Na': (1,), 'K': (1,), 'Rb': (1,), 'Cs': (1,), 'Ag': (1,), 'Cu': (2, 1), 'Be': (2,),
    'Mg': (2,), 'Ca': (2,), 'Sr': (2,), 'Ba': (2,), 'Zn': (2,), 'Cd': (2,), 'Ni': (2,), 'Al': (3,), 'Ga': (3,),
    'In': (3,), 'Sc': (3,), 'Y': (3,), 'La': (3,), 'B': (3,), 'Cr': (3, 2, 6), 'Fe': (3, 2), 'Co': (2, 3),
    'Mn': (2, 3, 4), 'V': (5, 4, 3, 2), 'Ti': (4, 3, 2), 'Zr': (4,), 'Hf': (4,), 'Ce': (4, 3), 'Th': (4,), 'U': (4, 6),
    'Si': (4,), 'Ge': (4,), 'Sn': (4, 2), 'Pb': (2, 4), 'C': (4,), 'P': (5, 3), 'Nb': (5, 4), 'Ta': (5,), 'Mo': (6, 4),
    'W': (6, 4), 'O': (-2,), 'S': (-2,), 'Se': (-2,), 'Te': (-2,), 'F': (-1,), 'Cl': (-1,), 'Br': (-1,), 'I': (-1,),
    'N': (-3,),
}  # fmt: skip
USUAL = (2, 3)


def cut_ionic(request: CutRequest) -> LabelGeometry:
    """Return a periodic box, as for a metal, whose formal charges add up to zero.

    The box may also have the charge that the whole frame has: then it holds the frame's defects. Else ions of the
    excess are left out at the seams, the furthest from the core first. Raises :class:`RejectedCutoutError` when no
    oxidation states make the frame neutral, or no ions can be left out.
    """
    ions = formal_charges(request.frame.atoms.numbers)
    near, box, density = find_box(request)
    box, charges = neutralise(near, box, *ions)
    label = assemble_box(near, box, policy='ionic', pbc=(True, True, True), density=density)
    return replace(label, report={**label.report, **charges})


def formal_charges(numbers: NDArray[np.int64]) -> tuple[dict[int, int], int]:
    """Return the oxidation state by atomic number that leaves the least charge on the frame, and that charge (e).

    The most electronegative element has its negative state. Raises :class:`RejectedCutoutError` above ``NEUTRAL``.
    """
    elements, counts = np.unique(numbers, return_counts=True)
    symbols = [chemical_symbols[number] for number in elements]
    anion = max(symbols, key=lambda symbol: PAULING.get(symbol, UNKNOWN))
    choices = [
        tuple(state for state in STATES.get(symbol, USUAL) if (state < 0) == (symbol == anion))
        or STATES.get(symbol, USUAL)
        for symbol in symbols
    ]
    best = min(product(*choices), key=lambda states: abs(int(np.dot(states, counts))))
    charge = int(np.dot(best, counts))
    if abs(charge) > NEUTRAL * len(numbers):
        found = ', '.join(f'{symbol} {state:+d}' for symbol, state in zip(symbols, best, strict=True))
        raise RejectedCutoutError(f'no oxidation states make the frame neutral: {found} leave {charge:+d} e')
    return dict(zip(elements.tolist(), best, strict=True)), charge


def neutralise(
    near: Surroundings, box: Box, states: Mapping[int, int], frame_charge: int
) -> tuple[Box, dict[str, Any]]:
    """Return the box without the ions that it has too many of, and its charges for the report.

    states, frame_charge: of :func:`formal_charges`. Raises :class:`RejectedCutoutError` when no ions can be left out.
    """
    told = {chemical_symbols[number]: state for number, state in states.items()}
    charges = np.array([states[int(number)] for number in near.images.numbers[box.rows]])
    excess = int(charges.sum())
    removed: list[int] = []
    if excess not in (0, frame_charge):
        removed, excess = _superfluous(near, box, charges), 0
    report = {'formal_charge': excess, 'oxidation_states': told, 'n_ions_left_out': len(removed)}
    return replace(box, rows=np.delete(box.rows, removed)), report


def _superfluous(near: Surroundings, box: Box, charges: NDArray[np.int64]) -> list[int]:
    """Return the places of the outermost ions that take the charge of the box with them; charges: (rows,) e."""
    excess = int(charges.sum())
    distances = np.linalg.norm(near.images.positions[box.rows], axis=1)
    removed: list[int] = []
    for place in np.argsort(-distances, kind='stable').tolist():
        row = int(box.rows[place])
        if row in near.protected or charges[place] * excess <= 0 or abs(charges[place]) > abs(excess):
            continue
        removed.append(place)
        excess -= int(charges[place])
        if excess == 0:
            return removed
    raise RejectedCutoutError(
        f'the box has a formal charge of {int(charges.sum()):+d} e that no ion of it can take away'
    )
