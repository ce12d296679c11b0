"""What a cutout must fulfil before it is paid for."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from ..ace import AcePotential, evaluate
from ..frames import SHELL_CORE, SHELL_FROZEN
from .images import smallest_distance_ratio
from .label_geometry import LabelGeometry, RejectedCutoutError
from .training_geometry import TrainingGeometry

FORCE_TOLERANCE = 1e-9  # eV/Å: sums over the same neighbours in another order
PROJECTION_TOLERANCE = 1e-8  # of the atom's largest |B|
OVERLAP_RATIO = 0.7  # of the covalent sum, below the 0.75 that a physical frame keeps
MAX_FRAME_FOR_TEACHER = 300  # atoms; larger frames are not evaluated by the teacher for a report


def check_training_geometry(
    frame: Atoms, training: TrainingGeometry, potential: AcePotential, *, frame_forces: NDArray[np.float64]
) -> dict[str, float | bool]:
    """Return the largest differences on core atoms between ``training`` and the whole frame.

    Forces must agree to ``FORCE_TOLERANCE`` and B-projections to ``PROJECTION_TOLERANCE`` of the atom's largest |B|,
    else :class:`RejectedCutoutError`. frame_forces: (n, 3) eV/Å of the student on the frame.
    """
    rows = np.flatnonzero(training.shell == SHELL_CORE)
    parents = training.parents[rows]
    report: dict[str, float | bool] = {'is_whole_frame': training.is_whole_frame, 'n_atoms': len(training.atoms)}
    if training.is_whole_frame:
        return {**report, 'core_force_error_eV_per_A': 0.0, 'core_projection_error': 0.0}
    forces = evaluate(potential, training.atoms).forces
    force_error = float(np.abs(forces[rows] - frame_forces[parents]).max())
    cut, whole = potential.b_projections(training.atoms), potential.b_projections(frame)
    projection_error = max(
        float(np.abs(cut[row] - whole[parent]).max() / max(np.abs(whole[parent]).max(), 1e-300))
        for row, parent in zip(rows, parents, strict=True)
    )
    if not (force_error <= FORCE_TOLERANCE and projection_error <= PROJECTION_TOLERANCE):
        raise RejectedCutoutError(
            f'training geometry differs from the frame on the core: forces by {force_error:.2e} eV/Å (allowed '
            f'{FORCE_TOLERANCE}), projections by {projection_error:.2e} (allowed {PROJECTION_TOLERANCE})'
        )
    return {**report, 'core_force_error_eV_per_A': force_error, 'core_projection_error': projection_error}


def check_label_geometry(
    geometry: LabelGeometry, calculator: Calculator | None, *, frame_forces: NDArray[np.float64] | None
) -> dict[str, float]:
    """Return the closest pair and, with a teacher, the forces on the frozen atoms; reject an overlap.

    ``frozen_force_eV_per_A``: largest teacher force on core and first neighbours; ``core_force_shift_eV_per_A``:
    largest difference of the teacher's core force from that on the frame (``frame_forces``: (n, 3) eV/Å, if known),
    what cutting costs as far as the teacher can see.
    """
    ratio = smallest_distance_ratio(geometry.atoms)
    if not ratio >= OVERLAP_RATIO:
        raise RejectedCutoutError(
            f'two atoms of the label geometry are at {ratio:.2f} of their covalent sum, allowed: >= {OVERLAP_RATIO}'
        )
    report = {'min_distance_ratio': ratio}
    if calculator is None:
        return report
    atoms = geometry.atoms.copy()
    atoms.calc = calculator
    forces = np.asarray(atoms.get_forces())
    frozen = np.isin(geometry.shell, (SHELL_CORE, SHELL_FROZEN))
    report['frozen_force_eV_per_A'] = float(np.linalg.norm(forces[frozen], axis=1).max())
    if frame_forces is not None:
        core = geometry.shell == SHELL_CORE
        shift = forces[core] - frame_forces[geometry.parents[core]]
        report['core_force_shift_eV_per_A'] = float(np.linalg.norm(shift, axis=1).max())
    return report
