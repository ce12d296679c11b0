# mypy: allow-untyped-defs
"""
Numba kernels of the linear ACE: geometry of one centre, atomic base, products, their adjoint, forces.

Summation order is fixed, so the same input gives the same bits. No flag removes NaN: a non-finite position makes
every energy, force and projection it touches non-finite.
"""

from __future__ import annotations

import numpy as np
from numba import njit

OPTIONS = {'cache': True, 'error_model': 'numpy', 'fastmath': {'reassoc', 'contract', 'nsz'}}


@njit(**OPTIONS)
def gather(centre, neighbours, basis, out):
    """Collect the neighbours of a centre by species: (pair, start) and unit vectors, distances, radials, slopes."""
    first, neighbour, vectors, species = neighbours
    tables, cutoffs, bin_width, n_elements = basis
    pair, start, unit, distance, radial, slope = out
    n_bins = tables.shape[1] - 1
    n_radial = tables.shape[3]
    count = 0
    for element in range(n_elements):
        start[element] = count
        row = species[centre] * n_elements + element
        for p in range(first[centre], first[centre + 1]):
            if species[neighbour[p]] != element:
                continue
            x, y, z = vectors[p, 0], vectors[p, 1], vectors[p, 2]
            r = np.sqrt(x * x + y * y + z * z)
            if r >= cutoffs[row]:
                continue
            inverse = 1.0 / r
            pair[count] = p
            unit[0, count], unit[1, count], unit[2, count] = x * inverse, y * inverse, z * inverse
            distance[count] = r
            scaled = r / bin_width
            bin_index = 0
            if scaled < n_bins:
                bin_index = int(scaled)
            t = scaled - bin_index
            node = tables[row, bin_index]
            following = tables[row, bin_index + 1]
            for g in range(n_radial):
                step = following[0, g] - node[0, g]
                c2 = 3.0 * step - 2.0 * node[1, g] - following[1, g]
                c3 = node[1, g] + following[1, g] - 2.0 * step
                radial[g, count] = ((c3 * t + c2) * t + node[1, g]) * t + node[0, g]
                slope[g, count] = ((3.0 * c3 * t + 2.0 * c2) * t + node[1, g]) / bin_width
            count += 1
    start[n_elements] = count
    return count


@njit(**OPTIONS)
def harmonics(count, l_max, factors, unit, legendre, power, ylm):
    """Fill Π_lm(z) (row l (l_max + 2) + m), (x + iy)^m and √(4π) Y_lm (row l (l_max + 1) + m), m ≥ 0."""
    width = l_max + 2
    power[0, 0, :count] = 1.0
    power[1, 0, :count] = 0.0
    for m in range(1, l_max + 1):
        for p in range(count):
            re, im = power[0, m - 1, p], power[1, m - 1, p]
            power[0, m, p] = re * unit[0, p] - im * unit[1, p]
            power[1, m, p] = re * unit[1, p] + im * unit[0, p]
    double_factorial = 1.0
    for m in range(l_max + 1):
        for ell in range(m):
            legendre[ell * width + m, :count] = 0.0
        legendre[m * width + m, :count] = double_factorial
        double_factorial *= 2 * m + 1
        for ell in range(m + 1, l_max + 1):
            a, b, bottom = 2.0 * ell - 1.0, ell + m - 1.0, 1.0 / (ell - m)
            for p in range(count):
                before = legendre[(ell - 2) * width + m, p] if ell > m + 1 else 0.0
                legendre[ell * width + m, p] = (
                    a * unit[2, p] * legendre[(ell - 1) * width + m, p] - b * before
                ) * bottom
    for ell in range(l_max + 1):
        legendre[ell * width + l_max + 1, :count] = 0.0
        for m in range(ell + 1):
            q, row, source = factors[ell, m], ell * (l_max + 1) + m, ell * width + m
            for p in range(count):
                value = q * legendre[source, p]
                ylm[0, row, p] = value * power[0, m, p]
                ylm[1, row, p] = value * power[1, m, p]


