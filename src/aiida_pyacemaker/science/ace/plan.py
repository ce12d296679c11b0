"""Compilation of a potential into the flat arrays the kernels run on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .couplings import symmetrised
from .radial import node_table

if TYPE_CHECKING:
    from .potential import AcePotential, BasisFunction

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ElementPlan:
    """
    Products of one centre element.

    Atomic-base entries ("slots") are complex A_{μnlm}: ``slots`` (S, 4) holds μ, n (from 0), l, m with m ≥ 0 and
    then the same with m < 0. ``nodes`` (N, 2): inner products, each of two earlier values (slots first). ``terms``
    (T, 2): products whose real part enters; ``factors`` (T, 5) their slots, padded with -1. Function f of rank > 1
    sums ``weights`` of ``term_of`` over ``first[f]:first[f + 1]``; ``rank_one`` (F1, 2) are μ, k of the others.
    """

    slots: Index
    nodes: Index
    terms: Index
    factors: Index
    first: Index
    term_of: Index
    weights: Array
    rank_one: Index
    conjugate: Index

    @property
    def n_functions(self) -> int:
        """Functions of this element."""
        return len(self.rank_one) + len(self.first) - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """
    Arrays of a whole basis.

    ``tables`` (E², bins + 1, 2, G), zero-padded: row centre × E + neighbour; ``cutoffs`` (E²,). The layout of the G
    functions is n_base base functions, then R_nl as l × n_max + n with n_max and l_max the largest of all bonds.
    """

    elements: tuple[ElementPlan, ...]
    tables: Array
    cutoffs: Array
    bin_width: float
    n_base: int
    n_max: int
    l_max: int
    ylm_factors: Array

    @property
    def n_functions(self) -> Index:
        """Functions per element, (E,)."""
        return np.array([element.n_functions for element in self.elements], dtype=np.int64)

    @property
    def offsets(self) -> Index:
        """First coefficient of each element and the total, (E + 1,)."""
        return np.concatenate([[0], np.cumsum(self.n_functions)])


Slot = tuple[int, int, int, int]


def _choose_pairs(terms: list[tuple[int, ...]], n_slots: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """
    Split every product of slots into two earlier values, sharing pairs greedily.

    Returns the inner nodes and, for every term, its last two factors. Ties are broken by index, so that the plan of
    a basis is always the same.
    """
    work = [list(term) for term in terms]
    users: dict[tuple[int, int], set[int]] = {}
    for t, term in enumerate(work):
        for pair in _pairs(term):
            users.setdefault(pair, set()).add(t)
    nodes: list[tuple[int, int]] = []
    while users:
        best = min(users, key=lambda pair: (-len(users[pair]), pair))
        new = n_slots + len(nodes)
        nodes.append(best)
        for t in sorted(users[best]):
            for pair in _pairs(work[t]):
                users[pair].discard(t)
            work[t].remove(best[0])
            work[t].remove(best[1])
            work[t].append(new)
            for pair in _pairs(work[t]):
                users.setdefault(pair, set()).add(t)
        users = {pair: members for pair, members in users.items() if members}
    return nodes, [(term[0], term[1]) for term in work]


def _pairs(term: list[int]) -> set[tuple[int, int]]:
    """Return the pairs of factors that may still be multiplied first."""
    return set(combinations(sorted(term), 2)) if len(term) > 2 else set()


def _element_slots(functions: tuple[BasisFunction, ...]) -> list[Slot]:
    """Return the slots an element's products use: m ≥ 0 first, then m < 0, each ordered by μ, l, m, n."""
    many = [f for f in functions if len(f.mus) > 1]
    used = {(mu, n - 1, ell) for f in many for mu, n, ell in zip(f.mus, f.ns, f.ls, strict=True)}
    slots = [(mu, n, ell, m) for mu, n, ell in used for m in range(-ell, ell + 1)]
    return sorted(slots, key=lambda slot: (slot[3] < 0, slot[0], slot[2], abs(slot[3]), slot[1]))


