# mypy: allow-untyped-defs
"""Vectors of the pairs of a held neighbour list."""

from __future__ import annotations

from numba import njit


@njit(cache=True, error_model='numpy', nogil=True)
def near_pairs(rows, neighbours, shifts, positions, cutoff, starts, found, vectors):
    """
    Fill rows, neighbours and vectors of the pairs closer than ``cutoff`` and return how many there are.

    rows: (n + 1,) of the held list; neighbours: (p,); shifts: (p, 3); positions: (n, 3); starts: (n + 1,), found: (p,)
    and vectors: (p, 3) have room for all. A distance that is not a number counts as near.
    """
    count = 0
    for i in range(rows.shape[0] - 1):
        starts[i] = count
        x, y, z = positions[i, 0], positions[i, 1], positions[i, 2]
        for p in range(rows[i], rows[i + 1]):
            j = neighbours[p]
            dx = positions[j, 0] - x + shifts[p, 0]
            dy = positions[j, 1] - y + shifts[p, 1]
            dz = positions[j, 2] - z + shifts[p, 2]
            found[count] = j
            vectors[count, 0], vectors[count, 1], vectors[count, 2] = dx, dy, dz
            count += not dx * dx + dy * dy + dz * dz >= cutoff * cutoff
    starts[rows.shape[0] - 1] = count
    return count
