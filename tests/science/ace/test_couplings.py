"""Couplings of any order against ladder operators, and the order of projections against pyace."""

from functools import cache
from itertools import groupby, product

import numpy as np
import pytest

from aiida_pyacemaker.science.ace.model.couplings import coupling, coupling_tree, intermediate_momenta
from aiida_pyacemaker.science.ace.model.projection_order import coupling_order

# The order in which pyace 0.3.0 puts functions of distinct n that differ in their intermediate momenta only.
PYACE_ORDER = {
    (2, 2, 2, 2): [(0, 0), (1, 1), (3, 3), (2, 2), (4, 4)],
    (1, 3, 3, 3): [(2, 2), (3, 3), (4, 4)],
    (1, 2, 2, 3): [(1, 1), (2, 2), (3, 3)],
    (3, 3, 3, 3): [(0, 0), (1, 1), (2, 2), (3, 3), (5, 5), (4, 4), (6, 6)],
    (1, 1, 1, 1, 2): [(0, 2, 2), (2, 0, 2), (1, 1, 2), (1, 2, 2), (2, 1, 2), (2, 2, 2)],
}


@cache
def clebsch_gordan(l1, l2, l3):
    """Return {(m1, m2): ⟨l1 m1 l2 m2|l3 m1+m2⟩} from ladder operators: a null vector, then lowered step by step."""
    down1, down2 = ladder(l1), ladder(l2)
    lower = np.kron(down1, np.eye(2 * l2 + 1)) + np.kron(np.eye(2 * l1 + 1), down2)
    ms = [(m1, m2) for m1 in range(l1, -l1 - 1, -1) for m2 in range(l2, -l2 - 1, -1)]
    top = [index for index, (m1, m2) in enumerate(ms) if m1 + m2 == l3]
    _, _, rows = np.linalg.svd(lower.T[:, top])
    state = np.zeros(len(ms))
    state[top] = rows[-1]
    state *= np.sign(state[ms.index((l1, l3 - l1))])
    table = {}
    for m3 in range(l3, -l3 - 1, -1):
        table.update({pair: value for pair, value in zip(ms, state, strict=True) if sum(pair) == m3})
        state = lower @ state / np.sqrt(max((l3 + m3) * (l3 - m3 + 1), 1))
    return table


def ladder(ell):
    """J- in the basis m = l, l-1, ..."""
    m = np.arange(ell, -ell, -1)
    return np.diag(np.sqrt((ell + m) * (ell - m + 1)), -1)


def test_trees_are_pacemakers():
    """(l1 l2)→L1, (l3 l4)→L2, ...; results pair up in their order; an odd factor comes last. Numbered from 0."""
    assert coupling_tree(1) == ()
    assert coupling_tree(2) == ((0, 1, 2),)
    assert coupling_tree(5) == ((0, 1, 5), (2, 3, 6), (5, 6, 7), (7, 4, 8))
    assert coupling_tree(6) == ((0, 1, 6), (2, 3, 7), (4, 5, 8), (6, 7, 9), (8, 9, 10))
    assert coupling_tree(7) == ((0, 1, 7), (2, 3, 8), (4, 5, 9), (7, 8, 10), (9, 10, 11), (11, 6, 12))


@pytest.mark.parametrize(
    ('ls', 'lint'),
    [
        ((3, 3), ()),
        ((1, 2, 3), (3,)),
        ((2, 2, 1, 1), (2, 2)),
        ((1, 2, 2, 1, 2), (2, 3, 2)),
        ((1, 1, 1, 1, 1, 1), (2, 1, 1, 1)),
        ((1, 1, 2, 1, 1, 0, 1), (1, 2, 1, 1, 1)),
    ],
)
def test_coefficients_are_products_along_the_tree(ls, lint):
    found, momenta = dict(coupling(ls, lint)), (*ls, *lint, 0)
    for ms in product(*(range(-ell, ell + 1) for ell in ls)):
        value, projections = float(sum(ms) == 0), list(ms)
        for a, b, c in coupling_tree(len(ls)):
            pair = (projections[a], projections[b])
            value *= clebsch_gordan(momenta[a], momenta[b], momenta[c]).get(pair, 0.0)
            projections.append(sum(pair))
        assert found.get(ms, 0.0) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize('ls', [(1, 1, 1, 1), (1, 2, 1, 2, 2), (1, 1, 1, 1, 1, 1)])
def test_couplings_through_different_momenta_are_orthonormal(ls):
    """One for every way the momenta couple to zero, which counts the invariants: 3 of l = 1⁴, 15 of l = 1⁶."""
    vectors = [dict(coupling(ls, lint)) for lint in intermediate_momenta(ls)]
    tuples = sorted({ms for vector in vectors for ms in vector})
    matrix = np.array([[vector.get(ms, 0.0) for ms in tuples] for vector in vectors])
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(vectors)), atol=1e-12)
    assert len(vectors) == {(1, 1, 1, 1): 3, (1, 1, 1, 1, 1, 1): 15}.get(ls, len(vectors))


@pytest.mark.parametrize('ls', PYACE_ORDER)
def test_projections_are_in_the_order_of_pyace(ls):
    """It counts m-tuples before anything else, and zeros that rounding leaves at 1e-17 count."""
    found = sorted(intermediate_momenta(ls), key=lambda lint: coupling_order(ls, lint))
    assert found == PYACE_ORDER[ls]
    assert all(len([*group]) == 1 for _, group in groupby(found, key=lambda lint: coupling_order(ls, lint)))


def test_a_single_coupling_needs_no_order():
    assert coupling_order((2, 2), ()) == coupling_order((1, 2, 3), (3,)) == (0, ())
