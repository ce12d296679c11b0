"""Energies, forces, stress and projections of a linear ACE potential."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from ase.geometry import complete_cell
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray

from .ace_kernels import evaluate_centres

if TYPE_CHECKING:
    from ase import Atoms

    from .plan import ElementPlan, Plan
    from .potential import AcePotential

Array = NDArray[np.float64]
Index = NDArray[np.int64]


class GradesProjections(Protocol):
    """What `evaluate` needs of an active set."""

    def gamma(self, species: Index, projections: Any) -> Array:
        """Return the extrapolation grade of each atom, (n,)."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class NeighbourEvaluation:
    """
    Result of `evaluate_neighbours`.

    energies: (n_centres,) eV, reference energies included; forces: (n_atoms, 3) eV/Å; virial: (6,) eV, Σ r ⊗ f in
    Voigt order xx yy zz yz xz xy (stress = -virial/volume); projections: (n_centres, largest n_functions), padded
    with 0, or None.
    """

    energies: Array
    forces: Array
    virial: Array
    projections: Array | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """
    Result of `evaluate`.

    energies: (n,) eV, reference energies included; forces: (n, 3) eV/Å; stress: (6,) eV/Å³, ASE sign and Voigt
    order, NaN unless periodic in three directions; projections: list of (n_functions[species],) or None; gamma: (n,)
    or None.
    """

    energies: Array
    forces: Array
    stress: Array
    projections: list[Array] | None
    gamma: Array | None


def _scratch(plan: Plan, first_index: Index) -> tuple[Any, ...]:
    """Allocate the work arrays for the largest neighbourhood, in the order the kernels unpack."""
    largest = int(np.diff(first_index).max(initial=0)) + 1
    width = (largest + 7) // 8 * 8
    n_elements = len(plan.elements)
    n_radial = plan.tables.shape[3]
    n_values = max(len(e.slots) + len(e.nodes) for e in plan.elements)
    return (
        np.zeros(width, dtype=np.int64),
        np.zeros(n_elements + 1, dtype=np.int64),
        np.zeros((3, width)),
        np.zeros(width),
        np.zeros((n_radial, width)),
        np.zeros((n_radial, width)),
        np.zeros(((plan.l_max + 1) * (plan.l_max + 2), width)),
        np.zeros((2, plan.l_max + 2, width)),
        np.zeros((2, (plan.l_max + 1) ** 2, width)),
        np.zeros((2, n_values)),
        np.zeros((2, n_values)),
        np.zeros((4, width)),
        np.zeros((4, width)),
    )


def _arguments(plan: Plan) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the basis and layout tuples of the kernels."""
    basis = (plan.tables, plan.cutoffs, plan.bin_width, len(plan.elements))
    return basis, (plan.n_base, plan.n_max, plan.l_max, plan.ylm_factors)


def _element_arguments(element: ElementPlan) -> tuple[Any, ...]:
    """Return the element tuple of the kernels."""
    products = (element.slots, element.conjugate, element.nodes, element.terms)
    return (*products, element.first, element.term_of, element.weights, element.rank_one)


def _checked_neighbours(species_index: Any, first_index: Any, neighbour_index: Any, vectors: Any) -> tuple[Any, ...]:
    """Return the neighbour arrays in the kernels' types; `ValueError` where they do not fit together."""
    first = np.ascontiguousarray(first_index, dtype=np.int64)
    neighbour = np.ascontiguousarray(neighbour_index, dtype=np.int64)
    pairs = np.ascontiguousarray(vectors, dtype=float)
    species = np.ascontiguousarray(species_index, dtype=np.int64)
    if pairs.shape != (len(neighbour), 3) or first[-1] > len(neighbour) or len(first) > len(species) + 1:
        raise ValueError(
            f'neighbour list has first_index {first.shape} ending in {first[-1]}, neighbour_index {neighbour.shape}, '
            f'vectors {pairs.shape} for {len(species)} atoms, expected (n_centres + 1,), (p,), (p, 3) and n_centres '
            'not above the atoms: pass compressed rows.'
        )
    return first, neighbour, pairs, species


