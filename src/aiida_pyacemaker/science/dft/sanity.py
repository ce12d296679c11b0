"""Whether a converged result can be believed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rigid_body_force(positions: NDArray[np.float64], forces: NDArray[np.float64]) -> tuple[float, float]:
    """Return the rms force per atom, eV/Å, of the rigid translation and of the rigid rotation within ``forces``.

    positions: (N, 3) Å; forces: (N, 3) eV/Å. An isolated cluster has neither: no net force, no torque. The rotation
    is the least-squares ω x r about the centre.
    """
    net = forces.mean(axis=0)
    arms = positions - positions.mean(axis=0)
    torque = np.cross(arms, forces - net).sum(axis=0)
    inertia = (arms**2).sum() * np.eye(3) - arms.T @ arms
    rotation = np.cross(np.linalg.lstsq(inertia, torque, rcond=1e-8)[0], arms)
    return float(np.linalg.norm(net)), float(np.sqrt((rotation**2).sum(axis=1).mean()))


def find_insanity(
    energy_eV: float,
    positions: NDArray[np.float64],
    forces: NDArray[np.float64],
    *,
    is_cluster: bool,
    force_limit: float,
    rigid_force_limit: float,
) -> str | None:
    """Return why a result is not a label, or ``None``.

    positions: (N, 3) Å; forces: (N, 3) eV/Å; limits in eV/Å: of the largest force, and of the rigid-body force of a
    cluster.
    """
    if not (np.isfinite(energy_eV) and np.isfinite(forces).all()):
        return 'energy or forces are not finite'
    largest = float(np.linalg.norm(forces, axis=1).max(initial=0.0))
    if largest > force_limit:
        return f'largest force {largest:.1f} eV/A, allowed: {force_limit}'
    if not is_cluster:
        return None
    for name, found in zip(('net force', 'torque'), rigid_body_force(positions, forces), strict=True):
        if found > rigid_force_limit:
            return f'{name} of the cluster is {found:.3f} eV/A an atom, allowed: {rigid_force_limit}'
    return None
