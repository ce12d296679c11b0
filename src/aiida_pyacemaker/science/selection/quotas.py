"""Shares of a selection: every kind of frame is heard, however few there are of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ..frames import Frames


def find_strata(frames: Frames) -> NDArray[np.str_]:
    """Return (N,) names of generator and subsystem, e.g. ``rattled Fe-O``."""
    names = []
    for row in range(len(frames)):
        elements = sorted(chemical_symbols[number] for number in np.unique(frames.numbers[frames.span(row)]))
        names.append(f'{frames.config_type[row]} {"-".join(elements)}')
    return np.array(names, dtype=str)


def share_out(strata: Sequence[str] | NDArray[np.str_], *, count: int, floor: float) -> dict[str, int]:
    """Return how many frames every stratum gives at least: ``floor`` times an equal share of ``count``, as it has them.

    floor: 0 (no quotas) to 1 (equal shares, as far as the frames go).
    """
    names, sizes = np.unique(np.asarray(strata, dtype=str), return_counts=True)
    share = int(floor * count / max(len(names), 1))
    return {str(name): min(share, int(size)) for name, size in zip(names, sizes, strict=True)}
