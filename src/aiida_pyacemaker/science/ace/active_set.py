"""Active sets of ACE: the environments that span what was learnt, and the extrapolation grade γ they give."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import blas, qr, solve

if TYPE_CHECKING:
    from ase import Atoms

    from .potential import AcePotential

Array = NDArray[np.float64]

POPULATED = 1e-12  # a function whose largest |B| over all candidates is below this was never populated
RANK_TOLERANCE = 1e-9  # relative pivot (columns scaled to largest |B| = 1) below which a direction was never seen
SWAP_TOLERANCE = 1.01  # MaxVol stops when no candidate has a grade above this
NOT_FINITE = 'environments of an active set hold NaN or inf: check the training geometries'
PASSES = 10  # at most, over structures that can be gone through again
BUFFERED = 2000  # environments a stream holds before MaxVol thins them out (at least four times the functions)


class TooFewEnvironments(ValueError):
    """The environments of an element do not span its functions."""


class ActiveRows(NamedTuple):
    """The rows of largest volume: chosen: (r,) ascending row numbers; inverse: (N, N); n_unpopulated: functions."""

    chosen: NDArray[np.int64]
    inverse: Array
    n_unpopulated: int


class Coverage(NamedTuple):
    """How far an active set was seen: N functions, r active environments, functions that no atom populated.

    N - r - n_unpopulated directions are completed: no environment showed them.
    """

    n_functions: int
    n_active: int
    n_unpopulated: int


@dataclass(frozen=True, kw_only=True)
class ActiveSet:
    """Inverses of the active sets, one per element in the potential's order.

    inverses: element -> (N, N), the inverse of the matrix whose rows are the B projections of the active atoms;
    γ = max_k |Σ_j B_j inverse[j, k]| (Lysogorskiy et al., Phys. Rev. Materials 7, 043801, 2023);
    coverage: element -> :class:`Coverage` of a set that was built here, empty for one that was read.
    """

    inverses: Mapping[str, Array]
    coverage: Mapping[str, Coverage] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> ActiveSet:
        """Read pacemaker's ``.asi`` (an npz of one square array an element); ``ValueError`` names what is wrong."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                inverses = {name: np.asarray(archive[name], dtype=np.float64) for name in archive.files}
        except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f'{path} is not an active set (.asi): {error}; expected an npz that is whole') from error
        if not inverses:
            raise ValueError(f'{path} is not an active set (.asi): it holds no element')
        for name, matrix in inverses.items():
            if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
                raise ValueError(f'{path}: active set of {name} has shape {matrix.shape}, expected a square matrix')
            if not np.isfinite(matrix).all():
                raise ValueError(f'{path}: active set of {name} holds NaN or inf: build it again')
        return cls(inverses=inverses)

    def of(self, potential: AcePotential) -> ActiveSet:
        """Return the same set with its elements in the order of ``potential``, which :meth:`gamma` counts on.

        ``ValueError`` when elements or numbers of functions differ: the set was built for another potential. Another
        potential of the same shape is told by the canary (``science.student``).
        """
        expected = _sizes(potential)
        found = {element: len(matrix) for element, matrix in self.inverses.items()}
        if found != expected:
            raise ValueError(
                f'active set has {_counts(found)} functions, the potential {_counts(expected)}: it was built for '
                'another potential, give the .asi that was written with this one'
            )
        return ActiveSet(inverses={element: self.inverses[element] for element in expected}, coverage=self.coverage)

    def check_complete(self) -> None:
        """Raise :class:`TooFewEnvironments` when an element has fewer active environments than populated functions."""
        for element, seen in self.coverage.items():
            needed = seen.n_functions - (seen.n_unpopulated if seen.n_active else 0)
            if seen.n_active < needed:
                raise TooFewEnvironments(
                    f'{seen.n_active or "no"} independent environment{"s" * (seen.n_active > 1)} of {element} with '
                    f'weight > 0 among the training atoms, expected {needed} (one for each of its functions): add '
                    f'frames with more varied surroundings of {element}, take number_of_functions_per_element below '
                    'it, or set complete_active_set, which gives huge grades to what was never seen'
                )

    def write(self, path: str | Path) -> None:
        """Write pacemaker's ``.asi``, which LAMMPS reads too."""
        arrays: dict[str, Any] = {name: np.ascontiguousarray(matrix) for name, matrix in self.inverses.items()}
        with Path(path).open('wb') as handle:
            np.savez(handle, **arrays)

    def gamma(self, species: ArrayLike, projections: Sequence[Array]) -> Array:
        """Return (n,) γ of atoms; a grade that is not finite is inf.

        species: (n,) index of each atom's element in ``inverses``; projections: n arrays (N of that element,).
        """
        kinds = np.asarray(species, dtype=np.int64)
        grades = np.full(len(kinds), np.inf)
        for index, matrix in enumerate(self.inverses.values()):
            members = np.flatnonzero(kinds == index)
            if len(members):
                grades[members] = grade_rows(np.array([projections[int(atom)] for atom in members]), matrix)
        return grades


