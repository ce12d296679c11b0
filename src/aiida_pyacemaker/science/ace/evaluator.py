"""Energies, forces, stress, projections and γ of an ACE potential: of neighbour lists and of structures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..neighbours import VerletList, pairs_of
from .engine.compiled import compiled
from .engine.run import NeighbourList, Sums, evaluate_list

if TYPE_CHECKING:
    from ase import Atoms

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


def checked_list(species_index: Any, first_index: Any, neighbour_index: Any, vectors: Any) -> NeighbourList:
    """Return the list in the kernels' types; `ValueError` where its arrays do not fit: kernels check nothing."""
    first = np.ascontiguousarray(first_index, dtype=np.int64)
    neighbour = np.ascontiguousarray(neighbour_index, dtype=np.int64)
    pairs = np.ascontiguousarray(vectors, dtype=float)
    species = np.ascontiguousarray(species_index, dtype=np.int64)
    fits = pairs.shape == (len(neighbour), 3) and 0 < len(first) <= len(species) + 1 and first[0] >= 0
    if not fits or first[-1] > len(neighbour) or np.any(first[1:] < first[:-1]):
        raise ValueError(
            f'neighbour list has first_index {first.shape} ending in {first[-1:]}, neighbour_index {neighbour.shape}, '
            f'vectors {pairs.shape} for {len(species)} atoms, expected (n_centres + 1,), (p,), (p, 3) and n_centres '
            'not above the atoms: pass compressed rows.'
        )
    if len(neighbour) and not 0 <= neighbour.min() <= neighbour.max() < len(species):
        raise ValueError(
            f'neighbour_index is from {neighbour.min()} to {neighbour.max()}, expected rows of {len(species)} atoms.'
        )
    return NeighbourList(species, first, neighbour, pairs)


def evaluate_list_of(potential: AcePotential, given: NeighbourList, *, with_projections: bool) -> Sums:
    """Evaluate a list; energies get their reference."""
    count = len(potential.elements)
    if len(given.species) and not 0 <= given.species.min() <= given.species.max() < count:
        raise ValueError(f'species_index is outside 0 to {count - 1}, the elements of the potential.')
    found = evaluate_list(compiled(potential), given, with_projections=with_projections)
    reference = np.array([potential.reference_energies[element] for element in potential.elements])
    return found._replace(energies=found.energies + reference[given.species[: len(found.energies)]])


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
    a bond's cut-off are skipped, so a list with skin is fine. Same input, same bits, on any number of threads
    (``OMP_NUM_THREADS``).
    """
    given = checked_list(species_index, first_index, neighbour_index, vectors)
    found = evaluate_list_of(potential, given, with_projections=with_projections)
    return NeighbourEvaluation(
        energies=found.energies,
        forces=found.forces,
        virial=found.virials.sum(axis=0),
        projections=found.projections,
    )


def neighbours_of(atoms: Atoms, cutoff: float) -> tuple[Index, Index, Array]:
    """Return first_index (n + 1,), neighbour_index (p,) and vectors (p, 3) Å of all pairs below ``cutoff``."""
    pairs = pairs_of(atoms.positions, np.asarray(atoms.cell), atoms.pbc, cutoff)
    return pairs.starts, pairs.second, pairs.vectors


def evaluate(
    potential: AcePotential,
    atoms: Atoms,
    *,
    active_set: GradesProjections | None = None,
    with_projections: bool = False,
    neighbours: VerletList | None = None,
) -> Evaluation:
    """
    Evaluate one structure; with an active set also the projections and γ. `ValueError` for an unknown element.

    ``neighbours``: a list of the largest cut-off, kept from structure to structure; without it one is made.
    """
    species = potential.species_index(atoms.get_chemical_symbols())
    wanted = with_projections or active_set is not None
    if not (np.isfinite(atoms.positions).all() and np.isfinite(np.asarray(atoms.cell)).all()):
        return _non_finite(potential, species, wanted, active_set is not None)
    structure = (atoms.positions, np.asarray(atoms.cell), atoms.pbc)
    pairs = pairs_of(*structure, potential.cutoff) if neighbours is None else neighbours.pairs(*structure)
    given = checked_list(species, pairs.starts, pairs.second, pairs.vectors)
    found = evaluate_list_of(potential, given, with_projections=wanted)
    rows = None if found.projections is None else split(found.projections, species, potential.n_functions)
    return Evaluation(
        energies=found.energies,
        forces=found.forces,
        stress=found.virials.sum(axis=0) * (-1.0 / atoms.get_volume() if atoms.pbc.all() else np.nan),
        projections=rows,
        gamma=None if active_set is None else active_set.gamma(species, rows),
    )


def split(projections: Array, species: Index, n_functions: tuple[int, ...]) -> list[Array]:
    """Cut the padding off each row."""
    return [row[: n_functions[element]] for row, element in zip(projections, species, strict=True)]


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
