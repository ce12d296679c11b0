"""Compilation of a linear basis into the flat arrays that the kernels of the design rows run on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..model.couplings import symmetrised
from ..model.radial import node_table

if TYPE_CHECKING:
    from ..potential import AcePotential, BasisFunction

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Factor = tuple[int, int, int, int]
MAX_FACTORS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class DesignPlan:
    """
    Arrays of a whole basis.

    basis: tables (E², bins + 1, 2, G) of the G = n_base + (l_max + 1) n_max radial functions, cut-offs (E²,) Å, bin
    width Å, l_max, Q_lm (l_max + 1, l_max + 1), n_base; elements: one tuple a centre element, in the order the
    kernels unpack; offsets: (E + 1,) first coefficient of each element.
    """

    basis: tuple[Any, ...]
    elements: tuple[tuple[Any, ...], ...]
    offsets: Index

    def scratch(self, element: tuple[Any, ...], n_functions: int, n_targets: int, n_atoms: int) -> tuple[Any, ...]:
        """Return the work arrays of the kernels for centres of one element that move at most ``n_targets`` atoms."""
        tables, _, _, l_max, _, n_base = self.basis
        (_, _, column_first), terms, *_, single_of = element
        n_elements, n_columns = len(single_of), int(column_first[-1])
        widest, n_radial = max(int(np.diff(column_first).max()), 1), tables.shape[3]
        n_harmonics = (l_max + 1) * (l_max + 2) // 2
        n_many = n_functions - int(np.count_nonzero(single_of >= 0))
        pair = (
            np.full(n_atoms, -1),
            np.zeros(n_radial),
            np.zeros(n_radial),
            np.zeros(3),
            np.zeros((2, n_harmonics)),
            np.zeros((3, 2, n_harmonics)),
            np.zeros((3, widest)),
            np.zeros((3, n_base)),
        )
        centre = (
            np.zeros(n_columns),
            np.zeros((n_elements, n_base)),
            np.zeros((9, n_columns)),
            np.zeros((n_elements, 9, n_base)),
            np.zeros(n_targets, dtype=np.int64),
            np.zeros(n_elements + 1, dtype=np.int64),
            np.zeros(3 * n_targets * widest),
            np.zeros((3 * n_targets, n_base)),
        )
        products = (
            np.zeros((len(terms), MAX_FACTORS, 2)),
            np.zeros(len(terms)),
            np.zeros((n_columns, n_many)),
            np.zeros((3 * n_targets, n_many)),
            np.zeros((9, n_many)),
            np.zeros(n_functions),
        )
        return pair, centre, products


class _Key:
    """A potential hashed by its frozen basis."""

    def __init__(self, potential: AcePotential) -> None:
        self.potential = potential

    def __hash__(self) -> int:
        return hash(self.potential.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.potential.digest == other.potential.digest


def compile_design(potential: AcePotential) -> DesignPlan:
    """Return the plan of a potential's basis; potentials with one frozen basis share it."""
    return _compile(_Key(potential))


@lru_cache(maxsize=8)
def _compile(key: _Key) -> DesignPlan:
    potential = key.potential
    bonds, n_elements = potential.bonds, len(potential.elements)
    n_base = max(bond.n_base for bond in bonds.values())
    n_max = max(bond.n_max for bond in bonds.values())
    l_max = max(bond.l_max for bond in bonds.values())
    n_bins = int(np.ceil(potential.cutoff / potential.bin_width)) + 1
    tables = np.zeros((n_elements**2, n_bins + 1, 2, n_base + (l_max + 1) * n_max))
    cutoffs = np.zeros(n_elements**2)
    for (a, b), bond in bonds.items():
        nodes, target = node_table(bond, n_bins, potential.bin_width), tables[a * n_elements + b]
        target[:, :, : bond.n_base] = nodes[:, :, : bond.n_base]
        mixed = nodes[:, :, bond.n_base :].reshape(n_bins + 1, 2, bond.l_max + 1, bond.n_max)
        padded = target[:, :, n_base:].reshape(n_bins + 1, 2, l_max + 1, n_max)
        padded[:, :, : bond.l_max + 1, : bond.n_max] = mixed
        cutoffs[a * n_elements + b] = bond.cutoff
    layout = (n_elements, n_base, n_max)
    return DesignPlan(
        basis=(tables, cutoffs, potential.bin_width, l_max, _normalisation(l_max), n_base),
        elements=tuple(_compile_element(functions, *layout) for functions in potential.functions),
        offsets=np.concatenate([[0], np.cumsum(potential.n_functions)]).astype(np.int64),
    )


