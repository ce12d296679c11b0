"""What a cutout must fulfil before it is paid for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from ..ace import AcePotential, evaluate
from ..frames import SHELL_BUFFER, SHELL_CAP, SHELL_CORE, SHELL_FROZEN
from ..images import FrameIndex, smallest_distance_ratio
from .charges import dipole
from .label_geometry import LabelGeometry, RejectedCutoutError
from .theory import LabelTheory
from .training_geometry import TrainingGeometry

FORCE_TOLERANCE = 1e-9  # eV/Å: sums over the same neighbours in another order
PROJECTION_TOLERANCE = 1e-8  # of the atom's largest |B|
OVERLAP_RATIO = 0.7  # of the covalent sum, below the 0.75 that a physical frame keeps
MAX_FRAME_FOR_TEACHER = 300  # atoms; larger frames are not evaluated by the teacher for a report
MAX_FRAME_FOR_STUDENT = 2000  # atoms; of larger frames the student is evaluated around each core only
CHUNK = 100_000  # atoms looked at at a time
WHOLE = 1e-3  # electrons: fractional caps have to add up to a whole number


@dataclass(frozen=True, kw_only=True)
class StudentOfFrame:
    """The student's (n, 3) forces (eV/Å) on a frame and each atom's B-projections; empty for a large frame."""

    forces: NDArray[np.float64] | None = None
    projections: tuple[NDArray[np.float64], ...] = ()


def evaluate_frame(frame: Atoms, potential: AcePotential) -> StudentOfFrame:
    """Return what the student makes of the whole frame, nothing above ``MAX_FRAME_FOR_STUDENT`` atoms."""
    if len(frame) > MAX_FRAME_FOR_STUDENT:
        return StudentOfFrame()
    return StudentOfFrame(forces=evaluate(potential, frame).forces, projections=tuple(potential.b_projections(frame)))


def check_training_geometry(
    frame: FrameIndex, training: TrainingGeometry, potential: AcePotential, *, student: StudentOfFrame
) -> dict[str, float | bool]:
    """Return the largest differences on core atoms between ``training`` and the frame.

    Forces must agree to ``FORCE_TOLERANCE`` and B-projections to ``PROJECTION_TOLERANCE`` of the atom's largest |B|,
    else :class:`RejectedCutoutError`. The frame is the whole one where ``student`` was evaluated on it; else it is
    everything within three cut-offs of the core, found by minimum images and not by the search tree that cut.
    """
    rows = np.flatnonzero(training.shell == SHELL_CORE)
    parents = training.parents[rows]
    report: dict[str, float | bool] = {'is_whole_frame': training.is_whole_frame, 'n_atoms': len(training.atoms)}
    if training.is_whole_frame:
        return {**report, 'core_force_error_eV_per_A': 0.0, 'core_projection_error': 0.0}
    truth, places = student, parents
    if student.forces is None:
        around, places = _minimum_images(frame.atoms, parents, radius=3 * potential.cutoff)
        truth = StudentOfFrame(
            forces=evaluate(potential, around).forces, projections=tuple(potential.b_projections(around))
        )
    forces, projections = evaluate(potential, training.atoms).forces, potential.b_projections(training.atoms)
    force_error = float(np.abs(forces[rows] - np.asarray(truth.forces)[places]).max())
    projection_error = max(
        float(np.abs(projections[row] - whole).max() / max(np.abs(whole).max(), 1e-300))
        for row, whole in zip(rows, (truth.projections[place] for place in places), strict=True)
    )
    if not (force_error <= FORCE_TOLERANCE and projection_error <= PROJECTION_TOLERANCE):
        raise RejectedCutoutError(
            f'training geometry differs from the frame on the core: forces by {force_error:.2e} eV/Å (allowed '
            f'{FORCE_TOLERANCE}), projections by {projection_error:.2e} (allowed {PROJECTION_TOLERANCE})'
        )
    return {**report, 'core_force_error_eV_per_A': force_error, 'core_projection_error': projection_error}


def _minimum_images(frame: Atoms, core: NDArray[np.int64], *, radius: float) -> tuple[Atoms, NDArray[np.int64]]:
    """Return the atoms within ``radius`` (Å) of any core atom as a cluster, and the rows of the core in it.

    The frame is gone through in pieces and never copied. Where the cell is narrower than twice the radius and the
    core, minimum images are not all there are: the whole frame is returned.
    """
    offsets = np.asarray(frame.get_distances(core[0], core, mic=bool(frame.pbc.any()), vector=True)).reshape(-1, 3)
    reach = radius + float(np.linalg.norm(offsets, axis=1).max())
    cell = np.asarray(frame.cell.complete())
    inverse = np.linalg.inv(cell)
    heights = 1.0 / np.linalg.norm(inverse, axis=0)
    if np.any(heights[frame.pbc] < 2 * reach):
        return frame, core
    rows, vectors = [], []
    for start in range(0, len(frame), CHUNK):
        relative = frame.positions[start : start + CHUNK] - frame.positions[core[0]]
        relative -= np.where(frame.pbc, np.round(relative @ inverse), 0.0) @ cell
        kept = np.flatnonzero(np.einsum('ij,ij->i', relative, relative) <= reach**2)
        rows.append(kept + start)
        vectors.append(relative[kept])
    found = np.concatenate(rows)
    around = Atoms(numbers=frame.numbers[found], positions=np.concatenate(vectors), pbc=False)
    return around, np.searchsorted(found, core)


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


def describe_label_geometry(geometry: LabelGeometry, theory: LabelTheory) -> dict[str, Any]:
    """Return how many atoms each shell has and how many electrons all have; reject a count that is no whole number.

    ``odd_electrons`` is true where a level stays half filled; ``dipole_D`` is that of point charges.
    """
    shell = geometry.shell
    electrons = theory.electrons(geometry.atoms, shell)
    if abs(electrons - round(electrons)) > WHOLE:
        raise RejectedCutoutError(f'{electrons:g} electrons are no whole number: the fractional caps do not add up')
    moment = {} if geometry.atoms.pbc.any() else {'dipole_D': dipole(geometry.atoms)}
    return {
        **moment,
        'n_atoms': len(shell),
        'n_core': int((shell == SHELL_CORE).sum()),
        'n_frozen': int((shell == SHELL_FROZEN).sum()),
        'n_buffer': int((shell == SHELL_BUFFER).sum()),
        'n_caps': int((shell == SHELL_CAP).sum()),
        'n_electrons': round(electrons),
        'odd_electrons': bool(round(electrons) % 2),
        'box_A': [float(length) for length in geometry.atoms.cell.lengths()],
        'pbc': [bool(flag) for flag in geometry.atoms.pbc],
    }