def grade_rows(rows: Array, inverse: Array) -> Array:
    """Return (n,) γ of n rows of B projections (n, N) of one element, non-finite as inf."""
    with np.errstate(invalid='ignore', over='ignore'):
        grades = np.abs(rows @ inverse).max(axis=1, initial=0.0)
    return np.where(np.isfinite(grades), grades, np.inf)


def _sizes(potential: AcePotential) -> dict[str, int]:
    return dict(zip(potential.elements, map(int, potential.n_functions), strict=True))


def _counts(functions: Mapping[str, int]) -> str:
    return ', '.join(f'{element} {count}' for element, count in functions.items())


def build_active_set(candidates: Mapping[str, Array], *, complete: bool = False) -> ActiveSet:
    """Return the MaxVol active set of candidate rows, element -> (M, N) of atoms with weight > 0.

    Every populated function needs an independent environment of its own; fewer is :class:`TooFewEnvironments`, which
    says how many are needed. ``complete`` allows fewer (one at least): unseen directions then get huge grades.
    """
    selections = {element: select_active(rows) for element, rows in candidates.items()}
    coverage = {
        element: Coverage(candidates[element].shape[1], len(found.chosen), found.n_unpopulated)
        for element, found in selections.items()
    }
    built = ActiveSet(inverses={element: found.inverse for element, found in selections.items()}, coverage=coverage)
    if not complete or any(not seen.n_active for seen in coverage.values()):
        built.check_complete()
    return built


def active_set_from(potential: AcePotential, structures: Iterable[Atoms], *, complete: bool = False) -> ActiveSet:
    """Return the active set of the atoms with weight > 0 (array ``force_weight``, 1 where missing) of ``structures``.

    One structure is held at a time. What can be iterated again (a list, not a generator) is gone through until no
    atom has a grade above SWAP_TOLERANCE, PASSES times at most; a generator once. Errors are those of
    :func:`build_active_set`; ``ValueError`` names the structure with an unknown element or values that are not finite.
    """
    streams = [CandidateStream(count) for count in potential.n_functions]

    def environments() -> Iterator[tuple[int, Array]]:
        for number, atoms in enumerate(structures):
            try:
                counts = np.asarray(atoms.arrays.get('force_weight', np.ones(len(atoms)))) > 0
                yield from environments_of(potential, atoms, counts)
            except ValueError as error:
                raise ValueError(f'structure {number}: {error}') from error

    fill(streams, environments, passes=1 if iter(structures) is structures else PASSES)
    return build_active_set(results_of(streams, potential), complete=complete)


def environments_of(potential: AcePotential, atoms: Atoms, counts: NDArray[np.bool_]) -> Iterator[tuple[int, Array]]:
    """Yield element index and B projections (k, N) of the atoms that count, (n,); `ValueError` where not finite."""
    from .evaluator import evaluate

    projections = evaluate(potential, atoms, with_projections=True).projections or []
    species = potential.species_index(atoms.get_chemical_symbols())
    for element in np.unique(species[counts]).tolist():
        rows = np.array([projections[atom] for atom in np.flatnonzero((species == element) & counts)])
        if not np.isfinite(rows).all():
            raise ValueError(NOT_FINITE)
        yield element, rows


def fill(
    streams: Sequence[CandidateStream],
    environments: Callable[[], Iterable[tuple[int, Array]]],
    *,
    passes: int = PASSES,
) -> None:
    """Add all environments, element index and rows, to the streams; again until none changes, ``passes`` at most.

    Then none of them has a grade above SWAP_TOLERANCE in the active rows (a single pass leaves some at 1.5 or so).
    """
    for _ in range(passes):
        for element, rows in environments():
            streams[element].add(rows)
        if not any([stream.settle() for stream in streams]):
            break


def results_of(streams: Sequence[CandidateStream], potential: AcePotential) -> dict[str, Array]:
    """Return element -> the environments that its stream has kept."""
    return {element: stream.result() for element, stream in zip(potential.elements, streams, strict=True)}


