"""The order in which pacemaker and LAMMPS put the projections of an element; an active set depends on it."""

from __future__ import annotations

from functools import cache
from itertools import product

from .couplings import clebsch_gordan, coupling_tree, intermediate_momenta

_ROUNDED_ZEROS = frozenset(
    [
        (3, 2, 3, -2, 2), (3, 2, 3, -1, 3), (4, 1, 3, -2, 4), (5, 0, 4, 3, 6), (5, 1, 3, -2, 5),
        (5, 1, 3, 2, 6), (5, 1, 4, 2, 5), (5, 2, 5, -1, 5), (5, 3, 4, -2, 5), (6, 0, 3, 1, 5),
        (6, 0, 5, 1, 3), (6, 1, 3, -2, 6), (6, 1, 5, -2, 6), (6, 2, 3, 1, 8), (6, 2, 5, -4, 6),
        (6, 3, 2, 1, 7), (6, 3, 4, 2, 9), (6, 4, 6, 0, 9), (6, 5, 6, -5, 3),
    ]
)  # fmt: skip
"""
Coefficients ⟨l1 m1 l2 m2|L⟩ that are 0 but come out as 1e-17 in pacemaker's recursion, so that it counts them.

Found by running its Clebsch-Gordan function over all l1, l2 ≤ 6 (python-ace d1c213a); one of each set that a swap or
m → -m maps on itself. Zeros that a symmetry demands come out exact and are not counted.
"""


@cache
def coupling_order(ls: tuple[int, ...], lint: tuple[int, ...]) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """
    Return the key that orders functions which differ only in ``lint``: their number of m-tuples, then these.

    Of m and -m one is counted. (0, ()) where ``ls`` allow one ``lint`` only.
    """
    if len(intermediate_momenta(ls)) <= 1:
        return 0, ()
    ranges = [range(-momentum, momentum + 1) for momentum in reversed(ls)]
    tuples = (backwards[::-1] for backwards in product(*ranges))
    kept = tuple(ms for ms in tuples if sum(ms) == 0 and ms >= (0,) * len(ms) and _is_counted(ls, lint, ms))
    return len(kept), kept


def _is_counted(ls: tuple[int, ...], lint: tuple[int, ...], ms: tuple[int, ...]) -> bool:
    """Tell whether every coefficient along the tree is non-zero in pacemaker's arithmetic."""
    momenta, projections = (*ls, *lint, 0), list(ms)
    for a, b, c in coupling_tree(len(ls)):
        pair = (momenta[a], projections[a], momenta[b], projections[b])
        projections.append(projections[a] + projections[b])
        if abs(projections[c]) > momenta[c] or _is_zero(*pair, momenta[c]):
            return False
    return True


@cache
def _is_zero(l1: int, m1: int, l2: int, m2: int, total: int) -> bool:
    if abs(clebsch_gordan(l1, m1, l2, m2, total)) > 1e-14:
        return False
    same = [(l1, m1, l2, m2), (l1, -m1, l2, -m2), (l2, m2, l1, m1), (l2, -m2, l1, -m1)]
    return not any((*key, total) in _ROUNDED_ZEROS for key in same)
