"""From a grade of doubt to an expected force error, learnt from labels as they come and judged on the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ...ace.calibration import GradedErrors

Array = NDArray[np.float64]
FEWEST_ATOMS = 30  # below, one factor for all grades is all that can be learnt


@dataclass(frozen=True, kw_only=True)
class ErrorScale:
    """Expected force error at a grade: grades: (k,) ascending; errors: (k,) eV/Å, never falling.

    Between two grades it is interpolated, below the first it is the first; beyond the last it grows in proportion to
    the grade: nothing is known there, and a bound that stayed would say otherwise.
    """

    grades: Array
    errors: Array
    n_atoms: int

    def expect(self, grades: Array) -> Array:
        """Return (m,) the expected rms of |F - F_label| in eV/Å; inf where a grade is."""
        found = np.interp(np.where(np.isfinite(grades), grades, 0.0), self.grades, self.errors)
        beyond = np.where(np.isfinite(grades), np.maximum(grades / max(self.grades[-1], 1e-300), 1.0), np.inf)
        result: Array = found * beyond
        return np.where(np.isfinite(grades), result, np.inf)


def learn_scale(known: GradedErrors) -> ErrorScale:
    """Return the expected error by grade: isotonic regression of squared errors, or one factor for few atoms.

    The isotonic mean square is the best monotone one in least squares; its root is the rms error among atoms of like
    grade. Raise ``ValueError`` without an atom of finite grade.
    """
    from sklearn.isotonic import IsotonicRegression

    finite = np.isfinite(known.gamma)
    grades, squares = known.gamma[finite], known.errors[finite] ** 2
    if not len(grades):
        raise ValueError('no labelled atom of finite grade to calibrate with: give frames with forces')
    if len(grades) < FEWEST_ATOMS or np.ptp(grades) == 0:
        factor = np.sqrt(squares.mean() / max(np.mean(grades**2), 1e-300))
        ends = np.array([0.0, max(float(grades.max()), 1e-12)])
        return ErrorScale(grades=ends, errors=factor * ends, n_atoms=len(grades))
    fitted = IsotonicRegression(y_min=0.0, out_of_bounds='clip').fit(grades, squares)
    return ErrorScale(
        grades=np.asarray(fitted.X_thresholds_, dtype=float),
        errors=np.sqrt(np.asarray(fitted.y_thresholds_, dtype=float)),
        n_atoms=len(grades),
    )


def rank_correlation(grades: Array, errors: Array) -> float:
    """Return Spearman's rank correlation; NaN for fewer than three atoms or a constant grade."""
    from scipy.stats import spearmanr

    finite = np.isfinite(grades) & np.isfinite(errors)
    if finite.sum() < 3 or np.ptp(grades[finite]) == 0 or np.ptp(errors[finite]) == 0:
        return float('nan')
    return float(spearmanr(grades[finite], errors[finite]).statistic)


def judge_trust(batches: Sequence[GradedErrors], *, level: float = 0.9) -> dict[str, Any]:
    """Return how far a grade can be trusted, batches in the order in which they were labelled.

    ``spearman``: over all atoms; ``coverage``: by batch, the fraction of errors within the bound of ``level`` that the
    batches before it gave (``None`` for the first); ``ratio``: by batch, the rms error over the one expected from the
    batches before it.
    """
    from ...ace.calibration import GradedErrors, judge_in_order

    pooled = GradedErrors.join(batches)
    coverage = judge_in_order(batches, error_eV_per_A=1.0, level=level)
    return {
        'n_atoms': len(pooled.errors),
        'spearman': rank_correlation(pooled.gamma, pooled.errors),
        'level': level,
        'coverage': [value if np.isfinite(value) else None for value in coverage.covered.tolist()],
        'n_unbounded': coverage.n_unbounded.tolist(),
        'ratio': [_surprise(batches[:index], batch) for index, batch in enumerate(batches)],
    }


def _surprise(before: Sequence[GradedErrors], batch: GradedErrors) -> float | None:
    from ...ace.calibration import GradedErrors

    known = GradedErrors.join(before)
    finite = np.isfinite(batch.gamma)
    if not np.isfinite(known.gamma).any() or not finite.any():
        return None
    expected = learn_scale(known).expect(batch.gamma[finite])
    square = float(np.mean(expected**2))
    return float(np.sqrt(np.mean(batch.errors[finite] ** 2) / square)) if square > 0 else None
