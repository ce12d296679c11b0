# mypy: allow-untyped-defs, allow-untyped-calls
"""
The fast engine's loop: eight centres of one species at a time, pair stage, products, embedding, forces.

Work is cut into chunks that depend on the structure alone; each adds to its own forces, so results have the same bits
whichever thread runs which chunk. No flag removes NaN: a non-finite distance makes all that it touches non-finite.
"""

from __future__ import annotations

from numba import njit

from .embedding_kernels import embed, fading
from .lanes import least, load, splat, spread, store, total, totals, transpose
from .pair_kernels import (
    atomic_base,
    gather,
    group_gradient,
    hermite_weights,
    load_eight,
    place,
    push,
    radials,
    store_eight,
    sum_base,
)
from .product_kernels import adjoint, back_propagate, densities, multiply, project

OPTIONS = {'cache': True, 'error_model': 'numpy', 'nogil': True}
INLINE = {'cache': True, 'error_model': 'numpy', 'forceinline': True}
SOURCES = 'e2585b08130298e3'
"""Digest of the files that are inlined here: numba's cache looks at this file alone, so it must change with them."""
SPAN = 12
BY_DENSITY, BY_DISTANCE = 1, 2


@njit(**INLINE)
def pair_stage(k, centre, shape, neighbours, bonds, radial, scratch):
    """Fill geometry, radial columns, A and the sums of the pair columns of centre ``k`` of eight."""
    n_elements, l_max, _, n_pair, capacity, n_rows, n_columns, n_tiles, base_width = shape
    table, harmonics, grid, far, base_table, base_offsets = radial
    geometry, values, slopes, starts, targets, bins, weights, atomic, sums, closest, base_sums = scratch
    gather(k, centre, neighbours, bonds, (n_elements, capacity, n_rows, far), (geometry, starts, targets))
    nearest, row = splat(far), neighbours[3][centre] * n_elements
    for p in range(n_pair):
        sums[p * 8 + k] = 0.0
    for mu in range(n_elements):
        layout = bonds[1]
        offset, width, first_pair = layout[3 * row], layout[3 * row + 1], layout[3 * row + 2]
        begin = k * capacity + starts[k * (n_elements + 1) + mu]
        end = k * capacity + starts[k * (n_elements + 1) + mu + 1]
        base_at = (k * n_elements + mu) * base_width
        for block in range(0, base_width, 8):
            store(base_sums, base_at + block, splat(0.0))
        for g in range(begin, end):
            r = place(geometry, g * n_rows * 8, l_max, harmonics)
            nearest = least(r, nearest)
            hermite_weights(r, grid[2 * row], grid[2 * row + 1], bins, weights)
            radials(table, offset, width, bins, weights, values, slopes, g * n_columns * 8)
            if base_width:
                sum_base(base_table, base_offsets[row], base_width, bins, weights, base_sums, base_at)
        atomic_base(row, (begin, end, n_rows), l_max, n_columns, bonds, geometry, values, atomic, k * n_tiles * 8)
        for p in range(n_pair):
            found = splat(0.0)
            for g in range(begin, end):
                found = found + load(values, (g * n_columns + first_pair + p) * 8)
            sums[p * 8 + k] += total(found)
        row += 1
    store(closest, k * 8, nearest)


@njit(**INLINE)
def empty_lane(k, n_elements, n_pair, n_tiles, starts, atomic, sums):
    """Clear the lane of a centre that is not there."""
    for tile in range(n_tiles):
        store(atomic, (k * n_tiles + tile) * 8, splat(0.0))
    for p in range(n_pair):
        sums[p * 8 + k] = 0.0
    for mu in range(n_elements + 1):
        starts[k * (n_elements + 1) + mu] = 0


@njit(**INLINE)
def turn(source, target, n_tiles, is_forward):
    """Move A from (centre, value) to (value, centre), or its adjoint back."""
    for tile in range(n_tiles):
        if is_forward:
            store_eight(target, tile * 64, transpose(load_eight(source, tile * 8, n_tiles * 8)))
        else:
            rows = transpose(load_eight(source, tile * 64, 8))
            store(target, tile * 8, rows[0])
            store(target, (n_tiles + tile) * 8, rows[1])
            store(target, (2 * n_tiles + tile) * 8, rows[2])
            store(target, (3 * n_tiles + tile) * 8, rows[3])
            store(target, (4 * n_tiles + tile) * 8, rows[4])
            store(target, (5 * n_tiles + tile) * 8, rows[5])
            store(target, (6 * n_tiles + tile) * 8, rows[6])
            store(target, (7 * n_tiles + tile) * 8, rows[7])


