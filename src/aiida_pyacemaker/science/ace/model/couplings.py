"""Generalised Clebsch-Gordan couplings of angular momenta to an invariant (R. Drautz, PRB 102, 024104, 2020)."""

from __future__ import annotations

from functools import cache
from itertools import product
from math import factorial, sqrt

import numpy as np

Amplitudes = dict[tuple[int, ...], float]
Subtree = dict[int, Amplitudes]
MAX_RANK = 5


@cache
def clebsch_gordan(l1: int, m1: int, l2: int, m2: int, l3: int) -> float:
    """Return ⟨l1 m1 l2 m2 | l3 m1+m2⟩ by Racah's formula; 0 outside the triangle."""
    m3 = m1 + m2
    if abs(m1) > l1 or abs(m2) > l2 or abs(m3) > l3 or not abs(l1 - l2) <= l3 <= l1 + l2:
        return 0.0
    f = factorial
    triangle = f(l3 + l1 - l2) * f(l3 - l1 + l2) * f(l1 + l2 - l3) / f(l1 + l2 + l3 + 1) * (2 * l3 + 1)
    projections = f(l3 + m3) * f(l3 - m3) * f(l1 - m1) * f(l1 + m1) * f(l2 - m2) * f(l2 + m2)
    total = 0.0
    for k in range(max(0, l2 - l3 - m1, l1 - l3 + m2), min(l1 + l2 - l3, l1 - m1, l2 + m2) + 1):
        bottom = f(k) * f(l1 + l2 - l3 - k) * f(l1 - m1 - k) * f(l2 + m2 - k)
        total += (-1) ** k / (bottom * f(l3 - l2 + m1 + k) * f(l3 - l1 - m2 + k))
    return sqrt(triangle * projections) * total


