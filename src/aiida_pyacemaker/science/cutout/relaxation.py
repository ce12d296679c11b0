"""What the cut invented finds its place, the core and its first neighbours stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.calculators.calculator import Calculator
from ase.constraints import FixAtoms
from ase.data import covalent_radii
from ase.optimize import BFGS
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from ..config import CutoutConfig
from ..frames import SHELL_BUFFER, SHELL_CAP
from .label_geometry import LabelGeometry, RejectedCutoutError

CAP_FREEDOM = 0.6  # of what an atom of the frame may move; more makes labels worse (docs/cutout_fidelity.md)
KEPT_OFF = 1.6  # in covalent sums, what a cap may come to an atom that it does not cap: nearer, it binds to it
NEARER_A = 0.05


@dataclass(frozen=True, kw_only=True)
class Relaxation:
    """Relaxed positions (n, 3) Å and what happened on the way."""

    positions: NDArray[np.float64]
    report: dict[str, float | int | str]


def relax_boundary(geometry: LabelGeometry, calculator: Calculator, config: CutoutConfig) -> Relaxation:
    """Relax caps and seam, with ``relax_buffer`` all the buffer, until ``pre_relaxation_fmax`` (eV/Å) or the last step.

    The force on the core depends on its second shell: moving that gives a force of another environment than the one
    the student learns from. No atom of the frame ends further than ``max_displacement`` (Å) from where MD had it, no
    cap further than 0.6 of that from where it was put, and no cap comes near a second atom, as to bind to it (it would
    change what the core feels): the last step within the limits is kept and the report says ``stopped: displacement``
    or ``second bond``.
    A force that is not finite rejects the cutout.
    """
    atoms = geometry.atoms.copy()
    start = atoms.positions.copy()
    free = geometry.boundary | (config.relax_buffer & (geometry.shell == SHELL_BUFFER))
    if not free.any():
        return Relaxation(positions=start, report={'stopped': 'nothing is free to move'})
    limit = config.max_displacement * np.where(geometry.shell == SHELL_CAP, CAP_FREEDOM, 1.0)
    atoms.set_constraint(FixAtoms(mask=~free))
    atoms.calc = calculator
    kept, taken, stopped = start, 0, 'steps'
    largest = _largest_force(atoms)
    first = largest
    optimiser = BFGS(atoms, logfile=None, maxstep=0.1)
    for step, converged in enumerate(
        optimiser.irun(fmax=config.pre_relaxation_fmax, steps=config.pre_relaxation_steps)
    ):
        if np.any(np.linalg.norm(atoms.positions - start, axis=1) > limit):
            stopped = 'displacement'
            break
        if _binds_again(geometry, atoms.positions):
            stopped = 'second bond'
            break
        kept, taken, largest = atoms.positions.copy(), step, _largest_force(atoms)
        if converged:
            stopped = 'fmax'
    moved = np.linalg.norm(kept - start, axis=1)
    is_cap = geometry.shell == SHELL_CAP
    return Relaxation(
        positions=kept,
        report={
            'stopped': stopped,
            'n_steps': taken,
            'max_force_before_eV_per_A': first,
            'max_force_after_eV_per_A': largest,
            'max_displacement_A': float(moved[~is_cap].max(initial=0.0)),
            'max_cap_displacement_A': float(moved[is_cap].max(initial=0.0)),
        },
    )


def _binds_again(geometry: LabelGeometry, positions: NDArray[np.float64]) -> bool:
    """Say whether a cap came nearer than ``KEPT_OFF`` to an atom other than its host, the nearest at first.

    One that was that near from the start may stay so, not come ``NEARER_A`` closer.
    """
    caps, others = np.flatnonzero(geometry.shell == SHELL_CAP), np.flatnonzero(geometry.shell != SHELL_CAP)
    if not len(caps):
        return False
    radii = covalent_radii[geometry.atoms.numbers]
    reach = KEPT_OFF * (radii[caps][:, None] + radii[others])
    before, after = (cdist(places[caps], places[others]) for places in (geometry.atoms.positions, positions))
    is_host = np.arange(len(others)) == before.argmin(axis=1)[:, None]
    return bool(np.any(~is_host & (after < np.minimum(reach, before - NEARER_A))))


def _largest_force(atoms: object) -> float:
    forces = np.asarray(atoms.get_forces())  # type: ignore[attr-defined]
    if not np.isfinite(forces).all():
        raise RejectedCutoutError('the teacher gives a force that is not a finite number on the label geometry')
    return float(np.linalg.norm(forces, axis=1).max(initial=0.0))