def evaluate_neighbours(
    potential: AcePotential,
    species_index: Index,
    first_index: Index,
    neighbour_index: Index,
    vectors: Array,
    *,
    with_projections: bool = False,
) -> NeighbourEvaluation:
    """
    Evaluate the centres 0..n_centres-1 with a given neighbour list.

    species_index: (n_atoms,) element of every atom, centres first, ghosts after; first_index: (n_centres + 1,) rows
    of the list; neighbour_index: (p,) atom of each entry; vectors: (p, 3) Å from centre to neighbour. Entries beyond
    a bond's cut-off are skipped, so a list with skin is fine. Same input, same bits.
    """
    plan = potential.plan
    neighbours = _checked_neighbours(species_index, first_index, neighbour_index, vectors)
    first, species = neighbours[0], neighbours[3]
    n_centres = len(first) - 1
    largest = max(potential.n_functions)
    energies, forces, virial = np.zeros(n_centres), np.zeros((len(species), 3)), np.zeros((3, 3))
    projections = np.zeros((n_centres if with_projections else 0, largest))
    scratch = _scratch(plan, first)
    basis, layout = _arguments(plan)
    reference = np.array([potential.reference_energies[element] for element in potential.elements])
    for index, element in enumerate(plan.elements):
        centres = np.flatnonzero(species[:n_centres] == index)
        evaluate_centres(
            centres,
            neighbours,
            basis,
            _element_arguments(element),
            potential.term_coefficients[index],
            layout,
            scratch,
            (energies, forces, virial, projections),
        )
    return NeighbourEvaluation(
        energies=energies + reference[species[:n_centres]],
        forces=forces,
        virial=_voigt(virial),
        projections=projections if with_projections else None,
    )


def neighbours_of(atoms: Atoms, cutoff: float) -> tuple[Any, Any, Any]:
    """Return first_index (n + 1,), neighbour_index (p,) and vectors (p, 3) Å of all pairs below ``cutoff``."""
    cell, origin = np.array(atoms.cell), np.zeros(3)
    flat = np.flatnonzero(~atoms.pbc & (np.linalg.norm(cell, axis=1) < 1e-8))
    if len(flat):
        cell = complete_cell(cell)
        for axis in flat:
            along = atoms.positions @ cell[axis]
            origin += along.min() * cell[axis]
            cell[axis] *= np.ptp(along) + 1.0
    centre, neighbour, vectors = neighbour_list(
        'ijD', positions=atoms.positions, cell=cell, pbc=atoms.pbc, cell_origin=origin, cutoff=cutoff
    )
    counts = np.bincount(centre, minlength=len(atoms))
    return np.concatenate([[0], np.cumsum(counts)]), neighbour.astype(np.int64), vectors


def _voigt(tensor: Array) -> Array:
    """Return the symmetric part of (3, 3, ...) as (6, ...) in the order xx yy zz yz xz xy."""
    rows, columns = [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]
    return 0.5 * (tensor[rows, columns] + tensor[columns, rows])


def _stress_factor(atoms: Atoms) -> float:
    """Return -1/volume, or NaN where the structure is not periodic in three directions."""
    return -1.0 / atoms.get_volume() if atoms.pbc.all() else np.nan


def _split(projections: Array, species: Index, n_functions: tuple[int, ...]) -> list[Array]:
    """Cut the padding off each row."""
    return [row[: n_functions[element]] for row, element in zip(projections, species, strict=True)]


def evaluate(
    potential: AcePotential,
    atoms: Atoms,
    *,
    active_set: GradesProjections | None = None,
    with_projections: bool = False,
) -> Evaluation:
    """Evaluate one structure; with an active set also the projections and γ. `ValueError` for an unknown element."""
    species = potential.species_index(atoms.get_chemical_symbols())
    wanted = with_projections or active_set is not None
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell).all()):
        return _non_finite(potential, species, wanted, active_set is not None)
    first, neighbour, vectors = neighbours_of(atoms, potential.cutoff)
    found = evaluate_neighbours(potential, species, first, neighbour, vectors, with_projections=wanted)
    projections = None
    if found.projections is not None:
        projections = _split(found.projections, species, potential.n_functions)
    return Evaluation(
        energies=found.energies,
        forces=found.forces,
        stress=found.virial * _stress_factor(atoms),
        projections=projections,
        gamma=None if active_set is None else active_set.gamma(species, projections),
    )


def _non_finite(potential: AcePotential, species: Index, wanted: bool, graded: bool) -> Evaluation:
    """Return NaN everywhere and an infinite γ: no neighbour list exists of non-finite positions."""
    count = len(species)
    rows = [np.full(potential.n_functions[element], np.nan) for element in species]
    return Evaluation(
        energies=np.full(count, np.nan),
        forces=np.full((count, 3), np.nan),
        stress=np.full(6, np.nan),
        projections=rows if wanted else None,
        gamma=np.full(count, np.inf) if graded else None,
    )
