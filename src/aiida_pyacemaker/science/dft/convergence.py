"""Whether an SCF that ran out of steps was on its way."""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import ArrayLike, NDArray

ACCURACY = re.compile(r'estimated scf accuracy\s*<\s*([-+.\dEeDd]+)\s*Ry')
SHORTEST = 4  # points that a slope is trusted from


def read_accuracies(stdout: str) -> NDArray[np.float64]:
    """Return (n_iterations,) the estimated SCF accuracies, Ry, that a ``pw.x`` output names, in order."""
    values = [float(found.replace('D', 'e').replace('d', 'e')) for found in ACCURACY.findall(stdout)]
    return np.array(values, dtype=np.float64)


def predict_more_steps(accuracies_Ry: ArrayLike, threshold_Ry: float) -> float:
    """Return how many more SCF iterations would reach ``threshold_Ry`` at the pace of the second half.

    The pace is the least-squares slope of log10(accuracy); infinite when it does not fall, or when fewer than
    ``SHORTEST`` iterations are there to judge.
    """
    accuracies = np.asarray(accuracies_Ry, dtype=np.float64)
    accuracies = accuracies[np.isfinite(accuracies) & (accuracies > 0)]
    if len(accuracies) < SHORTEST:
        return math.inf
    tail = np.log10(accuracies[-max(SHORTEST, len(accuracies) // 2) :])
    slope = float(np.polyfit(np.arange(len(tail)), tail, 1)[0])
    missing = float(tail[-1]) - math.log10(threshold_Ry)
    if missing <= 0:
        return 0.0
    return missing / -slope if slope < 0 else math.inf
