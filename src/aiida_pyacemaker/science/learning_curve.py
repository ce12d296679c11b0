"""Is more data worth it: the error as a power of the number of frames, and what twice as many would bring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frames import Frames


def nested_subsets(frames: Frames, fractions: Sequence[float], seed: int) -> list[NDArray[np.int64]]:
    """Return sorted rows of random subsets of ``frames``, one a fraction, whole groups, the smaller in the larger."""
    groups = np.where(frames.group >= 0, frames.group, -1 - np.arange(len(frames)))
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    sizes = np.cumsum([np.count_nonzero(groups == group) for group in order])
    subsets = []
    for fraction in fractions:
        enough = int(np.searchsorted(sizes, fraction * len(frames))) + 1
        subsets.append(np.flatnonzero(np.isin(groups, order[:enough])))
    return subsets


def judge_curve(sizes: Sequence[int], errors: Sequence[float], *, worth_gain: float) -> dict[str, Any]:
    """Return the exponent b of error = a N^-b (least squares of the logarithms) and the gain that 2 N promises.

    sizes: numbers of frames; errors: the same unit each, above zero. ``gain`` = 1 - 2^-b, zero where the error does
    not fall; ``worth_more``: whether that is ``worth_gain`` or more. Raise ``ValueError`` for fewer than two points.
    """
    if len(set(sizes)) < 2:
        raise ValueError(f'a curve needs two sizes at least, found {list(sizes)}: give fractions below 1')
    slope = float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])
    gain = max(0.0, 1.0 - 2.0**slope)
    return {
        'n_frames': list(map(int, sizes)),
        'errors': list(map(float, errors)),
        'exponent': -slope,
        'gain_of_twice_as_many': gain,
        'worth_gain': worth_gain,
        'worth_more': gain >= worth_gain,
    }