@njit(**INLINE)
def deepest(k, row, n_elements, capacity, n_rows, inner, n_atoms, geometry, starts, targets):
    """Return position, depth into the inner cut-off and its width of the neighbour that decides; -1 if none."""
    found, depth, distance, width = -1, 0.0, 0.0, 0.0
    for mu in range(n_elements):
        begin, end = starts[k * (n_elements + 1) + mu], starts[k * (n_elements + 1) + mu + 1]
        for position in range(begin * 8, end * 8):
            if targets[k * capacity * 8 + position] == n_atoms:
                continue
            r = geometry[(k * capacity + (position >> 3)) * n_rows * 8 + 32 + (position & 7)]
            here = r - (inner[2 * (row + mu)] - inner[2 * (row + mu) + 1])
            if found < 0 or here < depth:
                found, depth, distance, width = position, here, inner[2 * (row + mu)] - r, inner[2 * (row + mu) + 1]
    return found, distance, width


@njit(**INLINE)
def switch_by_distance(k, row, shape, inner, inner_max, n_atoms, first_pair, scratch, energy, core):
    """Return what remains of the embedded energy, its slope by the distance put into the last pair column."""
    n_elements, _, _, n_pair, capacity, n_rows, n_columns, _, _ = shape
    geometry, _, slopes, starts, targets, _, _, _, _, closest, _ = scratch
    is_near = False
    for lane in range(8):
        is_near |= not closest[k * 8 + lane] >= inner_max
    if not is_near:
        return 1.0
    position, distance, width = deepest(k, row, n_elements, capacity, n_rows, inner, n_atoms, geometry, starts, targets)
    if position < 0:
        return 1.0
    left, slope = fading(distance, width, width)
    mu = 0
    while starts[k * (n_elements + 1) + mu + 1] * 8 <= position:
        mu += 1
    column = (k * capacity + (position >> 3)) * n_columns + first_pair[3 * (row + mu) + 2] + n_pair - 1
    slopes[column * 8 + (position & 7)] = (core - energy) * slope
    return left


@njit(**INLINE)
def embed_centre(k, element, shape, elements, layout, n_atoms, scratch, factors):
    """Return the energy of one centre and fill the derivatives by its pair columns, (n_pair, 8)."""
    n_elements, _, n_densities, n_pair, _, _, _, _, _ = shape
    kinds, parameters, core_cuts, modes, inner, inner_max = elements
    sums = scratch[8]
    energy = embed(kinds[element], parameters, element * 2 * n_densities, n_densities, sums, k, factors)
    if n_pair == n_densities:
        return energy
    core = sums[n_densities * 8 + k]
    factors[(n_densities + 1) * 8 + k] = 1.0
    if modes[element] == BY_DISTANCE:
        left = switch_by_distance(
            k, element * n_elements, shape, inner, inner_max, n_atoms, layout, scratch, energy, core
        )
        factors[n_densities * 8 + k] = 1.0 - left
        energy_core = core * (1.0 - left)
    else:
        left, slope = fading(core, core_cuts[2 * element], core_cuts[2 * element + 1])
        factors[n_densities * 8 + k] = 1.0 + energy * slope
        energy_core = core
    for p in range(n_densities):
        factors[p * 8 + k] *= left
    return energy * left + energy_core