@njit(**OPTIONS)
def accumulate(slots, conjugate, start, radial, ylm, n_base, n_max, l_max, values):
    """Fill the atomic base A of all slots, real and imaginary: the m ≥ 0 half by sums, the rest by conjugation."""
    for s in range(slots.shape[0]):
        m = slots[s, 3]
        if m >= 0:
            g = n_base + slots[s, 2] * n_max + slots[s, 1]
            row = slots[s, 2] * (l_max + 1) + m
            re, im = 0.0, 0.0
            for p in range(start[slots[s, 0]], start[slots[s, 0] + 1]):
                re += radial[g, p] * ylm[0, row, p]
                im += radial[g, p] * ylm[1, row, p]
            values[0, s], values[1, s] = re, im
        else:
            sign = 1.0 - 2.0 * (m % 2)
            values[0, s] = sign * values[0, conjugate[s]]
            values[1, s] = -sign * values[1, conjugate[s]]


@njit(**OPTIONS)
def multiply(n_slots, nodes, values):
    """Fill the inner products."""
    for k in range(nodes.shape[0]):
        a, b = nodes[k, 0], nodes[k, 1]
        values[0, n_slots + k] = values[0, a] * values[0, b] - values[1, a] * values[1, b]
        values[1, n_slots + k] = values[0, a] * values[1, b] + values[1, a] * values[0, b]


@njit(**OPTIONS)
def adjoint(n_slots, nodes, terms, weights, values, adjoints):
    """Return Σ w Re(term) and fill its holomorphic derivative by every value."""
    adjoints[:] = 0.0
    energy = 0.0
    for t in range(terms.shape[0]):
        a, b, w = terms[t, 0], terms[t, 1], weights[t]
        energy += w * (values[0, a] * values[0, b] - values[1, a] * values[1, b])
        adjoints[0, a] += w * values[0, b]
        adjoints[1, a] += w * values[1, b]
        adjoints[0, b] += w * values[0, a]
        adjoints[1, b] += w * values[1, a]
    for k in range(nodes.shape[0] - 1, -1, -1):
        a, b = nodes[k, 0], nodes[k, 1]
        re, im = adjoints[0, n_slots + k], adjoints[1, n_slots + k]
        adjoints[0, a] += re * values[0, b] - im * values[1, b]
        adjoints[1, a] += re * values[1, b] + im * values[0, b]
        adjoints[0, b] += re * values[0, a] - im * values[1, a]
        adjoints[1, b] += re * values[1, a] + im * values[0, a]
    return energy


@njit(**OPTIONS)
def fold(slots, conjugate, adjoints):
    """Add the derivatives by the m < 0 half to the m ≥ 0 half."""
    for s in range(slots.shape[0]):
        m = slots[s, 3]
        if m == 0:
            adjoints[1, s] = 0.0
        elif m < 0:
            sign = 1.0 - 2.0 * (m % 2)
            adjoints[0, conjugate[s]] += sign * adjoints[0, s]
            adjoints[1, conjugate[s]] -= sign * adjoints[1, s]


@njit(**OPTIONS)
def project(terms, first, term_of, weights, values, start, radial, rank_one, out):
    """Fill the projections B of one centre: sums of base functions, then sums of real products."""
    for f in range(rank_one.shape[0]):
        total = 0.0
        for p in range(start[rank_one[f, 0]], start[rank_one[f, 0] + 1]):
            total += radial[rank_one[f, 1], p]
        out[f] = total
    for f in range(first.shape[0] - 1):
        total = 0.0
        for e in range(first[f], first[f + 1]):
            a, b = terms[term_of[e], 0], terms[term_of[e], 1]
            total += weights[e] * (values[0, a] * values[0, b] - values[1, a] * values[1, b])
        out[rank_one.shape[0] + f] = total


