"""Products of the atomic base: which there are, which share a factor, and their flat arrays of offsets."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..model.couplings import symmetrised

if TYPE_CHECKING:
    from ..potential import BasisFunction

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Slot = tuple[int, int, int, int]
Pair = tuple[int, int]


class ElementProducts(NamedTuple):
    """
    Products of one centre element, by slots: entries A_{μnlm} of the atomic base, n from 0.

    Values are slots, then ``nodes``: inner products of two earlier values. ``terms`` are pairs of values whose real
    product enters. ``entries``: for every function of rank > 1 its terms with their weights.
    """

    slots: list[Slot]
    nodes: list[Pair]
    terms: list[Pair]
    entries: list[dict[int, float]]


@lru_cache(maxsize=64)
def element_products(functions: tuple[BasisFunction, ...]) -> ElementProducts:
    """Return the products of one element; equal real products of all functions are one."""
    index: dict[Slot, int] = {}
    terms: dict[tuple[int, ...], int] = {}
    entries = []
    for f in (f for f in functions if len(f.mus) > 1):
        entry: dict[int, float] = {}
        for ms, weight in symmetrised(tuple(zip(f.mus, f.ns, strict=True)), f.ls, f.lint).items():
            slots = [(mu, n - 1, ell, m) for mu, n, ell, m in zip(f.mus, f.ns, f.ls, ms, strict=True)]
            mirrors = [(mu, n, ell, -m) for mu, n, ell, m in slots]
            chosen = min(sorted(slots, key=_slot_order), sorted(mirrors, key=_slot_order))
            key = tuple(sorted(index.setdefault(slot, len(index)) for slot in chosen))
            term = terms.setdefault(key, len(terms))
            entry[term] = entry.get(term, 0.0) + weight
        entries.append(entry)
    nodes, last = share_pairs(list(terms), len(index))
    return ElementProducts(list(index), nodes, last, entries)


def _slot_order(slot: Slot) -> tuple[bool, Slot]:
    return slot[3] < 0, slot


def share_pairs(terms: list[tuple[int, ...]], n_slots: int) -> tuple[list[Pair], list[Pair]]:
    """
    Split every product of slots into two earlier values, sharing pairs greedily.

    Returns the inner nodes and, for every term, its last two factors. The pair that most terms hold is multiplied
    first; ties are broken by index, so that the plan of a basis is always the same.
    """
    work = [list(term) for term in terms]
    users: dict[Pair, set[int]] = {}
    for t, term in enumerate(work):
        for pair in _pairs(term):
            users.setdefault(pair, set()).add(t)
    queue = [(-len(members), pair) for pair, members in users.items()]
    heapq.heapify(queue)
    nodes: list[Pair] = []
    while queue:
        count, best = heapq.heappop(queue)
        if count == 0 or -count != len(users[best]):
            continue  # the count has changed since: the pair is in the queue again
        node = n_slots + len(nodes)
        nodes.append(best)
        touched: set[Pair] = set()
        for t in sorted(users[best]):
            touched |= _replace(work[t], best, node, users, t)
        for pair in touched:
            heapq.heappush(queue, (-len(users[pair]), pair))
    return nodes, [(term[0], term[1]) for term in work]


def _replace(term: list[int], pair: Pair, node: int, users: dict[Pair, set[int]], t: int) -> set[Pair]:
    """Put ``node`` in the place of ``pair`` in one term; returns the pairs whose users have changed."""
    before = _pairs(term)
    term.remove(pair[0])
    term.remove(pair[1])
    term.append(node)
    after = _pairs(term)
    for lost in before - after:
        users[lost].discard(t)
    for gained in after - before:
        users.setdefault(gained, set()).add(t)
    return before ^ after


def _pairs(term: list[int]) -> set[Pair]:
    """Return the pairs of factors that may still be multiplied first."""
    return set(combinations(sorted(term), 2)) if len(term) > 2 else set()


@dataclass(frozen=True, kw_only=True)
class Spans:
    """Begin and end of each element's part of the flat arrays, (E, 2), and the floats of its values, (E,)."""

    mirrors: Index
    nodes: Index
    lefts: Index
    functions: Index
    rank_one: Index
    n_values: Index

    @property
    def table(self) -> Index:
        """The columns the kernels read, (E × 12,)."""
        parts = (self.mirrors, self.nodes, self.lefts, self.n_values[:, None], self.functions, self.rank_one)
        filler = np.zeros((len(self.n_values), 1), dtype=np.int64)
        return np.ascontiguousarray(np.hstack([*parts, filler])).ravel()


@dataclass(frozen=True, kw_only=True)
class Products:
    """
    Products of all elements in flat arrays of offsets into the values, in floats.

    ``mirrors`` (M × 3): target, source, sign. ``nodes`` (N × 3): target and factors. Term t is
    Re(left · rights[t]), the terms of left k are ``firsts[k]:firsts[k + 1]``. Function f of rank > 1 sums
    ``entry_weights`` of ``entry_terms`` over ``entry_firsts[f]:entry_firsts[f + 1]``; ``rank_one`` (F₁ × 2): μ, k.
    """

    spans: Spans
    mirrors: Index
    nodes: Index
    lefts: Index
    firsts: Index
    rights: Index
    entry_firsts: Index
    entry_terms: Index
    entry_weights: Array
    rank_one: Index


