"""Entropy of the distribution of frames: how much a selection says, and a selection that says much.

The entropy of a kernel density estimate, as for atomic environments in Karabin and Perez, J. Chem. Phys. 153, 094110
(2020), and Schwalbe-Koda et al., Nature Communications 16, 4014 (2025).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

ROWS_AT_ONCE = 1000


def kernel_width(scores: NDArray[np.float64], count: int) -> float:
    """Return the width of a Gaussian kernel for ``count`` of the (N, m) scores, by Silverman's rule."""
    n_dimensions = scores.shape[1]
    spread = float(np.sqrt(scores.var(axis=0).mean()))
    factor = (4.0 / (n_dimensions + 2)) ** (1.0 / (n_dimensions + 4)) * count ** (-1.0 / (n_dimensions + 4))
    return spread * factor or 1.0


def distribution_entropy(scores: NDArray[np.float64], width: float) -> float:
    """Return the entropy (nats) of (n, m) scores: 0 when all are alike, log n when none is like another.

    H = -1/n Σ_i log(1/n Σ_j exp(-|x_i - x_j|²/2w²)), with the kernel's ``width`` w in the unit of the scores.
    """
    logs = [
        logsumexp(_exponents(scores[start : start + ROWS_AT_ONCE], scores, width), axis=1)
        for start in range(0, len(scores), ROWS_AT_ONCE)
    ]
    return float(np.log(len(scores)) - np.concatenate(logs).mean())


def select_entropy(
    scores: NDArray[np.float64], *, count: int, width: float, start: Sequence[int] = ()
) -> NDArray[np.int64]:
    """Return ``count`` rows of the (N, m) scores in the order they are taken, ``start`` not among them.

    Each adds most to the entropy: it has the least density of taken rows about it. Without ``start`` the first is
    where the pool is densest.
    """
    density = np.full(len(scores), -np.inf)
    for row in start:
        density = np.logaddexp(density, _exponents(scores[[row]], scores, width)[0])
    density[list(start)] = np.inf
    chosen: list[int] = []
    for _ in range(min(count, len(scores) - len(start))):
        row = int(np.argmin(density)) if chosen or len(start) else _densest(scores, width)
        chosen.append(row)
        density = np.logaddexp(density, _exponents(scores[[row]], scores, width)[0])
        density[row] = np.inf
    return np.array(chosen, dtype=np.int64)


def _exponents(rows: NDArray[np.float64], scores: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    squares = (rows**2).sum(axis=1)[:, None] + (scores**2).sum(axis=1)[None, :] - 2.0 * rows @ scores.T
    return np.asarray(-np.maximum(squares, 0.0) / (2.0 * width**2))


def _densest(scores: NDArray[np.float64], width: float) -> int:
    sample = scores[:: max(1, len(scores) // ROWS_AT_ONCE)]
    logs = [
        logsumexp(_exponents(scores[start : start + ROWS_AT_ONCE], sample, width), axis=1)
        for start in range(0, len(scores), ROWS_AT_ONCE)
    ]
    return int(np.argmax(np.concatenate(logs)))