class CandidateStream:
    """Environments of one element that arrive in pieces, thinned out to those that may be active.

    A row of grade ≤ SWAP_TOLERANCE in the active rows so far would not be taken by MaxVol and is left out; the others
    are held and thinned out by MaxVol when there are max(BUFFERED, 4 N): memory is bounded however many arrive. A
    row left out early may have a larger grade in the active rows at the end: passing all rows again, until
    :meth:`settle` is False, leaves none.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows = np.zeros((0, width))
        self._pieces: list[Array] = []
        self._inverse: Array | None = None
        self._limit = max(BUFFERED, 4 * width)
        self._held = 0
        self._changed = False

    def add(self, rows: Array) -> None:
        """Append (k, N) environments; ``ValueError`` for one that is not finite."""
        if not np.isfinite(rows).all():
            raise ValueError(NOT_FINITE)
        if self._inverse is not None:
            rows = rows[grade_rows(rows, self._inverse) > SWAP_TOLERANCE]
        if len(rows):
            self._pieces.append(np.array(rows))
            self._held += len(rows)
        if self._held >= self._limit:
            self._thin()

    def settle(self) -> bool:
        """Return whether the active rows have changed since the last call while other rows were left out."""
        everything_held = self._inverse is None
        if self._held and (self._inverse is not None or self._held > self.width):
            self._thin()
        changed, self._changed = self._changed and not everything_held, False
        return changed

    def result(self) -> Array:
        """Return (m ≤ N, N): all environments when there are at most N, else the active ones."""
        self.settle()
        return np.concatenate([self.rows, *self._pieces])

    def _thin(self) -> None:
        table = np.concatenate([self.rows, *self._pieces])
        chosen, self._inverse, _ = select_active(table, start=np.arange(len(self.rows)))
        self.rows, self._pieces, self._held = table[chosen], [], 0
        self._changed = True


def select_active(candidates: Array, *, start: ArrayLike = ()) -> ActiveRows:
    """Return the rows of largest volume and the inverse of the completed active matrix.

    candidates: (M, N) B projections. Columns are scaled by their largest |B|; the rank r counts the pivots
    of a pivoted QR above ``RANK_TOLERANCE`` of the first. MaxVol picks r rows in the r seen directions. The matrix
    is completed to N x N by an orthonormal basis of the N - r unseen directions times ``RANK_TOLERANCE``, as if
    an environment of that small size had been seen: γ there is the component divided by that. A function that was
    never populated is such a direction by itself and gets 1/``RANK_TOLERANCE`` on its diagonal.
    ``start``: independent rows to begin from where they are r, so that their volume can only grow.
    Errors: ``ValueError`` for non-finite candidates.
    """
    if not np.isfinite(candidates).all():
        raise ValueError(NOT_FINITE)
    n_functions = candidates.shape[1]
    largest = np.abs(candidates).max(axis=0, initial=0.0)
    seen = np.flatnonzero(largest > POPULATED)
    inverse = np.zeros((n_functions, n_functions))
    silent = np.setdiff1d(np.arange(n_functions), seen)
    inverse[silent, silent] = 1.0 / RANK_TOLERANCE
    if not len(seen):
        return ActiveRows(np.zeros(0, dtype=np.int64), inverse, len(silent))
    scaled = candidates[:, seen] / largest[seen]
    basis, triangle, pivots = qr(scaled.T, pivoting=True, check_finite=False)
    diagonal = np.abs(np.diag(triangle))
    rank = int(np.count_nonzero(diagonal > RANK_TOLERANCE * diagonal[0]))
    coordinates = scaled @ basis[:, :rank]
    chosen = maximise_volume(coordinates, start if np.size(start) == rank else pivots[:rank])
    columns = np.empty((len(seen), len(seen)))
    columns[:, :rank] = basis[:, :rank] @ np.linalg.inv(coordinates[chosen])
    columns[:, rank:] = basis[:, rank:] / RANK_TOLERANCE
    inverse[np.ix_(seen, seen)] = columns / largest[seen, None]
    return ActiveRows(np.sort(chosen), inverse, len(silent))


def maximise_volume(rows: Array, start: ArrayLike, *, tolerance: float = SWAP_TOLERANCE) -> NDArray[np.int64]:
    """Return r of the (M, r) rows whose square matrix no single exchange enlarges by more than ``tolerance``.

    Starts from the r rows ``start`` (they must be independent) and exchanges the row of the largest grade until
    all |rows @ inverse(rows[chosen])| ≤ tolerance (MaxVol, Goreinov et al., 2010).
    """
    chosen = np.array(start, dtype=np.int64)
    count = len(chosen)
    while True:
        # column i holds the coordinates of row i in the chosen rows; computed afresh against round-off of the updates
        grades = np.asfortranarray(solve(rows[chosen].T, rows.T, check_finite=False))
        for swap in range(4 * count + 1):
            column, place = divmod(int(blas.idamax(grades.ravel(order='K'))), count)
            largest = grades[place, column]
            if not abs(largest) > tolerance:
                if swap == 0:
                    return chosen
                break
            direction = grades[:, column].copy()
            direction[place] -= 1.0
            grades = blas.dger(-1.0 / largest, direction, grades[place].copy(), a=grades, overwrite_a=1)
            chosen[place] = column
