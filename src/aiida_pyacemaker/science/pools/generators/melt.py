"""Liquids and glasses: a crystal is molten by the calculator, then held or cooled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.md.langevin import Langevin
from numpy.random import Generator
from numpy.typing import NDArray

from ..screening import MD_STOPPED, NOT_MOLTEN, Screen
from .molecular_dynamics import langevin, suggested_timestep_fs

EXPANSION = 1.06  # of every cell vector: a hot liquid takes some 20 % more room than its cold crystal
SUPERHEATING = 1.5  # of the temperature while it melts: a small perfect crystal has nowhere to begin
MELT_STEPS = 1000  # about so many steps at most, before the crystal counts as not molten
MOLTEN_FRACTION = 0.3  # root mean square displacement in units of the cube root of the volume per atom
COLD_K = 300.0
REHEATINGS, HOTTER = 2, 1.6  # how often a crystal that stays one is heated further where its temperature was a guess


@dataclass(frozen=True, kw_only=True)
class Melt:
    """How hot the liquid is, how many steps lie between frames, and whether it is cooled to ``COLD_K`` meanwhile.

    ``may_heat``: the temperature is a guess, and is raised for a crystal that stays one.
    """

    temperature_K: float
    steps: int
    quench: bool
    may_heat: bool = False


def run_melt(
    atoms: Atoms, melt: Melt, *, screen: Screen, count: int, rng: Generator
) -> tuple[list[Atoms], dict[str, int]]:
    """Return ``count`` frames of the liquid or of its quench, and what was lost by reason.

    Nothing is kept before the atoms are displaced as in a liquid; a crystal that stays one is counted under
    ``not_molten``. The run stops at the first absurd frame.
    """
    moving = atoms.copy()
    moving.set_cell(atoms.cell.array * EXPANSION, scale_atoms=True)
    moving.calc = screen.calculator
    timestep_fs = suggested_timestep_fs(atoms) / 2.0  # hot atoms are fast
    hot = melt.temperature_K
    dynamics = langevin(moving, SUPERHEATING * hot, start_K=2.0 * SUPERHEATING * hot, timestep_fs=timestep_fs, rng=rng)
    reason = _melt_until_liquid(moving, dynamics, melt.steps, screen)
    for _ in range(REHEATINGS if melt.may_heat else 0):
        if reason == NOT_MOLTEN:
            hot *= HOTTER
            dynamics.set_temperature(temperature_K=SUPERHEATING * hot)
            reason = _melt_until_liquid(moving, dynamics, melt.steps, screen)
    if reason is not None:
        return [], {reason: count}
    frames: list[Atoms] = []
    for done, kelvin in enumerate(np.geomspace(hot, COLD_K if melt.quench else hot, count)):
        dynamics.set_temperature(temperature_K=float(kelvin))
        dynamics.run(melt.steps)
        reason = screen.reason(moving)
        if reason is not None:
            lost = count - done - 1
            return frames, {reason: 1, **({MD_STOPPED: lost} if lost else {})}
        frames.append(moving.copy())
    return frames, {}


def _melt_until_liquid(moving: Atoms, dynamics: Langevin, steps: int, screen: Screen) -> str | None:
    """Run in place until the crystal is gone; return why it is of no use, or ``None``."""
    start = moving.positions.copy()
    for _ in range(max(1, MELT_STEPS // steps)):
        dynamics.run(steps)
        reason = screen.reason(moving)
        if reason is not None or is_molten(moving, start):
            return reason
    return NOT_MOLTEN


def is_molten(atoms: Atoms, start: NDArray[np.float64]) -> bool:
    """Return whether the atoms, unwrapped, are as far from ``start`` ((n, 3) Å) as only a liquid carries them."""
    moved = atoms.positions - start
    moved = moved - moved.mean(axis=0)
    spacing = (atoms.get_volume() / len(atoms)) ** (1 / 3)
    return bool(np.sqrt((moved**2).sum(axis=1).mean()) > MOLTEN_FRACTION * spacing)
