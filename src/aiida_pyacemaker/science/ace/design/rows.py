"""Rows of the linear problem of one structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..evaluator import neighbours_of
from .design_kernels import design_centres
from .plan import compile_design

if TYPE_CHECKING:
    from ase import Atoms

    from ..potential import AcePotential

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class DesignRows:
    """
    Derivatives by the coefficients; reference energies are not in them.

    energy: (P,); forces: (m, 3, P) 1/Å of the m atoms asked for; stress: (6, P) 1/Å³, NaN unless periodic in three
    directions; projections: list of m arrays (n_functions[species],). Where only some atoms are asked for, energy
    and stress are NaN: not all centres were visited.
    """

    energy: Array
    forces: Array
    stress: Array
    projections: list[Array]


def design_rows(potential: AcePotential, atoms: Atoms, *, core: NDArray[np.bool_] | None = None) -> DesignRows:
    """
    Return the rows of one structure; with ``core`` (n,) only the force rows of those atoms.

    Then only centres that a core atom moves are visited. `ValueError` for an unknown element, a potential that
    is not linear, or positions that are not finite.
    """
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell).all()):
        raise ValueError('positions or cell hold NaN or inf, expected finite numbers: remove the structure.')
    _ = potential.linear_coefficients  # refuses what has no rows
    species, plan, count = potential.species_index(atoms.get_chemical_symbols()), compile_design(potential), len(atoms)
    first, neighbour, vectors = neighbours_of(atoms, potential.cutoff)
    lists = (first.astype(np.int64), neighbour.astype(np.int64), vectors, species)
    neighbours = tuple(np.ascontiguousarray(part) for part in lists)
    asked = np.ones(count, dtype=bool) if core is None else np.asarray(core, dtype=bool)
    wanted = np.where(asked, np.cumsum(asked) - 1, -1)
    near = asked.copy()
    np.logical_or.at(near, np.repeat(np.arange(count), np.diff(first)), asked[neighbour])
    n_wanted, n_parameters = int(asked.sum()), int(plan.offsets[-1])
    energy, virial = np.zeros(n_parameters), np.zeros((6, n_parameters))
    forces = np.zeros((n_wanted, 3, n_parameters))
    projections = np.zeros((n_wanted, max(potential.n_functions)))
    for index, element in enumerate(plan.elements):
        centres = np.flatnonzero(near & (species == index))
        columns = (int(plan.offsets[index]), int(plan.offsets[index + 1]))
        largest = min(int(np.diff(first)[centres].max(initial=1)), count)
        scratch = plan.scratch(element, potential.n_functions[index], largest, count)
        results = (energy, forces, virial, projections)
        design_centres(centres, neighbours, plan.basis, element, wanted, scratch, columns, results)
    if not asked.all():
        energy[:] = np.nan
    whole = asked.all() and atoms.pbc.all()
    return DesignRows(
        energy=energy,
        forces=forces,
        stress=virial * (-1.0 / atoms.get_volume()) if whole else np.full_like(virial, np.nan),
        projections=[row[: potential.n_functions[kind]] for row, kind in zip(projections, species[asked], strict=True)],
    )