@njit(**INLINE)
def force_stage(k, centre, shape, neighbours, bonds, harmonics, scratch, moments, factors, forces, at, virials):
    """Add the forces of one centre's energy on itself and its neighbours; set its virial Σ r ⊗ f, (6,) Voigt."""
    n_elements, l_max, _, n_pair, capacity, n_rows, n_columns, n_tiles, _ = shape
    geometry, values, slopes, starts, targets, _, _, _, _, _, _ = scratch
    row, zero, half = neighbours[3][centre] * n_elements, splat(0.0), splat(0.5)
    fx, fy, fz, xx, yy, zz, yz, xz, xy = zero, zero, zero, zero, zero, zero, zero, zero, zero
    for mu in range(n_elements):
        first_pair = bonds[1][3 * row + 2]
        for g in range(starts[k * (n_elements + 1) + mu], starts[k * (n_elements + 1) + mu + 1]):
            here = (k * capacity + g) * n_rows * 8
            columns = (k * capacity + g) * n_columns * 8
            gx, gy, gz, gr = group_gradient(
                row, here, columns, l_max, bonds, harmonics, geometry, values, slopes, moments, k * n_tiles * 8
            )
            for p in range(n_pair):
                gr = gr + spread(factors, p * 8 + k) * load(slopes, columns + (first_pair + p) * 8)
            target = (k * capacity + g) * 8
            gx, gy, gz, x, y, z = push(geometry, here, targets, target, forces, at, (gx, gy, gz, gr))
            fx, fy, fz = fx + gx, fy + gy, fz + gz
            xx, yy, zz = xx - x * gx, yy - y * gy, zz - z * gz
            yz, xz, xy = yz - y * gz - z * gy, xz - x * gz - z * gx, xy - x * gy - y * gx
        row += 1
    found = totals((fx, fy, fz, xx, yy, zz, half * yz, half * xz))
    store(closest_of(scratch), 0, found)
    row_at = at + centre * 4
    summed = closest_of(scratch)
    for c in range(3):
        forces[row_at + c] += summed[c]
    for c in range(5):
        virials[centre * 6 + c] = summed[3 + c]
    virials[centre * 6 + 5] = 0.5 * total(xy)


@njit(**INLINE)
def closest_of(scratch):
    """Return the small array that is free once the energies are known."""
    return scratch[9]


@njit(**INLINE)
def write_projections(k, centre, element, shape, spans, rank_one, base_sums, many, out, out_width):
    """Write the projections of one centre: base sums, then functions of rank > 1 from (functions, 8)."""
    n_elements, base_width = shape[0], shape[8]
    at = centre * out_width
    for f in range(spans[element * SPAN + 9], spans[element * SPAN + 10]):
        out[at] = base_sums[(k * n_elements + rank_one[2 * f]) * base_width + rank_one[2 * f + 1]]
        at += 1
    for f in range(spans[element * SPAN + 8] - spans[element * SPAN + 7]):
        out[at] = many[f * 8 + k]
        at += 1


@njit(**OPTIONS)
def evaluate_chunks(chunks, work, shape, neighbours, bonds, radial, elements, products, projection, scratch, results):
    """Evaluate the chunks ``chunks[0]:chunks[1]``: sets energies, virials, projections; adds to each one's forces."""
    chunk_first, groups, group_element = work
    n_elements, _, n_densities, n_pair, _, _, _, n_tiles, base_width = shape
    spans, mirrors, nodes, lefts, firsts, rights, term_weights = products
    pair_scratch, values, adjoints, factors, moments, term_values, many = scratch
    energies, forces, virials, projections, out_width = results
    entry_first, entry_term, entry_weight, rank_one = projection
    _, _, _, starts, _, _, _, atomic, sums, _, base_sums = pair_scratch
    terms, n_atoms = (lefts, firsts, rights, term_weights), neighbours[4]
    for chunk in range(chunks[0], chunks[1]):
        forces_at = chunk * (n_atoms + 1) * 4
        for group in range(chunk_first[chunk], chunk_first[chunk + 1]):
            element = group_element[group]
            span = spans[element * SPAN : (element + 1) * SPAN]
            for k in range(8):
                centre = groups[group * 8 + k]
                if centre >= 0:
                    pair_stage(k, centre, shape, neighbours, bonds, radial, pair_scratch)
                else:
                    empty_lane(k, n_elements, n_pair, n_tiles, starts, atomic, sums)
            turn(atomic, values, n_tiles, True)
            multiply(span, mirrors, nodes, values)
            densities(span, terms, n_densities, values, sums)
            if base_width:
                project(span, terms, (entry_first, entry_term, entry_weight), values, term_values, many)
            for p in range(n_pair):
                store(factors, p * 8, splat(0.0))
            for k in range(8):
                centre = groups[group * 8 + k]
                if centre >= 0:
                    energies[centre] = embed_centre(
                        k, element, shape, elements, bonds[1], n_atoms, pair_scratch, factors
                    )
            adjoint(span, terms, n_densities, factors, values, adjoints)
            back_propagate(span, mirrors, nodes, values, adjoints)
            turn(adjoints, moments, n_tiles, False)
            for k in range(8):
                centre = groups[group * 8 + k]
                if centre >= 0:
                    force_stage(
                        k, centre, shape, neighbours, bonds, radial[1], pair_scratch, moments, factors,
                        forces, forces_at, virials,
                    )  # fmt: skip
                    if base_width:
                        write_projections(
                            k, centre, element, shape, spans, rank_one, base_sums, many, projections, out_width
                        )
