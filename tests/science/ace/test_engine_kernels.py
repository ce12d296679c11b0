"""Kernels of the fast engine, pairs and products, against plain NumPy twins."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from ace_examples import reference
from numba import njit
from scipy.special import sph_harm_y

from aiida_pyacemaker.science.ace.engine import centre_kernels, columns, lanes, pair_kernels
from aiida_pyacemaker.science.ace.engine import product_kernels as products
from aiida_pyacemaker.science.ace.engine.compiled import compiled
from aiida_pyacemaker.science.ace.engine.products import element_products, share_pairs

RNG = np.random.default_rng(11)


def test_cached_code_is_of_these_sources():
    """
    numba's cache looks only at the file of the function it holds: a change in a file that is inlined there must show.

    When this fails, put the digest it prints into `centre_kernels.SOURCES`.
    """
    folder = Path(lanes.__file__).parent
    digest = hashlib.sha256()
    for name in ('lanes', 'pair_kernels', 'product_kernels', 'embedding_kernels'):
        digest.update((folder / f'{name}.py').read_bytes())
    assert centre_kernels.SOURCES == digest.hexdigest()[:16]


@njit(error_model='numpy')
def use_lanes(a, out, integers):
    rows = pair_kernels.load_eight(a, 0, 8)
    pair_kernels.store_eight(out, 0, lanes.transpose(rows))
    lanes.store(out, 64, lanes.totals(rows))
    lanes.store(out, 72, rows[0] * rows[1] + lanes.spread(a, 3) / lanes.splat(2.0) - lanes.root(rows[2]))
    lanes.store(out, 80, lanes.least(rows[3], rows[4]))
    lanes.store(out, 88, lanes.truncate(rows[5]))
    lanes.store_integers(integers, 0, rows[5])
    out[96] = lanes.total(rows[6])
    lanes.subtract_four(out, 97, rows[7])


def test_lanes():
    a, out, integers = RNG.uniform(0, 9, 64), np.zeros(110), np.zeros(8, np.int32)
    rows = a.reshape(8, 8)
    use_lanes(a, out, integers)
    np.testing.assert_array_equal(out[:64].reshape(8, 8), rows.T)
    np.testing.assert_allclose(out[64:72], rows.sum(axis=1), rtol=1e-15)
    np.testing.assert_allclose(out[72:80], rows[0] * rows[1] + a[3] / 2 - np.sqrt(rows[2]), rtol=1e-14)
    np.testing.assert_array_equal(out[80:88], np.minimum(rows[3], rows[4]))
    np.testing.assert_array_equal(out[88:96], np.trunc(rows[5]))
    np.testing.assert_array_equal(integers, np.trunc(rows[5]))
    assert out[96] == pytest.approx(rows[6].sum(), rel=1e-15)
    np.testing.assert_array_equal(out[97:], [*-rows[7, :4], *np.zeros(9)])
    a[24] = a[27] = np.nan
    use_lanes(a, out, integers)
    np.testing.assert_array_equal(out[80:84], [rows[4, 0], *np.minimum(rows[3], rows[4])[1:3], rows[4, 3]])
    assert np.isnan(out[64 + 3]) and np.isfinite(np.delete(out[64:72], 3)).all()


def test_gather_sorts_by_species_and_pads():
    vectors = RNG.normal(scale=2.0, size=(23, 3))
    vectors[4] = np.nan
    neighbour, species = RNG.integers(0, 9, 23), np.array([0, 1, 0, 1, 1, 0, 0, 1, 0])
    bonds = (np.array([9.0, 6.0, 4.0, 4.0]), None, None, None, None)
    capacity, n_rows = 8, 7
    geometry, starts = np.zeros(2 * capacity * n_rows * 8), np.zeros(6, np.int64)
    targets = np.zeros(2 * capacity * 8, np.int64)
    arguments = (np.array([0, 23]), neighbour, vectors.ravel(), species, 9)
    layout = (2, capacity, n_rows, 99.0)

    @njit
    def call(arguments, cutoffs, layout, scratch):
        pair_kernels.gather(1, 0, arguments, (cutoffs, 0, 0, 0, 0), layout, scratch)

    call(arguments, bonds[0], layout, (geometry, starts, targets))
    found = geometry.reshape(2, capacity, n_rows, 8)[1, :, :3].transpose(0, 2, 1).reshape(-1, 3)
    near = ~(np.sum(vectors**2, axis=1) >= bonds[0][species[neighbour]])
    begin = 0
    for element in (0, 1):
        chosen = np.flatnonzero(near & (species[neighbour] == element))
        end = begin + -(-len(chosen) // 8) * 8
        assert starts[3 + element] * 8 == begin and starts[4 + element] * 8 == end
        np.testing.assert_array_equal(found[begin : begin + len(chosen)], vectors[chosen])
        np.testing.assert_array_equal(targets[64 + begin : 64 + begin + len(chosen)], neighbour[chosen])
        np.testing.assert_array_equal(
            found[begin + len(chosen) : end], np.tile([0, 0, 99.0], (end - begin - len(chosen), 1))
        )
        assert (targets[64 + begin + len(chosen) : 64 + end] == 9).all()
        begin = end


def test_harmonics():
    """Rows of P_lm and (x + iy)^m multiply to √(4π) Y_lm; their recursion factors give dP_lm/dz."""
    l_max, vectors = 5, RNG.normal(size=(3, 8))
    n_legendre = (l_max + 1) * (l_max + 2) // 2
    geometry = np.zeros((5 + n_legendre + 2 * (l_max + 1)) * 8)
    geometry[:24] = vectors.ravel()
    factors = columns.harmonic_recursion(l_max)

    @njit
    def call(geometry, l_max, factors):
        pair_kernels.place(geometry, 0, l_max, factors)

    call(geometry, l_max, factors)
    rows, r = geometry.reshape(-1, 8), np.linalg.norm(vectors, axis=0)
    np.testing.assert_allclose(rows[:3], vectors / r, rtol=1e-15)
    np.testing.assert_allclose(rows[3:5], [1 / r, r], rtol=1e-15)
    theta, phi = np.arccos(rows[2]), np.arctan2(rows[1], rows[0])
    power = rows[5 + n_legendre :].reshape(2, -1, 8)
    for ell in range(l_max + 1):
        for m in range(ell + 1):
            value = rows[5 + ell * (ell + 1) // 2 + m] * (power[0, m] + 1j * power[1, m])
            np.testing.assert_allclose(value, np.sqrt(4 * np.pi) * sph_harm_y(ell, m, theta, phi), atol=1e-13)
            slope = factors.reshape(l_max + 1, l_max + 1, 3)[ell, m, 2]
            assert (slope == 0) == (m == ell)


def test_hermite():
    """Values and slopes of a cubic are exact; the last bin holds what is beyond, and NaN stays NaN."""
    width, n_bins, spacing = 8, 5, 0.3
    polynomial = [np.polynomial.Polynomial(RNG.normal(size=4)) for _ in range(width)]
    nodes = np.arange(n_bins + 1) * spacing
    table = np.zeros((n_bins + 2, 2, width))
    table[: n_bins + 1] = np.array(
        [[[p(r) for p in polynomial], [p.deriv()(r) * spacing for p in polynomial]] for r in nodes]
    )
    table[n_bins:] = 0.0
    r = np.array([0.0, 0.1, 0.3, 0.75, 1.1, 1.7, 40.0, np.nan])
    values, slopes, bins, weights, sums = np.zeros(64), np.zeros(64), np.zeros(8, np.int32), np.zeros(48), np.zeros(8)

    @njit
    def call(r, table, bins, weights, values, slopes, sums):
        pair_kernels.hermite_weights(lanes.load(r, 0), spacing, float(n_bins), bins, weights)
        pair_kernels.radials(table, 0, width, bins, weights, values, slopes, 0)
        pair_kernels.sum_base(table, 0, width, bins, weights, sums, 0)

    call(r, table.ravel(), bins, weights, values, slopes, sums)
    for f, p in enumerate(polynomial):
        np.testing.assert_allclose(values.reshape(8, 8)[f, :5], p(r[:5]), atol=1e-14)
        np.testing.assert_allclose(slopes.reshape(8, 8)[f, :5], p.deriv()(r[:5]), atol=1e-13)
    np.testing.assert_array_equal(values.reshape(8, 8)[:, 5:7], 0.0)
    assert np.isnan(values.reshape(8, 8)[:, 7]).all() and np.isnan(sums).all()
    call(np.nan_to_num(r, nan=40.0), table.ravel(), bins, weights, values, slopes, sums := np.zeros(8))
    np.testing.assert_allclose(sums, values.reshape(8, 8).sum(axis=1), atol=1e-13)


L_MAX, COUNTS, N_COLUMNS, N_ROWS = 3, np.array([5, 4, 2, 1]), 16, 23
COLUMNS = np.cumsum(COUNTS) - COUNTS


def tile_layout():
    """Return the first tile of every (l, m) and the number of tiles."""
    tiles, used = np.zeros((L_MAX + 1, L_MAX + 1), np.int64), 0
    for ell, m in zip(*np.tril_indices(L_MAX + 1), strict=True):
        tiles[ell, m] = used
        used += -(-COUNTS[ell] // 4)
    return tiles, used


def harmonics(vectors):
    """Return √(4π) Y_lm, m ≥ 0, by (l, m)."""
    x, y, z = vectors / np.linalg.norm(vectors, axis=0)
    theta, phi = np.arccos(z), np.arctan2(y, x)
    return {(ell, m): np.sqrt(4 * np.pi) * sph_harm_y(ell, m, theta, phi) for ell in range(L_MAX + 1) for m in range(ell + 1)}  # fmt: skip # noqa: E501


@njit(error_model='numpy')
def run_pairs(bonds, factors, geometry, values, slopes, atomic, weights, targets, forces, out):
    for g in range(2):
        pair_kernels.place(geometry, g * N_ROWS * 8, L_MAX, factors)
    pair_kernels.atomic_base(0, (0, 2, N_ROWS), L_MAX, N_COLUMNS, bonds, geometry, values, atomic, 0)
    for g in range(2):
        here, at = g * N_ROWS * 8, g * N_COLUMNS * 8
        found = pair_kernels.group_gradient(0, here, at, L_MAX, bonds, factors, geometry, values, slopes, weights, 0)
        pushed = pair_kernels.push(geometry, here, targets, g * 8, forces, 0, found)
        for row in range(6):
            lanes.store(out, (g * 6 + row) * 8, pushed[row])


def test_atomic_base_and_its_gradient():
    """A is Σ R √(4π) Y; what is pushed on a neighbour is the derivative of Σ Re(w R Y), by central differences."""
    (tiles, n_tiles), vectors = tile_layout(), RNG.normal(scale=2.0, size=(3, 16))
    values, slopes = RNG.normal(size=(2, 2, N_COLUMNS, 8))
    geometry = np.zeros((2, N_ROWS, 8))
    geometry[:, :3] = vectors.reshape(3, 2, 8).transpose(1, 0, 2)
    weights, atomic, out = RNG.normal(size=n_tiles * 8), np.zeros(n_tiles * 8), np.zeros(96)
    forces, targets = np.zeros(16 * 4), RNG.permutation(16)
    layout = (np.zeros(1), np.zeros(3, np.int64), COLUMNS, COUNTS, tiles.ravel())
    recursion = columns.harmonic_recursion(L_MAX)
    run_pairs(
        layout, recursion, geometry.ravel(), values.ravel(), slopes.ravel(), atomic, weights, targets, forces, out
    )  # fmt: skip
    radial, slope = (part.transpose(1, 0, 2).reshape(N_COLUMNS, 16) for part in (values, slopes))
    places = [(ell, m, n) for ell in range(L_MAX + 1) for m in range(ell + 1) for n in range(COUNTS[ell])]
    offsets = {(ell, m, n): (tiles[ell, m] + n // 4) * 8 + n % 4 for ell, m, n in places}
    y, r = harmonics(vectors), np.linalg.norm(vectors, axis=0)
    for ell, m, n in places:
        expected = np.sum(radial[COLUMNS[ell] + n] * y[ell, m])
        at = offsets[ell, m, n]
        assert atomic[at] + 1j * atomic[at + 4] == pytest.approx(expected, rel=1e-12, abs=1e-12)

    def energies(moved):
        y, change = harmonics(moved), np.linalg.norm(moved, axis=0) - r
        total = np.zeros(16)
        for (ell, m, n), at in offsets.items():
            size = radial[COLUMNS[ell] + n] + slope[COLUMNS[ell] + n] * change
            total += size * ((weights[at] + (1j * weights[at + 4] if m else 0.0)) * y[ell, m]).real
        return total

    found = out.reshape(2, 6, 8).transpose(1, 0, 2).reshape(6, 16)
    for axis in range(3):
        step = np.zeros((3, 1))
        step[axis] = 1e-6
        numeric = (energies(vectors + step) - energies(vectors - step)) / 2e-6
        np.testing.assert_allclose(found[axis], numeric, rtol=1e-6, atol=1e-7)
        np.testing.assert_array_equal(forces.reshape(16, 4)[targets, axis], -found[axis])
    np.testing.assert_allclose(found[3:], vectors, rtol=1e-14)
    assert not forces.reshape(16, 4)[:, 3].any()


@pytest.fixture(scope='module')
def flat():
    """Products of a small potential and random values of eight centres in their layout."""
    potential = reference('AlNi_ChebPow_mixed_embed')[0]
    found = compiled(potential)
    values = np.zeros(found.products.spans.n_values.max())
    tiles = found.columns.n_tiles * 64
    values[:tiles] = RNG.normal(size=tiles)
    return potential, found, values


def complex_at(values, offset):
    return values[offset : offset + 8] + 1j * values[offset + products.IMAGINARY : offset + products.IMAGINARY + 8]


@njit(error_model='numpy')
def run_products(span, arrays, terms, projection, n_densities, factors, values, adjoints, out, term_values, many):
    mirrors, nodes = arrays
    products.multiply(span, mirrors, nodes, values)
    out[:] = 0.0
    products.densities(span, terms, n_densities, values, out)
    products.project(span, terms, projection, values, term_values, many)
    products.adjoint(span, terms, n_densities, factors, values, adjoints)
    products.back_propagate(span, mirrors, nodes, values, adjoints)


def all_products(found, element, values, factors):
    spans, mirrors, nodes, *terms = found.terms
    span = spans.reshape(-1, centre_kernels.SPAN)[element]
    work, adjoints, out = values.copy(), np.zeros_like(values), np.zeros(found.n_densities * 8)
    term_values, many = np.zeros(len(terms[2]) * 8), np.zeros((span[8] - span[7]) * 8)
    run_products(
        span, (mirrors, nodes), tuple(terms), found.projections[:3], found.n_densities, factors,
        work, adjoints, out, term_values, many,
    )  # fmt: skip
    return work, adjoints, out.reshape(-1, 8), many.reshape(-1, 8)


@pytest.mark.parametrize('element', [0, 1])
def test_products_and_their_adjoint(flat, element):
    """Densities are Σ c B of products written out; adjoints are their derivatives by every part of A."""
    potential, found, values = flat
    factors = RNG.normal(size=found.n_densities * 8)
    work, adjoints, densities, many = all_products(found, element, values, factors)
    shared = element_products(potential.functions[element])
    a = {slot: complex_at(values, found.columns.place(element, slot)) for slot in shared.slots if slot[3] >= 0}
    a |= {s: (-1.0) ** s[3] * np.conj(complex_at(values, found.columns.place(element, (*s[:3], -s[3])))) for s in shared.slots if s[3] < 0}  # fmt: skip # noqa: E501
    list_of = [a[slot] for slot in shared.slots]
    for left, right in shared.nodes:
        list_of.append(list_of[left] * list_of[right])
    b = [
        sum(weight * (list_of[shared.terms[t][0]] * list_of[shared.terms[t][1]]).real for t, weight in entry.items())
        for entry in shared.entries
    ]
    np.testing.assert_allclose(many, b, rtol=1e-11, atol=1e-12)
    start = sum(potential.n_functions[:element]) + potential.n_functions[element] - len(b)
    coefficients = potential.coefficients[start : start + len(b)]
    np.testing.assert_allclose(densities, coefficients.T @ np.array(b), rtol=1e-10, atol=1e-11)
    lane, step = 3, 1e-6
    weights = factors.reshape(-1, 8)[:, lane]
    for slot in list(a)[::5]:
        if slot[3] < 0:
            continue
        offset = found.columns.place(element, slot)
        for part, sign in ((0, 1.0), (products.IMAGINARY, -1.0)):
            if part and slot[3] == 0:
                continue
            energies = []
            for delta in (step, -step):
                moved = values.copy()
                moved[offset + part + lane] += delta
                energies.append(weights @ all_products(found, element, moved, factors)[2][:, lane])
            numeric = (energies[0] - energies[1]) / (2 * step)
            assert sign * adjoints[offset + part + lane] == pytest.approx(numeric, rel=1e-6, abs=1e-7)
    assert np.isfinite(work).all()


def test_sharing_keeps_every_product():
    terms = [tuple(sorted(RNG.integers(0, 12, size=size))) for size in RNG.integers(2, 6, size=60)]
    nodes, last = share_pairs(terms, 12)
    assert (nodes, last) == share_pairs(terms, 12)
    values = list(RNG.normal(size=12))
    for a, b in nodes:
        values.append(values[a] * values[b])
    np.testing.assert_allclose(
        [values[a] * values[b] for a, b in last], [np.prod(np.array(values)[list(t)]) for t in terms]
    )
    assert len(nodes) < sum(len(term) - 2 for term in terms)
