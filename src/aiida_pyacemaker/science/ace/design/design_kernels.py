# mypy: allow-untyped-defs
"""
Numba kernels of the rows of the linear problem: the derivatives of energy, forces and virial by the coefficients.

For one centre i, dB_f/dr_j = Σ_s (dA_s/dr_j) (dB_f/dA_s): rows G of geometry, one for every neighbouring *atom* (its
images are added up first), times J, one dgemm a species of neighbours. Real and imaginary parts of A with m ≥ 0 are
columns of their own; those of one species are contiguous. Summation order is fixed; no flag removes NaN.
"""

from __future__ import annotations

import numpy as np
from numba import njit

OPTIONS = {'cache': True, 'nogil': True, 'error_model': 'numpy', 'fastmath': {'reassoc', 'contract', 'nsz'}}


@njit(**OPTIONS)
def interpolate(table, bin_width, r, radial, slope):
    """Fill the radial functions and their derivatives at ``r`` from nodes (bins + 1, 2, functions)."""
    scaled = r / bin_width
    index = 0
    if scaled < table.shape[0] - 1:  # never for NaN
        index = int(scaled)
    t = scaled - index
    for g in range(table.shape[2]):
        low, rise = table[index, 0, g], table[index, 1, g]
        step, end = table[index + 1, 0, g] - low, table[index + 1, 1, g]
        c2 = 3.0 * step - 2.0 * rise - end
        c3 = rise + end - 2.0 * step
        radial[g] = ((c3 * t + c2) * t + rise) * t + low
        slope[g] = ((3.0 * c3 * t + 2.0 * c2) * t + rise) / bin_width


@njit(**OPTIONS)
def harmonics(l_max, factors, x, y, z, r, values, gradients):
    """
    Fill √(4π) Y_lm of the unit vector, (2, lm), and its gradient, (3, 2, lm) 1/Å, at row lm = l (l + 1)/2 + m, m ≥ 0.

    Y_lm = Q_lm Π_lm(z) (x + iy)^m with Π_lm = d^m P_l/dz^m.
    """
    re, im, before_re, before_im = 1.0, 0.0, 0.0, 0.0
    start = 1.0  # Π_mm
    for m in range(l_max + 1):
        above, here, higher_above, higher = 0.0, start, 0.0, 0.0  # Π_{l-1,m}, Π_lm and the same of m + 1
        for ell in range(m, l_max + 1):
            if ell > m:
                following = ((2.0 * ell - 1.0) * z * here - (ell + m - 1.0) * above) / (ell - m)
                above, here = here, following
                if ell == m + 1:
                    higher_above, higher = 0.0, start * (2 * m + 1)
                else:
                    following = ((2.0 * ell - 1.0) * z * higher - (ell + m) * higher_above) / (ell - m - 1.0)
                    higher_above, higher = higher, following
            row, q = ell * (ell + 1) // 2 + m, factors[ell, m]
            values[0, row], values[1, row] = q * here * re, q * here * im
            side = q * m * here
            gx, gy, gz = side * before_re, -side * before_im, q * higher * re
            along = gx * x + gy * y + gz * z
            gradients[0, 0, row] = (gx - along * x) / r
            gradients[1, 0, row] = (gy - along * y) / r
            gradients[2, 0, row] = (gz - along * z) / r
            gx, gy, gz = side * before_im, side * before_re, q * higher * im
            along = gx * x + gy * y + gz * z
            gradients[0, 1, row] = (gx - along * x) / r
            gradients[1, 1, row] = (gy - along * y) / r
            gradients[2, 1, row] = (gz - along * z) / r
        before_re, before_im = re, im
        re, im = re * x - im * y, re * y + im * x
        start *= 2 * m + 1


@njit(**OPTIONS)
def pair_columns(strips, radial, slope, unit, values, gradients, sums, rows):
    """
    Add R_nl Y_lm of one pair to ``sums`` (S,) and fill its gradient, ``rows`` (3, S).

    ``strips`` (k, 5): first column, columns, first radial function, row lm and part (0 real, 1 imaginary).
    """
    for k in range(strips.shape[0]):
        first, count, g, row, part = strips[k]
        value = values[part, row]
        for n in range(count):
            sums[first + n] += radial[g + n] * value
        for c in range(3):
            along, across = unit[c] * value, gradients[c, part, row]
            for n in range(count):
                rows[c, first + n] = slope[g + n] * along + radial[g + n] * across