def _compile_element(functions: tuple[BasisFunction, ...]) -> ElementPlan:
    """Enumerate the slots and products of one centre element."""
    slots = _element_slots(functions)
    index = {slot: i for i, slot in enumerate(slots)}
    mirror = np.array([index[mu, n, ell, -m] for mu, n, ell, m in slots], dtype=np.int64)
    terms: dict[tuple[int, ...], int] = {}
    first, term_of, weights = [0], [], []
    for f in (f for f in functions if len(f.mus) > 1):
        labels = tuple(zip(f.mus, f.ns, strict=True))
        for ms, weight in symmetrised(labels, f.ls, f.lint).items():
            factors = zip(f.mus, f.ns, f.ls, ms, strict=True)
            key = tuple(sorted(index[mu, n - 1, ell, m] for mu, n, ell, m in factors))
            key = min(key, tuple(sorted(int(mirror[slot]) for slot in key)))
            term_of.append(terms.setdefault(key, len(terms)))
            weights.append(weight)
        first.append(len(term_of))
    single = [(f.mus[0], f.ns[0] - 1) for f in functions if len(f.mus) == 1]
    nodes, last = _choose_pairs(list(terms), len(slots))
    padded = np.full((len(terms), 5), -1, dtype=np.int64)
    for row, term in zip(padded, terms, strict=True):
        row[: len(term)] = term
    return ElementPlan(
        slots=np.array(slots, dtype=np.int64).reshape(-1, 4),
        nodes=np.array(nodes, dtype=np.int64).reshape(-1, 2),
        terms=np.array(last, dtype=np.int64).reshape(-1, 2),
        factors=padded,
        first=np.array(first, dtype=np.int64),
        term_of=np.array(term_of, dtype=np.int64),
        weights=np.array(weights, dtype=float),
        rank_one=np.array(single, dtype=np.int64).reshape(-1, 2),
        conjugate=mirror,
    )


def ylm_normalisation(l_max: int) -> Array:
    """
    Return Q_lm in √(4π) Y_lm = Q_lm Π_lm(z) (x + iy)^m, (l_max + 1, l_max + 2), Condon-Shortley phase, m ≥ 0.

    Π_lm = d^m P_l/dz^m. The last column stays 0.
    """
    factors = np.zeros((l_max + 1, l_max + 2))
    for ell in range(l_max + 1):
        ratio = 1.0
        for m in range(ell + 1):
            if m:
                ratio /= (ell + m) * (ell - m + 1)
            factors[ell, m] = (-1) ** m * np.sqrt((2 * ell + 1) * ratio)
    return factors


@lru_cache(maxsize=16)
def _compile(key: _Key) -> Plan:
    potential = key.potential
    bonds = potential.bonds
    n_base = max(bond.n_base for bond in bonds.values())
    n_max = max(bond.n_max for bond in bonds.values())
    l_max = max(bond.l_max for bond in bonds.values())
    n_elements = len(potential.elements)
    n_bins = int(np.ceil(potential.cutoff / potential.bin_width)) + 1
    tables = np.zeros((n_elements**2, n_bins + 1, 2, n_base + (l_max + 1) * n_max))
    cutoffs = np.zeros(n_elements**2)
    for (a, b), bond in bonds.items():
        nodes = node_table(bond, n_bins, potential.bin_width)
        target = tables[a * n_elements + b]
        target[:, :, : bond.n_base] = nodes[:, :, : bond.n_base]
        for ell in range(bond.l_max + 1):
            source = nodes[:, :, bond.n_base + ell * bond.n_max : bond.n_base + (ell + 1) * bond.n_max]
            target[:, :, n_base + ell * n_max : n_base + ell * n_max + bond.n_max] = source
        cutoffs[a * n_elements + b] = bond.cutoff
    return Plan(
        elements=tuple(_compile_element(functions) for functions in potential.functions),
        tables=tables,
        cutoffs=cutoffs,
        bin_width=potential.bin_width,
        n_base=n_base,
        n_max=n_max,
        l_max=l_max,
        ylm_factors=ylm_normalisation(l_max),
    )


class _Key:
    """A potential hashed by its frozen basis."""

    def __init__(self, potential: AcePotential) -> None:
        self.potential = potential

    def __hash__(self) -> int:
        return hash(self.potential.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.potential.digest == other.potential.digest


def compile_plan(potential: AcePotential) -> Plan:
    """Return the plan of a potential's basis; potentials with one frozen basis share it."""
    return _compile(_Key(potential))


def term_coefficients(element: ElementPlan, coefficients: Array) -> tuple[Array, Array]:
    """Return the coefficients of rank one, (F1,), and of every real product, (T,), of one centre element."""
    n_one = len(element.rank_one)
    spread = np.repeat(coefficients[n_one:], np.diff(element.first)) * element.weights
    products = np.bincount(element.term_of, weights=spread, minlength=len(element.terms)).astype(float)
    return np.ascontiguousarray(coefficients[:n_one]), products
