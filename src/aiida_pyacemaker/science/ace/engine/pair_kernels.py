# mypy: allow-untyped-defs, allow-untyped-calls
"""
Pair stage of the fast engine: neighbours of one centre in vectors of eight of one species.

Scratch arrays are flat. ``geometry`` holds, a centre and group of eight neighbours, rows of eight: x, y, z (unit
vector), 1/r, r, then P_lm (row 5 + l (l + 1)/2 + m), then Re and Im (x + iy)^m. ``values`` and ``slopes`` hold the
columns of the radial table. What is too long for a group is padded with neighbours beyond the cut-off, whose radial
functions are zero; their forces go to the row after the last atom.
"""

from __future__ import annotations

from numba import njit

from .lanes import (
    least,
    load,
    root,
    splat,
    spread,
    store,
    store_integers,
    subtract_four,
    totals,
    transpose,
    truncate,
)

OPTIONS = {'cache': True, 'error_model': 'numpy', 'forceinline': True}


@njit(**OPTIONS)
def gather(k, centre, neighbours, bonds, sizes, scratch):
    """Collect the neighbours of a centre by species into raw vectors; fills group starts and targets."""
    first, neighbour, vectors, species, n_atoms = neighbours
    cutoffs, _, _, _, _ = bonds
    n_elements, capacity, n_rows, far = sizes
    geometry, starts, targets = scratch
    at, position = k * capacity * n_rows * 8, 0
    row = species[centre] * n_elements
    for element in range(n_elements):
        starts[k * (n_elements + 1) + element] = position >> 3
        limit = cutoffs[row + element]
        for p in range(first[centre], first[centre + 1]):
            j = neighbour[p]
            x, y, z = vectors[3 * p], vectors[3 * p + 1], vectors[3 * p + 2]
            here = at + (position >> 3) * n_rows * 8 + (position & 7)
            geometry[here], geometry[here + 8], geometry[here + 16] = x, y, z
            targets[k * capacity * 8 + position] = j
            # not >=: a distance that is not a number must stay
            position += (species[j] == element) & (not x * x + y * y + z * z >= limit)
        while position & 7:
            here = at + (position >> 3) * n_rows * 8 + (position & 7)
            geometry[here], geometry[here + 8], geometry[here + 16] = 0.0, 0.0, far
            targets[k * capacity * 8 + position] = n_atoms
            position += 1
    starts[k * (n_elements + 1) + n_elements] = position >> 3