@njit(**OPTIONS)
def derivatives(terms, parts, sums, found, products):
    """
    Fill Re of every product of A's, (T,), and its derivative by each factor, (T, 5, 2).

    ``terms`` (T, 5) are rows of ``parts``, padded with -1; ``parts`` (slots, 3): column of the real part, of the
    imaginary part (-1: none), and sign: 0 for m ≥ 0, else (-1)^m of A_-m = (-1)^m conj(A_m).
    """
    re, im = np.empty(5), np.empty(5)
    for t in range(terms.shape[0]):
        rank = 0
        while rank < 5 and terms[t, rank] >= 0:
            column, other, sign = parts[terms[t, rank]]
            re[rank] = sums[column]
            im[rank] = sums[other] if other >= 0 else 0.0
            if sign != 0:
                re[rank], im[rank] = sign * re[rank], -sign * im[rank]
            rank += 1
        for k in range(rank):
            a, b = 1.0, 0.0
            for other in range(rank):
                if other != k:
                    a, b = a * re[other] - b * im[other], a * im[other] + b * re[other]
            found[t, k, 0], found[t, k, 1] = a, b
        products[t] = found[t, 0, 0] * re[0] - found[t, 0, 1] * im[0]


@njit(**OPTIONS)
def jacobian(entries, entry_weights, found, jacobi):
    """Fill J = dB/dA, (S, functions of rank > 1); ``entries`` (k, 2): place in J, place in ``found``, both flat."""
    flat, source = jacobi.reshape(jacobi.size), found.reshape(found.size)
    for k in range(entries.shape[0]):
        flat[entries[k, 0]] = 0.0
    for k in range(entries.shape[0]):
        flat[entries[k, 0]] += entry_weights[k] * source[entries[k, 1]]


@njit(**OPTIONS)
def project(first, term_of, weights, products, base_sums, single_of, out):
    """Fill the projections B of one centre: sums of base functions (E, K), then sums of products."""
    n_one = out.shape[0] - (first.shape[0] - 1)
    for mu in range(single_of.shape[0]):
        for k in range(single_of.shape[1]):
            if single_of[mu, k] >= 0:
                out[single_of[mu, k]] = base_sums[mu, k]
    for f in range(first.shape[0] - 1):
        total = 0.0
        for e in range(first[f], first[f + 1]):
            total += weights[e] * products[term_of[e]]
        out[n_one + f] = total


@njit(**OPTIONS)
def add_row(sign, product, row):
    """Add ``sign`` times the functions of several factors, (F,), at the end of a row."""
    start = row.shape[0] - product.shape[0]
    for f in range(product.shape[0]):
        row[start + f] += sign * product[f]


@njit(**OPTIONS)
def add_single(sign, single, function_of, row):
    """Add ``sign`` times the functions of one factor, (K,), where they are in a row."""
    for k in range(single.shape[0]):
        if function_of[k] >= 0:
            row[function_of[k]] += sign * single[k]


@njit(**OPTIONS)
def add_gradient(rows, pull, totals, base_totals):
    """Add the gradient of one pair, (3, S) and of base functions (3, K), to three rows of each."""
    for c in range(3):
        for s in range(totals.shape[1]):
            totals[c, s] += rows[c, s]
        for k in range(pull.shape[1]):
            base_totals[c, k] += pull[c, k]


@njit(**OPTIONS)
def add_virial(rows, pull, vector, totals, base_totals):
    """Add r·d of one pair, d the gradient, to the six rows xx yy zz yz xz xy."""
    for v in range(6):
        c, d = (v, v) if v < 3 else (2 if v < 5 else 1, 1 if v == 3 else 0)
        for s in range(totals.shape[1]):
            totals[v, s] += vector[d] * rows[c, s]
        for k in range(pull.shape[1]):
            base_totals[v, k] += vector[d] * pull[c, k]


@njit(**OPTIONS)
def evaluate_pair(vector, r, table, basis, strips, scratch, sums, base_sums):
    """Add one pair to A (S,) and the base functions (K,), and fill its gradients by both in ``scratch``."""
    bin_width, l_max, factors = basis[2], basis[3], basis[4]
    _, radial, slope, unit, values, gradients, rows, pull = scratch
    for c in range(3):
        unit[c] = vector[c] / r
    interpolate(table, bin_width, r, radial, slope)
    harmonics(l_max, factors, unit[0], unit[1], unit[2], r, values, gradients)
    pair_columns(strips, radial, slope, unit, values, gradients, sums, rows)
    for k in range(base_sums.shape[0]):
        base_sums[k] += radial[k]
        for c in range(3):
            pull[c, k] = unit[c] * slope[k]


