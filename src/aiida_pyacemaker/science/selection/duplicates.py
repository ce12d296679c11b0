"""Equal structures, found by their fingerprints."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..frames import Frames


def first_occurrences(frames: Frames) -> NDArray[np.int64]:
    """Return sorted indices of the frames that no earlier frame equals (species, cell, positions to 1e-6)."""
    _, first = np.unique(frames.fingerprints(), axis=0, return_index=True)
    return np.sort(first).astype(np.int64)