class _Part(NamedTuple):
    """Flat arrays of one element, terms counted from 0."""

    mirrors: Index
    nodes: Index
    lefts: Index
    n_terms: Index
    rights: Index
    n_entries: Index
    entry_terms: Index
    entry_weights: Array
    rank_one: Index
    n_values: int


def flatten(elements: Iterable[tuple[ElementProducts, dict[Slot, int], list[Pair]]], n_floats: int) -> Products:
    """
    Return the flat arrays of all elements.

    Each element: its products, the offset of every slot with m ≥ 0, (μ, k) of its functions of rank one;
    ``n_floats``: where mirrored slots and nodes may begin.
    """
    parts = [_flat_part(found, places, single, n_floats) for found, places, single in elements]
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _Part._fields[:-1]}
    shifts = np.cumsum([0, *(len(part.rights) for part in parts)])
    joined['entry_terms'] = np.concatenate([p.entry_terms + s for p, s in zip(parts, shifts[:-1], strict=True)])
    spans = Spans(
        mirrors=_bounds([len(part.mirrors) // 3 for part in parts]),
        nodes=_bounds([len(part.nodes) // 3 for part in parts]),
        lefts=_bounds([len(part.lefts) for part in parts]),
        functions=_bounds([len(part.n_entries) for part in parts]),
        rank_one=_bounds([len(part.rank_one) // 2 for part in parts]),
        n_values=np.array([part.n_values for part in parts], dtype=np.int64),
    )
    firsts = np.concatenate([[0], np.cumsum(joined.pop('n_terms'))]).astype(np.int64)
    entry_firsts = np.concatenate([[0], np.cumsum(joined.pop('n_entries'))]).astype(np.int64)
    return Products(spans=spans, firsts=firsts, entry_firsts=entry_firsts, **joined)


def _bounds(counts: list[int]) -> Index:
    ends = np.cumsum(np.array(counts, dtype=np.int64))
    return np.column_stack([ends - counts, ends])


def _flat_part(found: ElementProducts, places: dict[Slot, int], single: list[Pair], n_floats: int) -> _Part:
    """Lay out one element: mirrored slots and nodes follow the slots, four complex values a tile."""
    used = {value for pair in (*found.nodes, *found.terms) for value in pair}
    mirrored = [s for s, slot in enumerate(found.slots) if slot[3] < 0 and s in used]
    n_slots, offsets = len(found.slots), np.zeros(len(found.slots) + len(found.nodes), dtype=np.int64)
    for s, slot in enumerate(found.slots):
        offsets[s] = places.get(slot, -1)
    later = [*mirrored, *range(n_slots, len(offsets))]
    for v, value in enumerate(later):
        offsets[value] = n_floats + (v // 4) * 64 + (v % 4) * 8
    mirrors = []
    for s in mirrored:
        mu, n, ell, m = found.slots[s]
        mirrors.append((offsets[s], places[mu, n, ell, -m], (-1) ** -m))
    nodes = np.column_stack([offsets[n_slots:], offsets[np.array(found.nodes, dtype=np.int64).reshape(-1, 2)]])
    lefts, n_terms, rights, position = _grouped(offsets[np.array(found.terms, dtype=np.int64).reshape(-1, 2)])
    return _Part(
        mirrors=np.array(mirrors, dtype=np.int64).reshape(-1),
        nodes=np.ascontiguousarray(nodes).ravel(),
        lefts=lefts,
        n_terms=n_terms,
        rights=rights,
        n_entries=np.array([len(entry) for entry in found.entries], dtype=np.int64),
        entry_terms=position[np.array([t for entry in found.entries for t in entry], dtype=np.int64)],
        entry_weights=np.array([w for entry in found.entries for w in entry.values()], dtype=float),
        rank_one=np.array(single, dtype=np.int64).reshape(-1),
        n_values=n_floats + -(-len(later) // 4) * 64,
    )


def _grouped(pairs: Index) -> tuple[Index, Index, Index, Index]:
    """Return lefts, terms of each, rights, and where each term of ``pairs`` (T, 2) went: the busier factor is left."""
    if not len(pairs):
        empty = np.zeros(0, dtype=np.int64)
        return empty, empty, empty, empty
    values, inverse = np.unique(pairs, return_inverse=True)
    uses = np.bincount(inverse.ravel(), minlength=len(values))[inverse.reshape(pairs.shape)]
    swap = uses[:, 1] > uses[:, 0]
    left, right = np.where(swap, pairs[:, 1], pairs[:, 0]), np.where(swap, pairs[:, 0], pairs[:, 1])
    order = np.lexsort((right, left))
    position = np.empty(len(order), dtype=np.int64)
    position[order] = np.arange(len(order))
    lefts, counts = np.unique(left, return_counts=True)
    return lefts, counts.astype(np.int64), right[order], position