@njit(**OPTIONS)
def collect(centre, neighbours, basis, element, wanted, scratch, results):
    """
    Sum A, base functions and geometry of one centre over its pairs; return how many wanted atoms it moves.

    ``results``: A (S,), base functions (E, K), their gradients and virials (9, S) and (E, 9, K): rows dx dy dz, then
    r·d of xx yy zz yz xz xy; targets (T,) atoms by species, ``begin`` (E + 1,) and their geometry, flat
    (3 T, S of the species) and (3 T, K). An image of the centre itself moves nothing, but it has a virial.
    """
    first, neighbour, vectors, species = neighbours
    tables, cutoffs = basis[0], basis[1]
    strips, strip_first, column_first = element
    local, rows, pull = scratch[0], scratch[6], scratch[7]
    sums, base_sums, total, base_total, targets, begin, geometry, base_geometry = results
    sums[:], base_sums[:], total[:], base_total[:] = 0.0, 0.0, 0.0, 0.0
    n_elements, count, place = base_sums.shape[0], 0, 0
    for mu in range(n_elements):
        begin[mu] = count
        a, b = column_first[mu], column_first[mu + 1]
        block, row = 3 * (b - a), species[centre] * n_elements + mu
        here = strips[strip_first[mu] : strip_first[mu + 1]]
        for p in range(first[centre], first[centre + 1]):
            j, vector = neighbour[p], vectors[p]
            r = np.sqrt(vector[0] ** 2 + vector[1] ** 2 + vector[2] ** 2)
            if species[j] != mu or r >= cutoffs[row]:
                continue
            evaluate_pair(vector, r, tables[row], basis, here, scratch, sums[a:b], base_sums[mu])
            add_virial(rows, pull, vector, total[3:, a:b], base_total[mu, 3:])
            if j == centre:
                continue
            add_gradient(rows, pull, total[:, a:b], base_total[mu])
            if wanted[j] < 0:
                continue
            t = local[j]
            at = place + (t - begin[mu]) * block
            if t < 0:
                t, at = count, place + (count - begin[mu]) * block
                local[j], targets[count] = count, j
                geometry[at : at + block] = 0.0
                base_geometry[3 * t : 3 * t + 3] = 0.0
                count += 1
            add_gradient(rows, pull, geometry[at : at + block].reshape(3, b - a), base_geometry[3 * t : 3 * t + 3])
        place += (count - begin[mu]) * block
    begin[n_elements] = count
    for t in range(count):
        local[targets[t]] = -1
    return count


@njit(**OPTIONS)
def add_own(collected, jacobi, single_of, around, target, columns, virial, forces):
    """Add what a centre's own position feels to the force rows of ``target`` (-1: unwanted), and its virial."""
    total, base_total = collected[2], collected[3]
    if jacobi.shape[1]:
        np.dot(total, jacobi, around)
    for v in range(6):
        row = virial[v, columns[0] : columns[1]]
        add_row(-1.0, around[3 + v], row)
        for mu in range(single_of.shape[0]):
            add_single(-1.0, base_total[mu, 3 + v], single_of[mu], row)
    if target >= 0:
        for c in range(3):
            row = forces[target, c, columns[0] : columns[1]]
            add_row(1.0, around[c], row)
            for mu in range(single_of.shape[0]):
                add_single(1.0, base_total[mu, c], single_of[mu], row)


@njit(**OPTIONS)
def add_others(collected, column_first, jacobi, single_of, block, wanted, columns, forces):
    """Subtract from the rows of every wanted neighbour what it feels of a centre."""
    targets, begin, geometry, base_geometry = collected[4:]
    place = 0
    for mu in range(single_of.shape[0]):
        a, b, count = column_first[mu], column_first[mu + 1], begin[mu + 1] - begin[mu]
        size = 3 * count * (b - a)
        if size:
            np.dot(geometry[place : place + size].reshape(3 * count, b - a), jacobi[a:b], block[: 3 * count])
        else:
            block[: 3 * count] = 0.0
        place += size
        for t in range(count):
            target = wanted[targets[begin[mu] + t]]
            for c in range(3):
                row = forces[target, c, columns[0] : columns[1]]
                add_row(-1.0, block[3 * t + c], row)
                add_single(-1.0, base_geometry[3 * (begin[mu] + t) + c], single_of[mu], row)


@njit(**OPTIONS)
def design_centres(centres, neighbours, basis, element, wanted, scratch, columns, results):
    """
    Add the rows of all ``centres`` of one element; ``wanted`` (atoms,) is the place of an atom's force rows, or -1.

    ``scratch``: work arrays of one pair, of one centre (`collect`), and of the products; ``columns``: first and last
    coefficient of the element in ``results``: energy (P,), forces (wanted, 3, P), virial (6, P) Σ r ⊗ f, projections
    (wanted, largest).
    """
    geometric, terms, parts, entries, entry_weights, function_first, term_of, weights, single_of = element
    energy, forces, virial, projections = results
    pair, collected, (found, products, jacobi, block, around, own) = scratch
    for i in centres:
        collect(i, neighbours, basis, geometric, wanted, pair, collected)
        derivatives(terms, parts, collected[0], found, products)
        project(function_first, term_of, weights, products, collected[1], single_of, own)
        jacobian(entries, entry_weights, found, jacobi)
        energy[columns[0] : columns[1]] += own
        if wanted[i] >= 0:
            projections[wanted[i], : own.shape[0]] = own
        add_own(collected, jacobi, single_of, around, wanted[i], columns, virial, forces)
        add_others(collected, geometric[2], jacobi, single_of, block, wanted, columns, forces)
