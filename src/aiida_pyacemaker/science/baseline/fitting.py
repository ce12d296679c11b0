"""Parameters of the baseline from the teacher's dimers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Literal

import numpy as np
from ase.data import atomic_numbers, chemical_symbols, covalent_radii
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from ..frames import HAS_ENERGY, Frames
from .functions import wall
from .pair import PairBaseline, PairTerm

Array = NDArray[np.float64]
Curve = tuple[Array, Array]

# fractions of the sum of covalent radii
JOIN_INNER, JOIN_OUTER, END = 0.5, 0.7, 0.9
NARROWEST_FIT = 0.03
MINIMUM_POINTS = 3


def dimer_curves(frames: Frames) -> dict[tuple[str, str], Curve]:
    """Return (alphabetical) pair -> (distances (n,) Å ascending, energies (n,) eV) of the labelled two-atom frames."""
    rows: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for index in range(len(frames)):
        span = frames.span(index)
        if span.stop - span.start != 2 or not frames.label_mask[index] & HAS_ENERGY or frames.pbc[index].any():
            continue
        first, second = sorted(chemical_symbols[number] for number in frames.numbers[span])
        distance = float(np.linalg.norm(np.diff(frames.positions[span], axis=0)))
        rows.setdefault((first, second), []).append((distance, float(frames.energy[index])))
    curves = {}
    for pair, values in rows.items():
        distances, energies = np.array(sorted(values)).T
        distances, places = np.unique(distances, return_index=True)
        curves[pair] = (distances, energies[places])
    return curves


def fit_baseline(
    elements: Sequence[str], kind: Literal['LJ', 'ZBL'], curves: Mapping[tuple[str, str], Curve] | None = None
) -> PairBaseline:
    """Return the baseline of all pairs of ``elements``; a pair that cannot be 'LJ' is 'ZBL' and its note says why.

    The wall ends at 0.9 of the sum of covalent radii; its depth is the least-squares fit of E(r) = depth · wall(r)
    + constant to the teacher's dimer from 0.7 of that sum to the dimer's minimum (at most the end). A wide, soft
    wall: one that is steep near its end costs the student more than it gives (measured on compressed copper).
    """
    pairs = {}
    for first, second in combinations_with_replacement(sorted(elements), 2):
        charges = (atomic_numbers[first], atomic_numbers[second])
        length = float(covalent_radii[charges[0]] + covalent_radii[charges[1]])
        term = PairTerm(form='ZBL', charges=charges, inner=0.0, outer=JOIN_INNER * length, end=END * length)
        if kind == 'LJ':
            curve = (curves or {}).get((first, second))
            term = _fit_wall(term, length, curve)
        pairs[f'{first}-{second}'] = term
    return PairBaseline(kind=kind, pairs=pairs)


def _fit_wall(fallback: PairTerm, length: float, curve: Curve | None) -> PairTerm:
    """Return the wall of one pair, or ``fallback`` with a note."""

    def refuse(reason: str) -> PairTerm:
        values = {name: getattr(fallback, name) for name in ('form', 'charges', 'inner', 'outer', 'end')}
        return PairTerm(**values, note=f'ZBL instead of LJ: {reason}')

    if curve is None:
        return refuse('no labelled dimers of this pair')
    distances, energies = curve
    start = JOIN_OUTER * length
    near = (distances >= start - 1e-9) & (distances <= 1.3 * length)
    if np.count_nonzero(near) < MINIMUM_POINTS + 1:
        return refuse(f'{np.count_nonzero(near)} dimers above {start:.3f} Å, expected at least {MINIMUM_POINTS + 1}')
    minimum = min(float(distances[near][np.argmin(energies[near])]), END * length)
    if minimum < start + NARROWEST_FIT * length:
        return refuse(f'the teacher is not repulsive above {start:.3f} Å')
    points = np.linspace(max(start, float(distances[near][0])), minimum, 20)
    curve_there = CubicSpline(distances[near], energies[near])(points)
    shape = wall(points, END * length, JOIN_INNER * length)[0]
    depth = float(np.linalg.lstsq(np.column_stack([shape, np.ones_like(shape)]), curve_there, rcond=None)[0][0])
    if not np.all(np.diff(curve_there[:-1]) < 0) or not np.isfinite(depth) or depth <= 0:
        return refuse(f'the teacher does not rise monotonically inwards from {minimum:.3f} to {start:.3f} Å')
    inner, end = JOIN_INNER * length, END * length
    return PairTerm(form='LJ', charges=fallback.charges, inner=inner, outer=start, end=end, depth=depth)
