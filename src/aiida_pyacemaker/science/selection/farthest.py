"""Farthest points: every next frame is the one that is least like all that were taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def select_farthest(scores: NDArray[np.float64], *, count: int, start: Sequence[int] = ()) -> NDArray[np.int64]:
    """Return ``count`` rows of the (N, m) scores in the order they are taken, ``start`` not among them.

    Each is farthest from its nearest taken row (Gonzalez, Theor. Comput. Sci. 38, 293, 1985); without ``start`` the
    first is nearest to the mean. All other rows where ``count`` exceeds them.
    """
    chosen: list[int] = []
    distances = np.full(len(scores), np.inf)
    for row in start:
        distances = np.minimum(distances, np.linalg.norm(scores - scores[row], axis=1))
    distances[list(start)] = -np.inf
    for _ in range(min(count, len(scores) - len(start))):
        if chosen or len(start):
            row = int(np.argmax(distances))
        else:
            row = int(np.argmin(np.linalg.norm(scores - scores.mean(axis=0), axis=1)))
        chosen.append(row)
        distances = np.minimum(distances, np.linalg.norm(scores - scores[row], axis=1))
        distances[row] = -np.inf
    return np.array(chosen, dtype=np.int64)
