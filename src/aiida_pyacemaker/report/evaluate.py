"""Core forces of a stored potential against the DFT forces of kept-out frames."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np

from ..science.frames import Frames
from ..science.student import load_student


def core_force_errors(potential: Any, frames: Frames) -> dict[str, Any]:
    """Compare forces where the DFT label counts (weight > 0 and finite).

    RMSE = sqrt(mean over atoms and Cartesian components of (F_potential - F_DFT)²). Returns ``reference`` and
    ``predicted``, flat lists of 3 components an atom in eV/Å, and ``rmse_eV_per_A``. Raises ``ValueError`` when no
    atom counts.
    """
    with tempfile.TemporaryDirectory() as folder:
        potential.write_to(folder)
        student = load_student(folder)
    reference, predicted = [], []
    for index, atoms in enumerate(frames.iter_atoms()):
        rows = frames.span(index)
        forces = frames.forces[rows]
        counts = (frames.force_weight[rows] > 0) & np.isfinite(forces).all(axis=1)
        atoms.calc = student.calculator(with_gamma=False)
        reference.append(forces[counts])
        predicted.append(atoms.get_forces()[counts])
    wanted, found = np.concatenate(reference), np.concatenate(predicted)
    if not len(wanted):
        raise ValueError('no atom of the frames has a DFT force with weight > 0: give frames with labelled cores')
    return {
        'reference': wanted.ravel().tolist(),
        'predicted': found.ravel().tolist(),
        'rmse_eV_per_A': float(np.sqrt(np.mean((found - wanted) ** 2))),
    }
