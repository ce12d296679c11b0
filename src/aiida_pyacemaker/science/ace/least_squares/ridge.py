"""The ridge: by evidence or by cross-validation over groups, never below a floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .factors import triangle_of

Array = NDArray[np.float64]

RIDGE_GRID = 10.0 ** np.arange(-14.0, 0.01, 0.5)


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Singular values of the R factor of weighted rows [A|y] with columns over the prior's ``scales`` (P,).

    values: (P,), 0 beyond the rank; right: (P, P) rows are directions; overlap: (P,) of the target with the left
    vectors; outside: squared length of the target that no coefficients explain; n_rows: of the data.
    """

    scales: Array
    values: Array
    right: Array
    overlap: Array
    outside: float
    n_rows: int

    @classmethod
    def of(cls, triangle: Array, scales: Array, *, n_rows: int) -> Spectrum:
        """Decompose the R factor (k, P + 1)."""
        missing = max(len(scales) - len(triangle), 0)
        full = np.concatenate([triangle, np.zeros((missing, triangle.shape[1]))])
        left, values, right = np.linalg.svd(full[:, :-1] / scales, full_matrices=False)
        target = full[:, -1]
        overlap = left.T @ target
        outside = max(float(target @ target - overlap @ overlap), 0.0)
        return cls(scales=scales, values=values, right=right, overlap=overlap, outside=outside, n_rows=n_rows)

    @property
    def unit(self) -> float:
        """The mean squared singular value: the unit of the dimensionless ridge."""
        return float(np.mean(self.values**2))

    def coefficients(self, ridge: float) -> Array:
        """Return (P,) the minimum of |A c - y|² + ridge · unit · |scales c|²; ``ValueError`` where it is not finite."""
        found = self.right.T @ (self.values * self.overlap / (self.values**2 + ridge * self.unit)) / self.scales
        if not np.isfinite(found).all():
            raise ValueError('the solution holds NaN or inf: check the labels')
        return np.asarray(found)

    def penalised_loss(self, ridge: float) -> float:
        """Return that minimum itself."""
        strength = ridge * self.unit
        return self.outside + float((self.overlap**2 * strength / (self.values**2 + strength)).sum())

    def log_evidence(self, ridge: float) -> float:
        """Return ln p(y) up to a constant for Gaussian noise and prior (MacKay, Neural Comput. 4, 415, 1992).

        -(n/2) ln(|y - A c|² + λ |D c|²) + ½ Σ ln(λ / (s² + λ)).
        """
        strength = ridge * self.unit
        occam = 0.5 * float(np.log(strength / (self.values**2 + strength)).sum())
        return occam - 0.5 * self.n_rows * float(np.log(max(self.penalised_loss(ridge), 1e-300)))

    def evidence_ridge(self, floor: float) -> float:
        """Return the ridge of the half-decade grid, from ``floor`` on, with the largest evidence."""
        grid = np.unique(np.maximum(RIDGE_GRID, floor))
        return float(grid[np.argmax([self.log_evidence(float(ridge)) for ridge in grid])])


def cross_validated_ridge(parts: Sequence[Array], scales: Array, *, unit: float, floor: float) -> float:
    """Return the ridge of the half-decade grid, from ``floor`` on, with the least loss on parts that are left out.

    parts: R factors (k, P + 1) of weighted rows [A|y] of groups that share no frames; unit: of the ridge.
    ``ValueError`` for fewer than two parts.
    """
    if len(parts) < 2:
        raise ValueError(
            f'cross-validation has {len(parts)} group of frames, expected at least 2: give frames of several groups, '
            'or choose the ridge by evidence'
        )
    grid = np.unique(np.maximum(RIDGE_GRID, floor))
    losses = np.zeros(len(grid))
    for index, held_out in enumerate(parts):
        rest = triangle_of([part for other, part in enumerate(parts) if other != index])
        spectrum = Spectrum.of(rest, scales, n_rows=0)
        for row, ridge in enumerate(grid):
            found = spectrum.coefficients(float(ridge) * unit / spectrum.unit)
            losses[row] += float(np.sum((held_out[:, :-1] @ found - held_out[:, -1]) ** 2))
    return float(grid[np.argmin(losses)])
