"""Active sets of linear ACE: the environments that span what was learnt, and the extrapolation grade γ they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import blas, qr, solve

Array = NDArray[np.float64]

POPULATED = 1e-12  # a function whose largest |B| over all candidates is below this was never populated
RANK_TOLERANCE = 1e-9  # relative pivot (columns scaled to largest |B| = 1) below which a direction was never seen
SWAP_TOLERANCE = 1.01  # MaxVol stops when no candidate has a grade above this


class TooFewEnvironments(ValueError):
    """There is no environment of an element to build an active set from."""


@dataclass(frozen=True, kw_only=True)
class ActiveSet:
    """Inverses of the active sets, one per element in the potential's order.

    inverses: element -> (N, N), the inverse of the matrix whose rows are the B projections of the active atoms;
    γ = max_k |Σ_j B_j inverse[j, k]| (Lysogorskiy et al., Phys. Rev. Materials 7, 043801, 2023).
    """

    inverses: Mapping[str, Array]

    @classmethod
    def read(cls, path: str | Path) -> ActiveSet:
        """Read pacemaker's ``.asi`` (an npz of one square array an element); ``ValueError`` names what is wrong."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                inverses = {name: np.asarray(archive[name], dtype=np.float64) for name in archive.files}
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f'{path} is not an active set (.asi): {error}') from error
        for name, matrix in inverses.items():
            if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
                raise ValueError(f'{path}: active set of {name} has shape {matrix.shape}, expected a square matrix')
        return cls(inverses=inverses)

    def write(self, path: str | Path) -> None:
        """Write pacemaker's ``.asi``, which LAMMPS reads too."""
        with Path(path).open('wb') as handle:
            np.savez(handle, allow_pickle=False, **{name: np.asarray(matrix) for name, matrix in self.inverses.items()})

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


def build_active_set(candidates: Mapping[str, Array]) -> ActiveSet:
    """Return the MaxVol active set of candidate rows, element -> (M, N); :class:`TooFewEnvironments` when M is 0."""
    for element, rows in candidates.items():
        if not len(rows):
            raise TooFewEnvironments(
                f'no environment of {element} with weight > 0 among the training atoms, expected at least 1 and for '
                f'a complete active set {rows.shape[1]} (its number of functions): add frames with {element}'
            )
    return ActiveSet(inverses={element: select_active(rows)[1] for element, rows in candidates.items()})


def select_active(candidates: Array) -> tuple[NDArray[np.int64], Array]:
    """Return the rows of largest volume and the inverse of the completed active matrix.

    candidates: (M, N) B projections, M ≥ 1. Columns are scaled by their largest |B|; the rank r counts the pivots
    of a pivoted QR above ``RANK_TOLERANCE`` of the first. MaxVol picks r rows in the r seen directions. The matrix
    is completed to N x N by an orthonormal basis of the N - r unseen directions times ``RANK_TOLERANCE``, as if
    an environment of that small size had been seen: γ there is the component divided by that. A function that was
    never populated is such a direction by itself and gets 1/``RANK_TOLERANCE`` on its diagonal.
    Returns chosen: (r,) ascending row numbers; inverse: (N, N). Errors: ``ValueError`` for non-finite candidates.
    """
    if not np.isfinite(candidates).all():
        raise ValueError('candidate rows of an active set hold NaN or inf: check the training geometries')
    n_functions = candidates.shape[1]
    largest = np.abs(candidates).max(axis=0, initial=0.0)
    seen = np.flatnonzero(largest > POPULATED)
    inverse = np.zeros((n_functions, n_functions))
    silent = np.setdiff1d(np.arange(n_functions), seen)
    inverse[silent, silent] = 1.0 / RANK_TOLERANCE
    if not len(seen):
        return np.zeros(0, dtype=np.int64), inverse
    scaled = candidates[:, seen] / largest[seen]
    basis, triangle, pivots = qr(scaled.T, pivoting=True, check_finite=False)
    diagonal = np.abs(np.diag(triangle))
    rank = int(np.count_nonzero(diagonal > RANK_TOLERANCE * diagonal[0]))
    coordinates = scaled @ basis[:, :rank]
    chosen = maximise_volume(coordinates, pivots[:rank])
    columns = np.empty((len(seen), len(seen)))
    columns[:, :rank] = basis[:, :rank] @ np.linalg.inv(coordinates[chosen])
    columns[:, rank:] = basis[:, rank:] / RANK_TOLERANCE
    inverse[np.ix_(seen, seen)] = columns / largest[seen, None]
    return np.sort(chosen), inverse


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
