"""Frames that say what another frame says already."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..frames import Frames


def first_occurrences(frames: Frames) -> NDArray[np.int64]:
    """Return sorted indices of the frames that no earlier frame equals (species, cell, positions to 1e-6)."""
    _, first = np.unique(frames.fingerprints(), axis=0, return_index=True)
    return np.sort(first).astype(np.int64)


def drop_near_duplicates(scores: NDArray[np.float64], *, tolerance: float) -> NDArray[np.int64]:
    """Return sorted rows of the (N, m) scores of which no earlier kept one is nearer than ``tolerance``.

    ``tolerance`` is in units of the root mean square distance of all rows from their mean; 0 keeps all.
    """
    radius = tolerance * float(np.sqrt(((scores - scores.mean(axis=0)) ** 2).sum(axis=1).mean()))
    if radius <= 0:
        return np.arange(len(scores))
    tree = cKDTree(scores)
    kept = np.ones(len(scores), dtype=bool)
    for row in range(len(scores)):
        if kept[row]:
            near = np.asarray(tree.query_ball_point(scores[row], radius), dtype=np.int64)
            kept[near[near > row]] = False
    return np.flatnonzero(kept)
