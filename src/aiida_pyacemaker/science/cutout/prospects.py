"""What can be cut out of a frame at all, told in seconds before months of MD."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from ..config import CutoutConfig
from ..images import index_frame
from .label_geometry import CutRequest, RejectedCutoutError
from .policies import choose_order
from .policies.ionic import formal_charges
from .theory import LabelTheory


def find_uncuttable(frame: Atoms, config: CutoutConfig) -> dict[str, str]:
    """Return, by element, why no cutout about an atom of it could be labelled; empty when all could.

    One atom of each element is looked at, one in the middle of the list. What is left for such an atom is the whole
    frame, which is no way out above ``max_frame_atoms``. An empty result is no promise: a cutout may be too large.
    """
    if len(frame) <= config.max_frame_atoms:
        return {}
    index, theory = index_frame(frame), LabelTheory()
    found = {}
    for number in np.unique(frame.numbers):
        rows = np.flatnonzero(frame.numbers == number)
        request = CutRequest(frame=index, epicentre=int(rows[len(rows) // 2]), config=config, theory=theory)
        reason = _why_not(request)
        if reason:
            found[chemical_symbols[number]] = reason
    return found


def _why_not(request: CutRequest) -> str:
    order, why = choose_order(request)
    if order == ('whole_frame',):
        return why
    if order[0] == 'ionic':
        try:
            formal_charges(request.frame.atoms.numbers)
        except RejectedCutoutError as error:
            return f'{why}, but {error}'
    return ''
