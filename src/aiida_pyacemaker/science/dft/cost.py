"""What an SCF will cost, and in which order and lane frames are run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

FEWEST_RUNS = 4  # finished runs that a refit needs
SMALLEST_SPREAD = 0.3  # of ln(work): below it the exponent cannot be told from the runs


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """Core-seconds of an SCF: ``prefactor_s * work ** exponent``, refitted on ``n_runs`` finished runs (0: a guess)."""

    prefactor_s: float = 1e-9
    exponent: float = 1.0
    n_runs: int = 0

    def predict(self, work: float) -> float:
        """Return the core-seconds of an SCF of ``work``."""
        return float(self.prefactor_s * work**self.exponent)


def scf_work(atoms: Atoms, *, n_electrons: float, ecutwfc_Ry: float, n_kpoints: int, n_spins: int) -> float:
    """Return the relative work of an SCF: k-points x spins x (electrons)² x plane waves.

    Orthogonalising n bands of G plane waves costs n² G; G grows as volume x cut-off^(3/2).
    """
    plane_waves = abs(np.linalg.det(atoms.cell[:])) * ecutwfc_Ry**1.5
    return float(n_kpoints * n_spins * n_electrons**2 * plane_waves)


def fit_cost_model(work: ArrayLike, core_seconds: ArrayLike) -> CostModel:
    """Return the model refitted on finished runs, by least squares of ln(seconds) on ln(work).

    work, core_seconds: (n_runs,). Fewer than ``FEWEST_RUNS``: the guess. Runs all of about the same work, or an
    exponent outside (0, 2): the exponent stays and only the prefactor is refitted, to the median.
    """
    x, y = np.asarray(work, dtype=float), np.asarray(core_seconds, dtype=float)
    known = (x > 0) & (y > 0) & np.isfinite(x * y)
    x, y = np.log(x[known]), np.log(y[known])
    if len(x) < FEWEST_RUNS:
        return CostModel()
    exponent = CostModel.exponent
    if np.ptp(x) > SMALLEST_SPREAD:
        found = float(np.polyfit(x, y, 1)[0])
        exponent = found if 0 < found < 2 else exponent
    prefactor = float(np.exp(np.median(y - exponent * x)))
    return CostModel(prefactor_s=prefactor, exponent=exponent, n_runs=len(x))


def order_frames(costs: Sequence[float], values: Sequence[float] | None = None) -> list[int]:
    """Return the frames in the order in which they deserve to be paid: value per core-second, highest first.

    Equal ratios keep the order of the input; without ``values`` the order of the input is all there is to go by.
    """
    if values is None:
        return list(range(len(costs)))
    ratios = [value / max(cost, 1e-300) for value, cost in zip(values, costs, strict=True)]
    return sorted(range(len(costs)), key=lambda row: (-ratios[row], row))


def deal_lanes(costs: Sequence[float], n_lanes: int, first: Sequence[int] | None = None) -> list[list[int]]:
    """Return the rows of each lane: dearest first, each to the lane with the least to do; no lane is empty.

    first: an order that a lane keeps instead of the dearest first, so that what is worth most is paid first.
    """
    lanes: list[list[int]] = [[] for _ in range(min(n_lanes, len(costs)))]
    totals = [0.0] * len(lanes)
    for row in first if first is not None else sorted(range(len(costs)), key=lambda row: (-costs[row], row)):
        lane = totals.index(min(totals))
        lanes[lane].append(row)
        totals[lane] += costs[row]
    return lanes