@cache
def coupling_tree(rank: int) -> tuple[tuple[int, int, int], ...]:
    """
    Return pacemaker's coupling tree as triples (first, second, result); the last result is the invariant.

    Momenta are numbered l_1.. l_rank from 0, then L_1.. in the order they arise: neighbours pair up, an odd factor
    waits for the very end, and results pair up in the order they arose: (l1 l2)→L1, (l3 l4)→L2, (L1 L2)→L3,
    (L3 l5)→0.
    """
    waiting = [(2 * i, 2 * i + 1) for i in range(rank // 2)]
    results: list[int] = []
    tree: list[tuple[int, int, int]] = []
    while waiting:
        tree.append((*waiting.pop(0), rank + len(tree)))
        results.append(rank + len(tree) - 1)
        if not waiting and len(results) > 1:
            waiting.append((results.pop(0), results.pop(0)))
    if rank % 2 and rank > 1:
        tree.append((results[0], rank - 1, rank + len(tree)))
    return tuple(tree)


def _join(left: Subtree, right: Subtree, l1: int, l2: int, l3: int) -> Subtree:
    """Couple two subtrees of angular momentum ``l1`` and ``l2`` to ``l3``; both map M to amplitudes of m-tuples."""
    joined: Subtree = {}
    for (m1, first), (m2, second) in product(left.items(), right.items()):
        factor = clebsch_gordan(l1, m1, l2, m2, l3)
        if factor == 0.0:
            continue
        target = joined.setdefault(m1 + m2, {})
        for (ms1, c1), (ms2, c2) in product(first.items(), second.items()):
            target[ms1 + ms2] = target.get(ms1 + ms2, 0.0) + factor * c1 * c2
    return joined


@cache
def coupling(ls: tuple[int, ...], lint: tuple[int, ...]) -> tuple[tuple[tuple[int, ...], float], ...]:
    """
    Return the m-tuples and coefficients of the invariant of ``ls`` through the intermediate momenta ``lint``.

    Couples along `coupling_tree`. The squares of the coefficients sum to 1.
    """
    momenta = (*ls, *lint, 0)
    level: list[tuple[tuple[int, ...], Subtree]] = [
        ((place,), {m: {(m,): 1.0} for m in range(-k, k + 1)}) for place, k in enumerate(ls)
    ]
    for a, b, c in coupling_tree(len(ls)):
        joined = _join(level[a][1], level[b][1], momenta[a], momenta[b], momenta[c])
        level.append((level[a][0] + level[b][0], joined))
    places, subtree = level[-1]
    back = [places.index(place) for place in range(len(ls))]
    amplitudes = subtree.get(0, {})
    return tuple(sorted((tuple(ms[i] for i in back), c) for ms, c in amplitudes.items() if abs(c) > 1e-14))


def symmetrised(labels: tuple[tuple[int, ...], ...], ls: tuple[int, ...], lint: tuple[int, ...]) -> Amplitudes:
    """
    Return the coupling with equal real products merged: m-tuples that differ by a swap of factors or by m → -m.

    ``labels`` are one tuple a factor; factors are interchangeable where labels and l agree. Of Re ΠA, m and -m
    are equal because A_{l,-m} = (-1)^m conj(A_{lm}) and Σm = 0.
    """
    merged: Amplitudes = {}
    for ms, value in coupling(ls, lint):
        key = canonical(labels, ls, ms)
        merged[key] = merged.get(key, 0.0) + value
    return {ms: value for ms, value in sorted(merged.items()) if abs(value) > 1e-12}


def canonical(labels: tuple[tuple[int, ...], ...], ls: tuple[int, ...], ms: tuple[int, ...]) -> tuple[int, ...]:
    """Return the m-tuple that stands for all with the same real product; see `symmetrised`."""
    keys = [(*label, momentum) for label, momentum in zip(labels, ls, strict=True)]
    return max(_sorted_within(keys, ms), _sorted_within(keys, tuple(-m for m in ms)))


def _sorted_within(keys: list[tuple[int, ...]], ms: tuple[int, ...]) -> tuple[int, ...]:
    """Sort the m of interchangeable factors, leaving the factors where they are."""
    result = list(ms)
    for key in set(keys):
        places = [place for place, other in enumerate(keys) if other == key]
        for place, m in zip(places, sorted(ms[p] for p in places), strict=True):
            result[place] = m
    return tuple(result)


@cache
def intermediate_momenta(ls: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return all ``lint`` allowed for ``ls`` by the triangle rules of the coupling tree, in lexicographic order."""
    *inner, last = coupling_tree(len(ls)) if len(ls) > 1 else [(0, 0, 0)]
    found: list[tuple[int, ...]] = [()]
    for a, b, _ in inner:
        momenta = [(*ls, *lint) for lint in found]
        ranges = [range(abs(known[a] - known[b]), known[a] + known[b] + 1) for known in momenta]
        found = [(*lint, value) for lint, values in zip(found, ranges, strict=True) for value in values]
    allowed = [lint for lint in found if (*ls, *lint)[last[0]] == (*ls, *lint)[last[1]]]
    return tuple(allowed if len(ls) > 1 or ls == (0,) else ())


@cache
def independent_couplings(labels: tuple[tuple[int, ...], ...], ls: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the first ``lint`` in lexicographic order whose symmetrised invariants are linearly independent."""
    if sum(ls) % 2:
        return ()
    vectors = [(lint, symmetrised(labels, ls, lint)) for lint in intermediate_momenta(ls)]
    rows = sorted({ms for _, vector in vectors for ms in vector})
    kept: list[tuple[int, ...]] = []
    basis: list[np.ndarray] = []
    for lint, vector in vectors:
        dense = np.array([vector.get(ms, 0.0) for ms in rows])
        length = np.linalg.norm(dense)
        for _ in range(2):
            for other in basis:
                dense = dense - other * (other @ dense)
        if length > 1e-10 and np.linalg.norm(dense) > 1e-8 * length:
            basis.append(dense / np.linalg.norm(dense))
            kept.append(lint)
    return tuple(kept)
