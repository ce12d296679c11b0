"""R factors of weighted rows: of constant size however many rows there are, and they add up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BUFFERED_ROWS = 2000  # rows held before they are folded into R (at least twice its size)


def triangle_of(parts: Sequence[Array]) -> Array:
    """Return R (≤ columns, columns) of the QR of all rows of ``parts``: RᵀR = Σ partᵀ part."""
    return np.asarray(np.linalg.qr(np.concatenate(parts), mode='r'))


def without_zero(rows: Array, count: int) -> Array:
    """Return rows of [A|x|y], A of ``count`` columns, without what x explains of every column: x no longer counts."""
    fractions = rows[:, count:-1]
    rest = rows.copy()
    rest[:, count:-1] = 0.0
    return np.asarray(rest - fractions @ (np.linalg.pinv(fractions, rcond=1e-10) @ rest))


class StreamedFactor:
    """The R factor of weighted rows [A|x|y] that arrive in pieces, in bounded memory."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.n_rows = 0
        self.weight_sum = 0.0
        self._pieces: list[Array] = []
        self._buffered = 0

    def add(self, rows: Array, weights: Array) -> None:
        """Append rows (k, width) of weights (k,); ``ValueError`` when they are not finite."""
        weighted = rows * np.sqrt(weights)[:, None]
        if not np.isfinite(weighted).all():
            raise ValueError('design rows or targets are NaN or inf: remove the frame, atoms may coincide')
        self._pieces.append(weighted)
        self._buffered += len(weighted)
        self.n_rows += len(weighted)
        self.weight_sum += float(weights.sum())
        if self._buffered > max(BUFFERED_ROWS, 2 * self.width):
            self._pieces = [self.result()]
            self._buffered = len(self._pieces[0])

    def result(self) -> Array:
        """Return R (≤ width, width)."""
        return triangle_of(self._pieces) if self._pieces else np.zeros((0, self.width))
