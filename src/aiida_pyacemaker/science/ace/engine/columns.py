"""Radial functions as node tables, packed as the kernels of the fast engine read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..model.core_repulsion import pair_core_density
from ..model.radial import base_functions, radial_functions
from .products import Slot

if TYPE_CHECKING:
    from ..model.radial import Bond
    from ..potential import AcePotential

Array = NDArray[np.float64]
Index = NDArray[np.int64]
LINE = 8  # floats of a cache line: vectors that start on one are loaded at once


def aligned(count: int) -> Array:
    """Return zeros (count,) that start on a cache line."""
    raw = np.zeros(count + LINE)
    return raw[-(raw.ctypes.data // 8) % LINE :][:count]


def rounded(count: int) -> int:
    """Return the next multiple of eight."""
    return -(-count // 8) * 8


@dataclass(frozen=True, kw_only=True)
class Columns:
    """
    Where the radial functions of all ordered element pairs are: columns of tables and tiles of A.

    Row a E + b is centre a, neighbour b. ``first`` and ``count`` (E², L + 1): columns of R_nl of one l;
    ``tiles`` (E², L + 1, L + 1): first tile of A_nlm, four n a tile; ``n_tiles`` of the largest element;
    ``pairs`` (E²,): first of the columns that act as pair functions; ``width`` (E²,): columns, a multiple of 8.
    """

    first: Index
    count: Index
    tiles: Index
    n_tiles: int
    pairs: Index
    width: Index

    @property
    def n_elements(self) -> int:
        """Number of elements E."""
        return math.isqrt(len(self.pairs))

    def place(self, element: int, slot: Slot) -> int:
        """Return the offset, in floats, of the real part of A_{μnlm}, m ≥ 0; the imaginary part is 32 later."""
        mu, n, ell, m = slot
        return (int(self.tiles[element * self.n_elements + mu, ell, m]) + n // 4) * 64 + n % 4 * 8


def arrange_columns(slots: list[list[Slot]], l_max: int, n_pair: int) -> Columns:
    """Give every radial function that an element's products use its column, every A_nlm its place in a tile."""
    n_elements = len(slots)
    count = np.zeros((n_elements**2, l_max + 1), dtype=np.int64)
    for a, mu, n, ell in ((a, mu, n, ell) for a, used in enumerate(slots) for mu, n, ell, _ in used):
        count[a * n_elements + mu, ell] = max(count[a * n_elements + mu, ell], n + 1)
    ends = np.cumsum(count, axis=1)
    needed = -(-count // 4)
    tiles = np.zeros((n_elements**2, l_max + 1, l_max + 1), dtype=np.int64)
    used_tiles = np.zeros(n_elements, dtype=np.int64)
    for row, ell in np.ndindex(count.shape):
        for m in range(ell + 1):
            tiles[row, ell, m] = used_tiles[row // n_elements]
            used_tiles[row // n_elements] += needed[row, ell]
    return Columns(
        first=ends - count,
        count=count,
        tiles=tiles,
        n_tiles=int(used_tiles.max()),
        pairs=ends[:, -1],
        width=np.array([rounded(int(end) + n_pair) for end in ends[:, -1]], dtype=np.int64),
    )


class Grid(NamedTuple):
    """
    Nodes of one bond's tables: bins of equal ``width`` Å up to the cut-off, as LAMMPS has them, and an empty one.

    Functions are 0 at the node of the cut-off, so that a jump there becomes a steep slope.
    """

    width: float
    n_bins: int

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return self.n_bins + 2

    @property
    def inside(self) -> Array:
        """Distances of the nodes below the cut-off, (n_bins,) Å."""
        return np.arange(self.n_bins) * np.float64(self.width)

    def scaled(self, functions: tuple[Array, Array]) -> Array:
        """Return nodes (n_bins, 2, functions) of values and slopes (functions, n_bins): slopes times the width."""
        return np.stack([functions[0].T, functions[1].T * self.width], axis=1)


def grid_of(bond: Bond, spacing: float) -> Grid:
    """Return the nodes of a bond: bins of at least ``spacing`` Å."""
    n_bins = int(bond.cutoff / spacing)
    return Grid(bond.cutoff / n_bins, n_bins)


def radial_tables(potential: AcePotential, columns: Columns) -> tuple[Array, Index]:
    """Return the node tables of all bonds, each (nodes, 2, width), one after the other, and their offsets."""
    bonds = [bond for _, bond in sorted(potential.bonds.items())]
    grids = [grid_of(bond, potential.bin_width) for bond in bonds]
    sizes = np.array([grid.n_nodes for grid in grids]) * 2 * columns.width
    offsets = np.cumsum(sizes) - sizes
    flat = aligned(int(sizes.sum()))
    for row, (bond, grid, offset) in enumerate(zip(bonds, grids, offsets, strict=True)):
        target = flat[offset:][: sizes[row]].reshape(grid.n_nodes, 2, -1)[: grid.n_bins]
        nodes = grid.scaled(radial_functions(grid.inside, bond))
        for ell, (first, count) in enumerate(zip(columns.first[row], columns.count[row], strict=True)):
            source = bond.n_base + ell * bond.n_max
            target[:, :, first : first + count] = nodes[:, :, source : source + count]
        a, b = divmod(row, columns.n_elements)
        pairs = int(columns.pairs[row])
        target[:, :, pairs : pairs + potential.n_densities] = nodes[:, :, : bond.n_base] @ rank_one(potential, a, b)
        if bond.core_repulsion[0] != 0.0:
            with np.errstate(divide='ignore', invalid='ignore', over='ignore'):  # no value at distance 0
                core = pair_core_density(grid.inside, bond, (potential.elements[a], potential.elements[b]))
                target[:, :, pairs + potential.n_densities] = grid.scaled(core)
    return flat, offsets


def rank_one(potential: AcePotential, centre: int, neighbour: int) -> Array:
    """Return the coefficients of the base functions themselves, (n_base, D)."""
    start = sum(potential.n_functions[:centre])
    found = np.zeros((potential.bonds[centre, neighbour].n_base, potential.n_densities))
    for f, coefficients in zip(potential.functions[centre], potential.coefficients[start:], strict=False):
        if f.mus == (neighbour,):
            found[f.ns[0] - 1] = coefficients
    return found


def base_tables(bonds: Sequence[Bond], spacing: float) -> tuple[Array, Index, int]:
    """Return the node tables of the base functions, (nodes, 2, width) each, offsets (E²,), width."""
    width = rounded(max(bond.n_base for bond in bonds))
    grids = [grid_of(bond, spacing) for bond in bonds]
    ends = np.cumsum([grid.n_nodes * 2 * width for grid in grids])
    flat, offsets = aligned(int(ends[-1])), np.concatenate([[0], ends[:-1]])
    for bond, grid, offset in zip(bonds, grids, offsets, strict=True):
        target = flat[offset:][: grid.n_nodes * 2 * width].reshape(-1, 2, width)
        target[: grid.n_bins, :, : bond.n_base] = grid.scaled(base_functions(grid.inside, bond))
    return flat, offsets, width


def harmonic_recursion(l_max: int) -> Array:
    """
    Return three factors for every (l, m) of √(4π) Y_lm = P_lm(z) (x + iy)^m, flat (l_max + 1, l_max + 1, 3).

    P_lm = f_0 z P_{l-1,m} + f_1 P_{l-2,m} for l > m, f_0 itself for l = m; dP_lm/dz = f_2 P_{l,m+1}. P_lm is Q_lm
    times the m-th derivative of the Legendre polynomial, Q_lm = (-1)^m √((2l + 1) (l - m)!/(l + m)!).
    """
    q = np.zeros((l_max + 1, l_max + 1))
    for ell in range(l_max + 1):
        for m in range(ell + 1):
            ratio = math.factorial(ell - m) / math.factorial(ell + m)
            q[ell, m] = (-1) ** m * math.sqrt((2 * ell + 1) * ratio)
    factors = np.zeros((l_max + 1, l_max + 1, 3))
    double_factorial = 1.0
    for m in range(l_max + 1):
        factors[m, m, 0] = q[m, m] * double_factorial
        double_factorial *= 2 * m + 1
        for ell in range(m + 1, l_max + 1):
            factors[ell, m, 0] = (2 * ell - 1) / (ell - m) * q[ell, m] / q[ell - 1, m]
            if ell > m + 1:
                factors[ell, m, 1] = -(ell + m - 1) / (ell - m) * q[ell, m] / q[ell - 2, m]
            factors[ell, m, 2] = q[ell, m] / q[ell, m + 1]
    return factors.ravel()