@njit(**OPTIONS)
def pair_gradients(slots, rank_one, c_one, adjoints, start, layout, geometry, gradient, work):
    """Fill dE_i/dr_p of the neighbours of one centre, rows x, y, z (tangential part not yet projected), radial."""
    n_base, n_max, l_max, factors = layout
    legendre, power, ylm, radial, slope = geometry
    count = start[start.shape[0] - 1]
    gradient[:, :count] = 0.0
    for f in range(rank_one.shape[0]):
        for p in range(start[rank_one[f, 0]], start[rank_one[f, 0] + 1]):
            gradient[3, p] += c_one[f] * slope[rank_one[f, 1], p]
    s, n_slots = 0, slots.shape[0]
    while s < n_slots and slots[s, 3] >= 0:
        mu, ell, m = slots[s, 0], slots[s, 2], slots[s, 3]
        a, b = start[mu], start[mu + 1]
        work[:, a:b] = 0.0
        while s < n_slots and slots[s, 0] == mu and slots[s, 2] == ell and slots[s, 3] == m:
            g = n_base + ell * n_max + slots[s, 1]
            re, im = adjoints[0, s], adjoints[1, s]
            for p in range(a, b):
                work[0, p] += re * radial[g, p]
                work[1, p] += im * radial[g, p]
                work[2, p] += re * slope[g, p]
                work[3, p] += im * slope[g, p]
            s += 1
        q, row, source = factors[ell, m], ell * (l_max + 1) + m, ell * (l_max + 2) + m
        for p in range(a, b):
            gradient[3, p] += work[2, p] * ylm[0, row, p] - work[3, p] * ylm[1, row, p]
            over = q * legendre[source + 1, p]
            gradient[2, p] += over * (work[0, p] * power[0, m, p] - work[1, p] * power[1, m, p])
        if m > 0:
            for p in range(a, b):
                value = q * m * legendre[source, p]
                gradient[0, p] += value * (work[0, p] * power[0, m - 1, p] - work[1, p] * power[1, m - 1, p])
                gradient[1, p] -= value * (work[0, p] * power[1, m - 1, p] + work[1, p] * power[0, m - 1, p])


@njit(**OPTIONS)
def scatter(centre, count, pair, unit, distance, neighbour, vectors, gradient, forces, virial):
    """Project the tangential part and add the forces and the virial Σ r ⊗ f, (3, 3), of one centre."""
    for q in range(count):
        p, inverse = pair[q], 1.0 / distance[q]
        along = 0.0
        for c in range(3):
            along += gradient[c, q] * unit[c, q]
        along = gradient[3, q] - along * inverse
        for c in range(3):
            g = gradient[c, q] * inverse + along * unit[c, q]
            forces[centre, c] += g
            forces[neighbour[p], c] -= g
            for d in range(3):
                virial[d, c] -= vectors[p, d] * g


@njit(**OPTIONS)
def evaluate_centres(centres, neighbours, basis, element, coefficients, layout, scratch, results):
    """Evaluate all centres of one element; adds to energies, forces, virial and fills projections if wanted."""
    _, neighbour, vectors, _ = neighbours
    slots, conjugate, nodes, terms, function_first, term_of, weights, rank_one = element
    c_one, term_weights = coefficients
    n_base, n_max, l_max, factors = layout
    pair, start, unit, distance, radial, slope, legendre, power, ylm, values, adjoints, gradient, work = scratch
    energies, forces, virial, projections = results
    collected = (pair, start, unit, distance, radial, slope)
    geometry = (legendre, power, ylm, radial, slope)
    n_slots = slots.shape[0]
    for i in centres:
        count = gather(i, neighbours, basis, collected)
        harmonics(count, l_max, factors, unit, legendre, power, ylm)
        accumulate(slots, conjugate, start, radial, ylm, n_base, n_max, l_max, values)
        multiply(n_slots, nodes, values)
        if projections.shape[0] > 0:
            project(terms, function_first, term_of, weights, values, start, radial, rank_one, projections[i])
        energy = adjoint(n_slots, nodes, terms, term_weights, values, adjoints)
        for f in range(rank_one.shape[0]):
            total = 0.0
            for p in range(start[rank_one[f, 0]], start[rank_one[f, 0] + 1]):
                total += radial[rank_one[f, 1], p]
            energy += c_one[f] * total
        energies[i] = energy
        fold(slots, conjugate, adjoints)
        pair_gradients(slots, rank_one, c_one, adjoints, start, layout, geometry, gradient, work)
        scatter(i, count, pair, unit, distance, neighbour, vectors, gradient, forces, virial)
