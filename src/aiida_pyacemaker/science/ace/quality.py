"""How good a fitted potential is: errors on kept-out labels, grades, repulsion at short range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray

from ..baseline import PairBaseline
from ..frames import Frames
from ..laws.distances import WEAKEST, weakest_push
from .active_set import ActiveSet
from .calculator import AceCalculator
from .evaluator import evaluate
from .potential import AcePotential
from .weights import RowFactors, atoms_too_close, huber_factors, labelled_kinds

Array = NDArray[np.float64]

WORST_SHOWN = 10
QUANTILES = {'median': 0.5, 'q90': 0.9, 'q99': 0.99, 'max': 1.0}
SEARCH_RADIUS = 4.0  # Å, where nearest neighbours are looked for


@dataclass(frozen=True, kw_only=True)
class FrameErrors:
    """How far a potential is from labels, frame by frame.

    energy: (N,) eV/atom, NaN without a label; squares: (N,) (eV/Å)², sum over the force components of atoms with
    weight > 0; components: (N,) how many those are.
    """

    energy: Array
    squares: Array
    components: NDArray[np.int64]

    def summary(self, rows: NDArray[np.bool_] | slice = slice(None)) -> dict[str, float | None]:
        """Return root mean square errors of the ``rows``: energy eV/atom, forces eV/Å."""
        energy, count = self.energy[rows], int(self.components[rows].sum())
        return {
            'rmse_energy_eV_per_atom': _root_mean_square(energy[np.isfinite(energy)]),
            'rmse_forces_eV_per_A': float(np.sqrt(self.squares[rows].sum() / count)) if count else None,
        }

    def by(self, names: Sequence[str]) -> dict[str, dict[str, float | int | None]]:
        """Return the summary and ``n_frames`` of the frames of every name; names: one a frame."""
        column = np.asarray(names)
        parts = {str(name): column == name for name in np.unique(column)}
        return {name: {**self.summary(rows), 'n_frames': int(rows.sum())} for name, rows in parts.items()}


def frame_errors(frames: Frames, potential: AcePotential, baseline: PairBaseline) -> FrameErrors:
    """Return the errors of ACE + baseline on every frame."""
    energy, squares = np.full(len(frames), np.nan), np.zeros(len(frames))
    components = np.zeros(len(frames), dtype=np.int64)
    for index in range(len(frames)):
        kinds = labelled_kinds(frames, index)
        if not kinds:
            continue
        atoms, span = frames.atoms(index), frames.span(index)
        found, (pair_energies, pair_forces, _) = evaluate(potential, atoms), baseline.evaluate(atoms)
        if 'energy' in kinds:
            total = float(found.energies.sum() + pair_energies.sum())
            energy[index] = (total - float(frames.energy[index])) / len(atoms)
        if 'forces' in kinds:
            missed = (found.forces + pair_forces - frames.forces[span])[frames.force_weight[span] > 0]
            squares[index], components[index] = float((missed**2).sum()), missed.size
    return FrameErrors(energy=energy, squares=squares, components=components)


def prediction_errors(frames: Frames, potential: AcePotential, baseline: PairBaseline) -> dict[str, float | None]:
    """Return root mean square errors: energy eV/atom, forces eV/Å (components of atoms with weight > 0)."""
    return frame_errors(frames, potential, baseline).summary()


def compare_forces(truth: Frames, answer: Frames) -> dict[str, Any]:
    """Return the root mean square difference of two labels of the same frames (eV/Å), and of how many components."""
    difference = (answer.forces - truth.forces)[truth.force_weight > 0]
    known = difference[np.isfinite(difference).all(axis=1)]
    if not len(known):
        return {'n_components': 0, 'rmse_forces_eV_per_A': None}
    return {'n_components': int(known.size), 'rmse_forces_eV_per_A': float(np.sqrt((known**2).mean()))}


def robust_factors(frames: Frames, potential: AcePotential, baseline: PairBaseline, *, threshold: float) -> RowFactors:
    """Return what labels count that a first fit misses: min(1, threshold σ/|residual|), σ of their medians.

    Atoms by the length of the force error, frames by the error of the energy per atom less the median one (a constant
    says nothing about a frame). Rows that give no residual keep the factor 1.
    """
    energy, forces = np.full(len(frames), np.nan), np.full(frames.n_atoms, np.nan)
    for index in range(len(frames)):
        kinds, span = labelled_kinds(frames, index), frames.span(index)
        if not kinds:
            continue
        atoms = frames.atoms(index)
        learnt = (frames.force_weight[span] > 0) & ~atoms_too_close(atoms, potential)
        found, (pair_energies, pair_forces, _) = evaluate(potential, atoms), baseline.evaluate(atoms)
        if 'energy' in kinds:
            total = float(found.energies.sum() + pair_energies.sum())
            energy[index] = (total - float(frames.energy[index])) / len(atoms)
        if 'forces' in kinds:
            missed = np.linalg.norm(found.forces + pair_forces - frames.forces[span], axis=1)
            forces[span] = np.where(learnt, missed, np.nan)
    middle = np.median(energy[np.isfinite(energy)]) if np.isfinite(energy).any() else 0.0
    return RowFactors(frames=huber_factors(energy - middle, threshold), atoms=huber_factors(forces, threshold))


def _root_mean_square(values: Array) -> float | None:
    return float(np.sqrt(np.mean(values**2))) if len(values) else None


@dataclass(frozen=True, kw_only=True)
class TrainedGrades:
    """Grades of the atoms that gave rows: gamma: (n,); frame, atom: (n,) where they are."""

    gamma: Array
    frame: NDArray[np.int64]
    atom: NDArray[np.int64]

    def quantiles(self) -> dict[str, float | None]:
        """Return quantiles of γ, None where not finite; empty without atoms."""
        if not len(self.gamma):
            return {}
        values = {name: float(np.quantile(self.gamma, level, method='higher')) for name, level in QUANTILES.items()}
        return {name: value if np.isfinite(value) else None for name, value in values.items()}

    def above(self, threshold: float) -> dict[str, Any]:
        """Return how many atoms are not at or below ``threshold``, and the ten worst (γ None where not finite)."""
        over = np.flatnonzero(~(self.gamma <= threshold))
        worst = over[np.argsort(-self.gamma[over], kind='stable')][:WORST_SHOWN]
        rows = [(int(self.frame[row]), int(self.atom[row]), float(self.gamma[row])) for row in worst]
        return {
            'threshold': threshold,
            'n_atoms': len(over),
            'n_trained_atoms': len(self.gamma),
            'worst': [
                {'frame': frame, 'atom': atom, 'gamma': gamma if np.isfinite(gamma) else None}
                for frame, atom, gamma in rows
            ],
        }


def trained_grades(frames: Frames, potential: AcePotential, active_set: ActiveSet) -> TrainedGrades:
    """Return γ of every atom of ``frames`` that gives rows: of a labelled frame, with weight > 0, not too close.

    After an update none of them should be above the threshold at which DFT is called: it would be called again.
    """
    gamma, places = [np.zeros(0)], [np.zeros((0, 2), dtype=np.int64)]
    for index in range(len(frames)):
        if labelled_kinds(frames, index):
            atoms = frames.atoms(index)
            found = evaluate(potential, atoms, active_set=active_set).gamma
            assert found is not None
            learnt = np.flatnonzero((frames.force_weight[frames.span(index)] > 0) & ~atoms_too_close(atoms, potential))
            gamma.append(found[learnt])
            places.append(np.column_stack([np.full_like(learnt, index), learnt]))
    frame, atom = np.concatenate(places).T
    return TrainedGrades(gamma=np.concatenate(gamma), frame=frame, atom=atom)


def grade_quantiles(frames: Frames, potential: AcePotential, active_set: ActiveSet) -> dict[str, float | None]:
    """Return the quantiles of :func:`trained_grades`."""
    return trained_grades(frames, potential, active_set).quantiles()


def nearest_distances(frames: Frames) -> Array:
    """Return the distance to its nearest neighbour of each atom in a periodic frame that has one in 4 Å."""
    found = [np.zeros(0)]
    for atoms in frames.iter_atoms():
        if atoms.pbc.all():
            first, distance = neighbour_list('id', atoms, SEARCH_RADIUS)
            nearest = np.full(len(atoms), np.inf)
            np.minimum.at(nearest, first, distance)
            found.append(nearest[np.isfinite(nearest)])
    return np.concatenate(found)


def short_range_report(potential: AcePotential, baseline: PairBaseline | None) -> dict[str, dict[str, Any]]:
    """Return by pair whether the dimer of student + baseline is repulsive from 0.5 Å to 0.7 of the covalent sum.

    ``weakest_slope_eV_per_A``: the largest dE/dr in that range, negative where the pair is repulsive everywhere, at
    the distance ``at_A``.
    """
    calculator, report = AceCalculator(potential, baseline=baseline), {}
    for first, second in combinations_with_replacement(potential.elements, 2):
        slope, distance = weakest_push(calculator, first, second)
        report[f'{first}-{second}'] = {
            'repulsive': slope < -WEAKEST,
            'weakest_slope_eV_per_A': slope,
            'at_A': distance,
        }
    return report
