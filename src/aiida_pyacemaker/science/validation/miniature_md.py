"""A short MD run of the student: whether it holds, and how far it extrapolates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.random import Generator
from numpy.typing import NDArray

from ..pools.generators.molecular_dynamics import langevin
from ..pools.screening import has_overlap

TIMESTEP_FS = 1.0
SAMPLE_EVERY = 10
HOT_FACTOR = 3.0
OVERLAP_FRACTION = 0.4


@dataclass(frozen=True, kw_only=True)
class MdProfile:
    """Samples (n,) of one run: step, largest and mean γ over atoms, temperature K; ``end`` says how it ended.

    ``end``: completed, non_finite, too_hot (above three times the target) or overlap.
    """

    step: NDArray[np.int64]
    gamma_max: NDArray[np.float64]
    gamma_mean: NDArray[np.float64]
    temperature: NDArray[np.float64]
    end: str

    @property
    def largest_gamma(self) -> float:
        """Return the largest γ of the run, infinite when a γ was not a number."""
        return float(np.where(np.isnan(self.gamma_max), np.inf, self.gamma_max).max(initial=0.0))


def run_miniature_md(
    atoms: Atoms,
    calculator: Calculator,
    *,
    gamma: Callable[[Atoms], NDArray[np.float64]],
    n_steps: int,
    temperature_K: float,
    rng: Generator,
) -> MdProfile:
    """Return the profile of a Langevin run with steps of 1 fs, sampled at the start, every ten steps and at the end.

    ``gamma`` gives (n_atoms,) extrapolation grades of a structure. The run starts with twice the target's kinetic
    energy, as ``atoms`` is a relaxed lattice, and ends early when it is lost.
    """
    moving = atoms.copy()
    moving.calc = calculator
    dynamics = langevin(moving, temperature_K, start_K=2 * temperature_K, timestep_fs=TIMESTEP_FS, rng=rng)
    rows: list[tuple[int, float, float, float]] = []
    end = 'completed'
    for step in (*range(0, n_steps, SAMPLE_EVERY), n_steps):
        if step:
            dynamics.run(step - rows[-1][0])
        if not (np.isfinite(moving.positions).all() and np.isfinite(moving.get_forces()).all()):
            end = 'non_finite'
            break
        grades = gamma(moving)
        rows.append((step, float(grades.max()), float(grades.mean()), float(moving.get_temperature())))
        if rows[-1][3] > HOT_FACTOR * temperature_K:
            end = 'too_hot'
            break
        if has_overlap(moving, fraction=OVERLAP_FRACTION):
            end = 'overlap'
            break
    table = np.array(rows, dtype=float).reshape(-1, 4).T
    return MdProfile(
        step=table[0].astype(np.int64), gamma_max=table[1], gamma_mean=table[2], temperature=table[3], end=end
    )