def _normalisation(l_max: int) -> Array:
    """Return Q_lm in √(4π) Y_lm = Q_lm Π_lm(z) (x + iy)^m, (l_max + 1, l_max + 1), Condon-Shortley phase, m ≥ 0."""
    factors = np.zeros((l_max + 1, l_max + 1))
    for ell in range(l_max + 1):
        ratio = 1.0
        for m in range(ell + 1):
            ratio /= (ell + m) * (ell - m + 1) if m else 1.0
            factors[ell, m] = (-1) ** m * np.sqrt((2 * ell + 1) * ratio)
    return factors


def _compile_element(functions: tuple[BasisFunction, ...], n_elements: int, n_base: int, n_max: int) -> tuple[Any, ...]:
    """Return geometry, products and Jacobian of one centre element, in the order the kernels unpack."""
    geometric, columns = _columns(functions, n_elements, n_base, n_max)
    many = [f for f in functions if len(f.mus) > 1]
    slots: dict[Factor, int] = {}
    terms: dict[tuple[int, ...], int] = {}
    first, term_of, weights = [0], [], []
    for f in many:
        labels = tuple(zip(f.mus, f.ns, strict=True))
        for ms, weight in symmetrised(labels, f.ls, f.lint).items():
            factors = zip(f.mus, f.ns, f.ls, ms, strict=True)
            term = tuple(sorted(slots.setdefault(factor, len(slots)) for factor in factors))
            term_of.append(terms.setdefault(term, len(terms)))
            weights.append(weight)
        first.append(len(term_of))
    padded = np.full((len(terms), MAX_FACTORS), -1, dtype=np.int64)
    for row, term in zip(padded, terms, strict=True):
        row[: len(term)] = term
    parts = np.array([_part(factor, columns) for factor in slots], dtype=np.int64).reshape(-1, 3)
    single_of = np.full((n_elements, n_base), -1, dtype=np.int64)
    for place, f in enumerate(f for f in functions if len(f.mus) == 1):
        single_of[f.mus[0], f.ns[0] - 1] = place
    sums = (np.array(first, dtype=np.int64), np.array(term_of, dtype=np.int64), np.array(weights, dtype=float))
    entries, entry_weights = _entries(padded, parts, sums)
    return geometric, padded, parts, entries, entry_weights, *sums, single_of


def _columns(
    functions: tuple[BasisFunction, ...], n_elements: int, n_base: int, n_max: int
) -> tuple[tuple[Index, Index, Index], dict[Factor, tuple[int, int]]]:
    """Return strips, first strip and first column of each species, and the columns (real, imaginary) of μ, n, l, m."""
    used = {key for f in functions if len(f.mus) > 1 for key in zip(f.mus, f.ls, f.ns, strict=True)}
    strips, strip_first, column_first = [], [0], [0]
    columns: dict[Factor, tuple[int, int]] = {}
    for mu in range(n_elements):
        width = 0
        for ell in sorted({ell for kind, ell, _ in used if kind == mu}):
            count = max(n for kind, other, n in used if (kind, other) == (mu, ell))
            radial = n_base + ell * n_max
            for m in range(ell + 1):
                for part in range(2 if m else 1):
                    strips.append((width + part * count, count, radial, ell * (ell + 1) // 2 + m, part))
                real = column_first[-1] + width
                for n in range(count):
                    columns[mu, n + 1, ell, m] = (real + n, real + count + n if m else -1)
                width += (2 if m else 1) * count
        strip_first.append(len(strips))
        column_first.append(column_first[-1] + width)
    table = np.array(strips, dtype=np.int64).reshape(-1, 5)
    return (table, np.array(strip_first, dtype=np.int64), np.array(column_first, dtype=np.int64)), columns


def _part(factor: Factor, columns: dict[Factor, tuple[int, int]]) -> tuple[int, int, int]:
    """Return the columns of one factor and the sign of A_-m = (-1)^m conj(A_m), 0 where m ≥ 0."""
    mu, n, ell, m = factor
    real, imaginary = columns[mu, n, ell, abs(m)]
    return real, imaginary, 0 if m >= 0 else (-1) ** (m % 2)


def _entries(terms: Index, parts: Index, sums: tuple[Index, Index, Array]) -> tuple[Index, Array]:
    """Return what J is summed from: place in the flat J (columns × functions), place in the derivatives, weight."""
    first, term_of, weights = sums
    n_many = len(first) - 1
    found: list[tuple[int, int]] = []
    signs: list[float] = []
    for f in range(n_many):
        for e in range(first[f], first[f + 1]):
            term = int(term_of[e])
            for k, slot in enumerate(terms[term][terms[term] >= 0]):
                real, imaginary, sign = parts[slot]
                source = (term * MAX_FACTORS + k) * 2
                found.append((real * n_many + f, source))
                signs.append(weights[e] * (sign or 1))
                if imaginary >= 0:  # Re(d A): -Im d by the imaginary part; with A conjugated +Im d
                    found.append((imaginary * n_many + f, source + 1))
                    signs.append(weights[e] * (sign or -1))
    return np.array(found, dtype=np.int64).reshape(-1, 2), np.array(signs, dtype=float)