@njit(**OPTIONS)
def place(geometry, at, l_max, harmonics):
    """Fill one group's unit vectors, distances, P_lm and (x + iy)^m from its raw vectors."""
    x, y, z = load(geometry, at), load(geometry, at + 8), load(geometry, at + 16)
    r = root(x * x + y * y + z * z)
    inverse = splat(1.0) / r
    x, y, z = x * inverse, y * inverse, z * inverse
    store(geometry, at, x)
    store(geometry, at + 8, y)
    store(geometry, at + 16, z)
    store(geometry, at + 24, inverse)
    store(geometry, at + 32, r)
    legendre = at + 40
    width = l_max + 1
    power = legendre + (width * (width + 1) // 2) * 8
    re, im = splat(1.0), splat(0.0)
    for m in range(width):
        store(geometry, power + m * 8, re)
        store(geometry, power + (width + m) * 8, im)
        re, im = re * x - im * y, re * y + im * x
        last, before = spread(harmonics, 3 * (m * width + m)), splat(0.0)
        store(geometry, legendre + (m * (m + 1) // 2 + m) * 8, last)
        for ell in range(m + 1, width):
            q = 3 * (ell * width + m)
            last, before = spread(harmonics, q) * z * last + spread(harmonics, q + 1) * before, last
            store(geometry, legendre + (ell * (ell + 1) // 2 + m) * 8, last)
    return r


@njit(**OPTIONS)
def hermite_weights(r, width, last, bins, weights):
    """Fill the bins of eight distances and the weights of value step and node slopes: three of f, three of f'."""
    one, two, three, six = splat(1.0), splat(2.0), splat(3.0), splat(6.0)
    inverse = splat(1.0 / width)
    scaled = r * inverse
    whole = least(truncate(scaled), splat(last))  # what is no number goes to the last bin too, and stays none
    t = scaled - whole
    back = one - t
    store_integers(bins, 0, whole)
    store(weights, 0, t * t * (three - two * t))
    store(weights, 8, t * back * back)
    store(weights, 16, t * t * (t - one))
    store(weights, 24, six * t * back * inverse)
    store(weights, 32, back * (one - three * t) * inverse)
    store(weights, 40, t * (three * t - two) * inverse)


@njit(**OPTIONS)
def interpolate(table, node, width, weights, lane):
    """Return eight radial functions of one neighbour and their slopes."""
    here, slope = load(table, node), load(table, node + width)
    step, next_slope = load(table, node + 2 * width) - here, load(table, node + 3 * width)
    value = spread(weights, lane) * step + here
    value = spread(weights, 8 + lane) * slope + value
    value = spread(weights, 16 + lane) * next_slope + value
    derivative = spread(weights, 24 + lane) * step
    derivative = spread(weights, 32 + lane) * slope + derivative
    derivative = spread(weights, 40 + lane) * next_slope + derivative
    return value, derivative


@njit(**OPTIONS)
def radials(table, offset, width, bins, weights, values, slopes, at):
    """Fill the radial columns of one group of neighbours, (width, 8)."""
    double = 2 * width
    for block in range(0, width, 8):
        base = offset + block
        v0, s0 = interpolate(table, base + bins[0] * double, width, weights, 0)
        v1, s1 = interpolate(table, base + bins[1] * double, width, weights, 1)
        v2, s2 = interpolate(table, base + bins[2] * double, width, weights, 2)
        v3, s3 = interpolate(table, base + bins[3] * double, width, weights, 3)
        v4, s4 = interpolate(table, base + bins[4] * double, width, weights, 4)
        v5, s5 = interpolate(table, base + bins[5] * double, width, weights, 5)
        v6, s6 = interpolate(table, base + bins[6] * double, width, weights, 6)
        v7, s7 = interpolate(table, base + bins[7] * double, width, weights, 7)
        store_eight(values, at + block * 8, transpose((v0, v1, v2, v3, v4, v5, v6, v7)))
        store_eight(slopes, at + block * 8, transpose((s0, s1, s2, s3, s4, s5, s6, s7)))


@njit(**OPTIONS)
def store_eight(array, at, rows):
    """Store eight rows one after the other."""
    store(array, at, rows[0])
    store(array, at + 8, rows[1])
    store(array, at + 16, rows[2])
    store(array, at + 24, rows[3])
    store(array, at + 32, rows[4])
    store(array, at + 40, rows[5])
    store(array, at + 48, rows[6])
    store(array, at + 56, rows[7])


@njit(**OPTIONS)
def load_eight(array, at, stride):
    """Return eight rows, ``stride`` apart."""
    return (
        load(array, at),
        load(array, at + stride),
        load(array, at + 2 * stride),
        load(array, at + 3 * stride),
        load(array, at + 4 * stride),
        load(array, at + 5 * stride),
        load(array, at + 6 * stride),
        load(array, at + 7 * stride),
    )


@njit(**OPTIONS)
def sum_tile(geometry, values, rows, legendre, power, imaginary, columns, n_columns):
    """Return A_nlm of four n, real parts then imaginary parts, (8,), by summing over groups of neighbours."""
    begin, end, n_rows = rows
    zero = splat(0.0)
    a0, a1, a2, a3, b0, b1, b2, b3 = zero, zero, zero, zero, zero, zero, zero, zero
    for g in range(begin, end):
        here, column = g * n_rows * 8, (g * n_columns + columns) * 8
        p = load(geometry, here + legendre)
        re, im = p * load(geometry, here + power), p * load(geometry, here + imaginary)
        r0, r1 = load(values, column), load(values, column + 8)
        r2, r3 = load(values, column + 16), load(values, column + 24)
        a0, a1, a2, a3 = a0 + re * r0, a1 + re * r1, a2 + re * r2, a3 + re * r3
        b0, b1, b2, b3 = b0 + im * r0, b1 + im * r1, b2 + im * r2, b3 + im * r3
    return totals((a0, a1, a2, a3, b0, b1, b2, b3))


@njit(**OPTIONS)
def sum_real_tile(geometry, values, rows, legendre, columns, n_columns):
    """Return A_nl0 of four n, then four zeros."""
    begin, end, n_rows = rows
    zero = splat(0.0)
    a0, a1, a2, a3 = zero, zero, zero, zero
    for g in range(begin, end):
        column = (g * n_columns + columns) * 8
        p = load(geometry, g * n_rows * 8 + legendre)
        a0, a1 = a0 + p * load(values, column), a1 + p * load(values, column + 8)
        a2, a3 = a2 + p * load(values, column + 16), a3 + p * load(values, column + 24)
    return totals((a0, a1, a2, a3, zero, zero, zero, zero))


@njit(**OPTIONS)
def atomic_base(row, rows, l_max, n_columns, bonds, geometry, values, out, out_at):
    """Fill the tiles of one centre and one neighbour species; ``rows``: first, last group (absolute), rows a group."""
    _, _, columns, counts, tiles = bonds
    width = l_max + 1
    powers = 40 + (width * (width + 1) // 2) * 8
    for ell in range(width):
        count = counts[row * width + ell]
        for m in range(ell + 1):
            tile = out_at + tiles[(row * width + ell) * width + m] * 8
            legendre = 40 + (ell * (ell + 1) // 2 + m) * 8
            power, imaginary = powers + m * 8, powers + (width + m) * 8
            column = columns[row * width + ell]
            for n in range(0, count, 4):
                if m == 0:
                    found = sum_real_tile(geometry, values, rows, legendre, column + n, n_columns)
                else:
                    found = sum_tile(geometry, values, rows, legendre, power, imaginary, column + n, n_columns)
                store(out, tile + n * 2, found)


@njit(**OPTIONS)
def contract(weights, at, values, slopes, column, count):
    """Return Σ_n w R and Σ_n w R' of one (l, m), real and imaginary; weights in tiles of four."""
    zero = splat(0.0)
    a, b, c, d = zero, zero, zero, zero
    for n in range(count):
        w = at + (n >> 2) * 8 + (n & 3)
        re, im = spread(weights, w), spread(weights, w + 4)
        value, slope = load(values, column + n * 8), load(slopes, column + n * 8)
        a, b, c, d = a + re * value, b + im * value, c + re * slope, d + im * slope
    return a, b, c, d


@njit(**OPTIONS)
def contract_real(weights, at, values, slopes, column, count):
    """Return Σ_n w R and Σ_n w R' of one l and m = 0."""
    a, c = splat(0.0), splat(0.0)
    for n in range(count):
        w = spread(weights, at + (n >> 2) * 8 + (n & 3))
        a, c = a + w * load(values, column + n * 8), c + w * load(slopes, column + n * 8)
    return a, c


@njit(**OPTIONS)
def group_gradient(row, here, radial_at, l_max, bonds, harmonics, geometry, values, slopes, weights, weights_at):
    """Return the tangential gradient x, y, z (not yet projected) and the radial one of the products."""
    _, _, columns, counts, tiles = bonds
    width = l_max + 1
    powers = here + 40 + (width * (width + 1) // 2) * 8
    gx, gy, gz, gr = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
    for ell in range(width):
        at = weights_at + tiles[(row * width + ell) * width] * 8
        column = radial_at + columns[row * width + ell] * 8
        value, slope = contract_real(weights, at, values, slopes, column, counts[row * width + ell])
        legendre = here + 40 + (ell * (ell + 1) // 2) * 8
        gr = gr + load(geometry, legendre) * slope
        if ell:
            gz = gz + spread(harmonics, 3 * ell * width + 2) * load(geometry, legendre + 8) * value
    for m in range(1, width):
        zero = splat(0.0)
        over_re, over_im, along_re, along_im, up_re, up_im = zero, zero, zero, zero, zero, zero
        for ell in range(m, width):
            at = weights_at + tiles[(row * width + ell) * width + m] * 8
            column = radial_at + columns[row * width + ell] * 8
            re, im, d_re, d_im = contract(weights, at, values, slopes, column, counts[row * width + ell])
            legendre = here + 40 + (ell * (ell + 1) // 2 + m) * 8
            p = load(geometry, legendre)
            over_re, over_im = over_re + p * re, over_im + p * im
            along_re, along_im = along_re + p * d_re, along_im + p * d_im
            if ell > m:
                dp = spread(harmonics, 3 * (ell * width + m) + 2) * load(geometry, legendre + 8)
                up_re, up_im = up_re + dp * re, up_im + dp * im
        re, im = load(geometry, powers + m * 8), load(geometry, powers + (width + m) * 8)
        gr = gr + along_re * re - along_im * im
        gz = gz + up_re * re - up_im * im
        re, im = load(geometry, powers + (m - 1) * 8), load(geometry, powers + (width + m - 1) * 8)
        scale = splat(float(m))
        gx = gx + scale * (over_re * re - over_im * im)
        gy = gy - scale * (over_re * im + over_im * re)
    return gx, gy, gz, gr


@njit(**OPTIONS)
def sum_base(table, offset, width, bins, weights, out, at):
    """Add the base functions g_k of one group of neighbours to ``out[at:at + width]``."""
    double = 2 * width
    for block in range(0, width, 8):
        found = load(out, at + block)
        for lane in range(8):
            node = offset + block + bins[lane] * double
            here, slope = load(table, node), load(table, node + width)
            step = load(table, node + double) - here
            value = spread(weights, lane) * step + here
            value = spread(weights, 8 + lane) * slope + value
            found = found + (spread(weights, 16 + lane) * load(table, node + double + width) + value)
        store(out, at + block, found)


@njit(**OPTIONS)
def push(geometry, here, targets, target_at, forces, forces_at, gradient):
    """Project one group's gradient, subtract it from the neighbours' forces; return it with half its virial."""
    gx, gy, gz, gr = gradient
    x, y, z = load(geometry, here), load(geometry, here + 8), load(geometry, here + 16)
    inverse, r = load(geometry, here + 24), load(geometry, here + 32)
    along = gr - (gx * x + gy * y + gz * z) * inverse
    gx, gy, gz = gx * inverse + along * x, gy * inverse + along * y, gz * inverse + along * z
    zero = splat(0.0)
    rows = transpose((gx, gy, gz, zero, zero, zero, zero, zero))
    subtract_four(forces, forces_at + targets[target_at] * 4, rows[0])
    subtract_four(forces, forces_at + targets[target_at + 1] * 4, rows[1])
    subtract_four(forces, forces_at + targets[target_at + 2] * 4, rows[2])
    subtract_four(forces, forces_at + targets[target_at + 3] * 4, rows[3])
    subtract_four(forces, forces_at + targets[target_at + 4] * 4, rows[4])
    subtract_four(forces, forces_at + targets[target_at + 5] * 4, rows[5])
    subtract_four(forces, forces_at + targets[target_at + 6] * 4, rows[6])
    subtract_four(forces, forces_at + targets[target_at + 7] * 4, rows[7])
    return gx, gy, gz, x * r, y * r, z * r
