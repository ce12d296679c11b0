"""How good a fitted potential is: errors on kept-out labels, grades, repulsion at short range."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray

from ..baseline import PairBaseline
from ..frames import Frames
from .active_set import ActiveSet
from .evaluator import evaluate
from .potential import AcePotential
from .weights import atoms_too_close, labelled_kinds

Array = NDArray[np.float64]

QUANTILES = {'median': 0.5, 'q90': 0.9, 'q99': 0.99, 'max': 1.0}
SHORTEST = 0.5  # Å, from where the sum must be repulsive ...
REPULSIVE_FRACTION = 0.7  # ... up to this fraction of the sum of covalent radii
SEARCH_RADIUS = 4.0  # Å, where nearest neighbours are looked for


def prediction_errors(frames: Frames, potential: AcePotential, baseline: PairBaseline) -> dict[str, float | None]:
    """Return root mean square errors: energy eV/atom, forces eV/Å (components of atoms with weight > 0)."""
    energy: list[float] = []
    forces: list[Array] = []
    for index in range(len(frames)):
        kinds = labelled_kinds(frames, index)
        if not kinds:
            continue
        atoms, span = frames.atoms(index), frames.span(index)
        found, (pair_energies, pair_forces, _) = evaluate(potential, atoms), baseline.evaluate(atoms)
        if 'energy' in kinds:
            total = float(found.energies.sum() + pair_energies.sum())
            energy.append((total - float(frames.energy[index])) / len(atoms))
        if 'forces' in kinds:
            learnt = frames.force_weight[span] > 0
            forces.append((found.forces + pair_forces - frames.forces[span])[learnt].ravel())
    return {
        'rmse_energy_eV_per_atom': _root_mean_square(np.array(energy)),
        'rmse_forces_eV_per_A': _root_mean_square(np.concatenate([np.zeros(0), *forces])),
    }


def _root_mean_square(values: Array) -> float | None:
    return float(np.sqrt(np.mean(values**2))) if len(values) else None


def grade_quantiles(frames: Frames, potential: AcePotential, active_set: ActiveSet) -> dict[str, float | None]:
    """Return quantiles of γ over the atoms that give rows, None where not finite."""
    grades = [np.zeros(0)]
    for index in range(len(frames)):
        if labelled_kinds(frames, index):
            atoms = frames.atoms(index)
            gamma = evaluate(potential, atoms, active_set=active_set).gamma
            assert gamma is not None
            learnt = (frames.force_weight[frames.span(index)] > 0) & ~atoms_too_close(atoms, potential)
            grades.append(gamma[learnt])
    pooled = np.concatenate(grades)
    if not len(pooled):
        return {}
    values = {name: float(np.quantile(pooled, level, method='higher')) for name, level in QUANTILES.items()}
    return {name: value if np.isfinite(value) else None for name, value in values.items()}


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


def short_range_report(potential: AcePotential, baseline: PairBaseline) -> dict[str, dict[str, Any]]:
    """Return by pair whether the dimer of student + baseline is repulsive from 0.5 Å to 0.7 of the covalent sum.

    ``weakest_slope_eV_per_A``: the largest dE/dr in that range, negative where the pair is repulsive everywhere.
    """
    report = {}
    for first, second in combinations_with_replacement(potential.elements, 2):
        end = REPULSIVE_FRACTION * float(sum(covalent_radii[atomic_numbers[symbol]] for symbol in (first, second)))
        slopes = []
        for distance in np.linspace(SHORTEST, max(end, SHORTEST), 60):
            atoms = Atoms([first, second], positions=[[0.0, 0.0, 0.0], [0.0, 0.0, distance]])
            pull = evaluate(potential, atoms).forces[0, 2] + baseline.evaluate(atoms)[1][0, 2]
            slopes.append(float(pull))
        weakest = max(slopes)
        report[f'{first}-{second}'] = {'repulsive': weakest < 0.0, 'weakest_slope_eV_per_A': weakest}
    return report
