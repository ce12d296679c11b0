"""Shortest vectors between atoms of one cell, made ready once for many questions."""

from __future__ import annotations

import numpy as np
from ase.geometry import complete_cell, minkowski_reduce
from numpy.typing import ArrayLike, NDArray

NEIGHBOURS = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T


class ShortestVectors:
    """Minimum images in a periodic cell, exact: of a Minkowski-reduced cell only the next images can be nearer.

    Vectors without a period are made normal to the others first: along a slanted one no image would be the nearest.
    """

    def __init__(self, cell: ArrayLike, pbc: ArrayLike) -> None:
        periodic = np.broadcast_to(np.asarray(pbc, dtype=bool), 3)
        normal = np.where(periodic[:, None], np.asarray(cell, dtype=float), 0.0)
        self._cell, _ = minkowski_reduce(complete_cell(normal), periodic)
        self._inverse = np.linalg.inv(self._cell)
        self._wrap = periodic
        around = NEIGHBOURS[(NEIGHBOURS[:, ~periodic] == 0).all(axis=1)]
        self._shifts = around @ self._cell

    def lengths(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (...,) Å, the length of the shortest image of each of ``vectors`` (..., 3) Å."""
        fractional = vectors @ self._inverse
        inside = vectors - np.where(self._wrap, np.round(fractional), 0.0) @ self._cell
        images = inside[..., None, :] + self._shifts
        shortest: NDArray[np.float64] = np.sqrt((images**2).sum(axis=-1).min(axis=-1))
        return shortest
