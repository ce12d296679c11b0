"""Short Langevin runs: frames as the calculator itself would visit them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from numpy.random import Generator

from ..screening import MD_STOPPED, Screen

FRICTION_PER_FS = 0.02


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how hot one run is.

    ``start_factor`` scales the kinetic energy drawn at the start: 2 for a relaxed lattice, where half of it goes into
    potential energy within the first vibrations.
    """

    temperature_K: float
    n_frames: int
    steps_between_frames: int
    start_factor: float = 2.0


def run_langevin(
    atoms: Atoms, schedule: Schedule, *, screen: Screen, rng: Generator
) -> tuple[list[Atoms], dict[str, int]]:
    """Return the frames of one run at fixed cell with ``screen.calculator``, and what was lost by reason.

    The run stops at the first absurd frame, which is counted under its reason, the frames not reached under
    ``md_stopped``.
    """
    moving = atoms.copy()
    moving.calc = screen.calculator
    dynamics = langevin(
        moving,
        schedule.temperature_K,
        start_K=schedule.start_factor * schedule.temperature_K,
        rng=rng,
        timestep_fs=suggested_timestep_fs(atoms),
    )
    frames: list[Atoms] = []
    for done in range(schedule.n_frames):
        dynamics.run(schedule.steps_between_frames)
        reason = screen.reason(moving)
        if reason is not None:
            lost = schedule.n_frames - done - 1
            return frames, {reason: 1, **({MD_STOPPED: lost} if lost else {})}
        frames.append(moving.copy())
    return frames, {}


def langevin(atoms: Atoms, temperature_K: float, *, start_K: float, timestep_fs: float, rng: Generator) -> Langevin:
    """Return Langevin dynamics of ``atoms`` (changed in place, calculator attached) with momenta drawn at ``start_K``.

    The momentum of the centre of mass is removed at the start.
    """
    masses = atoms.get_masses()
    momenta = rng.standard_normal((len(atoms), 3)) * np.sqrt(masses * units.kB * start_K)[:, None]
    atoms.set_momenta(momenta - masses[:, None] * momenta.sum(axis=0) / masses.sum())
    return Langevin(
        atoms,
        timestep_fs * units.fs,
        temperature_K=temperature_K,
        friction=FRICTION_PER_FS / units.fs,
        fixcm=False,
        rng=rng,
    )


def suggested_timestep_fs(atoms: Atoms) -> float:
    """Return 0.4 fs times the square root of the lightest mass in u, within 0.4 and 3 fs (2.1 fs for silicon)."""
    return float(np.clip(0.4 * np.sqrt(atoms.get_masses().min()), 0.4, 3.0))
