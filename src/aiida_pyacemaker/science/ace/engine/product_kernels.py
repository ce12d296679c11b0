# mypy: allow-untyped-defs, allow-untyped-calls
"""
Product stage of the fast engine: eight centres of one species in a vector.

``values`` is flat, (positions, 8): a complex value sits at an offset with its imaginary part `IMAGINARY` later, four
values a tile. ``adjoints`` has the same layout and holds the holomorphic derivative w, dE = Re(w dv).
"""

from __future__ import annotations

from numba import njit

from .lanes import load, splat, spread, store

OPTIONS = {'cache': True, 'error_model': 'numpy', 'forceinline': True}
IMAGINARY = 32


@njit(**OPTIONS)
def multiply(span, mirrors, nodes, values):
    """Fill A with m < 0 from its mirror image, then the inner products; ``span``: begin and end of both."""
    for k in range(span[0], span[1]):
        target, source, sign = mirrors[3 * k], mirrors[3 * k + 1], splat(float(mirrors[3 * k + 2]))
        store(values, target, sign * load(values, source))
        store(values, target + IMAGINARY, splat(0.0) - sign * load(values, source + IMAGINARY))
    for k in range(span[2], span[3]):
        target, a, b = nodes[3 * k], nodes[3 * k + 1], nodes[3 * k + 2]
        re, im = load(values, a), load(values, a + IMAGINARY)
        x, y = load(values, b), load(values, b + IMAGINARY)
        store(values, target, re * x - im * y)
        store(values, target + IMAGINARY, re * y + im * x)


@njit(**OPTIONS)
def densities(span, terms, n_densities, values, out):
    """Add Σ w Re(left · right) of all products to the densities, (n_densities, 8)."""
    lefts, firsts, rights, weights = terms
    for k in range(span[4], span[5]):
        a, b = load(values, lefts[k]), load(values, lefts[k] + IMAGINARY)
        for p in range(n_densities):
            re, im = splat(0.0), splat(0.0)
            for t in range(firsts[k], firsts[k + 1]):
                w = spread(weights, t * n_densities + p)
                re = re + w * load(values, rights[t])
                im = im + w * load(values, rights[t] + IMAGINARY)
            store(out, p * 8, load(out, p * 8) + a * re - b * im)


@njit(**OPTIONS)
def adjoint(span, terms, n_densities, factors, values, adjoints):
    """Fill the adjoints of all values; ``factors``: dE/dρ, (n_densities, 8)."""
    lefts, firsts, rights, weights = terms
    for position in range(0, span[6], 8):
        store(adjoints, position, splat(0.0))
    for k in range(span[4], span[5]):
        left = lefts[k]
        a, b = load(values, left), load(values, left + IMAGINARY)
        re, im = splat(0.0), splat(0.0)
        for t in range(firsts[k], firsts[k + 1]):
            right = rights[t]
            w = spread(weights, t * n_densities) * load(factors, 0)
            for p in range(1, n_densities):
                w = w + spread(weights, t * n_densities + p) * load(factors, p * 8)
            re, im = re + w * load(values, right), im + w * load(values, right + IMAGINARY)
            store(adjoints, right, load(adjoints, right) + w * a)
            store(adjoints, right + IMAGINARY, load(adjoints, right + IMAGINARY) + w * b)
        store(adjoints, left, load(adjoints, left) + re)
        store(adjoints, left + IMAGINARY, load(adjoints, left + IMAGINARY) + im)


@njit(**OPTIONS)
def back_propagate(span, mirrors, nodes, values, adjoints):
    """Carry the adjoints of the inner products and of A with m < 0 to A with m ≥ 0."""
    for k in range(span[3] - 1, span[2] - 1, -1):
        source, a, b = nodes[3 * k], nodes[3 * k + 1], nodes[3 * k + 2]
        re, im = load(adjoints, source), load(adjoints, source + IMAGINARY)
        x, y = load(values, b), load(values, b + IMAGINARY)
        store(adjoints, a, load(adjoints, a) + re * x - im * y)
        store(adjoints, a + IMAGINARY, load(adjoints, a + IMAGINARY) + re * y + im * x)
        x, y = load(values, a), load(values, a + IMAGINARY)
        store(adjoints, b, load(adjoints, b) + re * x - im * y)
        store(adjoints, b + IMAGINARY, load(adjoints, b + IMAGINARY) + re * y + im * x)
    for k in range(span[0], span[1]):
        source, target, sign = mirrors[3 * k], mirrors[3 * k + 1], splat(float(mirrors[3 * k + 2]))
        store(adjoints, target, load(adjoints, target) + sign * load(adjoints, source))
        imaginary = load(adjoints, target + IMAGINARY) - sign * load(adjoints, source + IMAGINARY)
        store(adjoints, target + IMAGINARY, imaginary)


@njit(**OPTIONS)
def project(span, terms, functions, values, products, out):
    """Fill the projections of rank > 1 of eight centres, (functions, 8)."""
    lefts, firsts, rights, _ = terms
    entry_first, entry_term, entry_weight = functions
    for k in range(span[4], span[5]):
        a, b = load(values, lefts[k]), load(values, lefts[k] + IMAGINARY)
        for t in range(firsts[k], firsts[k + 1]):
            product = a * load(values, rights[t]) - b * load(values, rights[t] + IMAGINARY)
            store(products, t * 8, product)
    for f in range(span[7], span[8]):
        found = splat(0.0)
        for e in range(entry_first[f], entry_first[f + 1]):
            found = found + spread(entry_weight, e) * load(products, entry_term[e] * 8)
        store(out, (f - span[7]) * 8, found)
