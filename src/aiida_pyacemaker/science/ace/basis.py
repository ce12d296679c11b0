"""Construction of a new linear basis by pacemaker's selection rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, combinations, product

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from ..config import FitConfig
from .couplings import independent_couplings
from .potential import AcePotential, BasisFunction
from .radial import Bond

CUTOFF_IN_BONDS = 2.2
DEFAULT_PARAMETER = {'ChebExpCos': 5.25, 'ChebPow': 2.0, 'ChebLinear': 1.0, 'SBessel': 5.25}
INNER_CUTOFF_FRACTION = 0.7
INNER_WIDTH_FRACTION = 0.15
CUTOFF_WIDTH = 0.01


def build_potential(elements: Sequence[str], config: FitConfig, *, bond_length: float | None = None) -> AcePotential:
    """
    Build a linear potential with zero coefficients.

    Without ``config.cutoff`` the cut-off is 2.2 bond lengths (Å; the largest covalent sum where no ``bond_length``
    is given). R_nl = g_n. Every function fades below 0.7 of the covalent sum, where the baseline rules.
    """
    names = tuple(sorted(set(elements)))
    unknown = [name for name in names if name not in atomic_numbers or name == 'X']
    if not names or unknown:
        raise ValueError(f'elements is {list(elements)}, expected chemical symbols: correct {unknown or "the list"}.')
    if config.radial_base == 'ChebLinear':
        raise ValueError(
            'radial_base is ChebLinear, whose functions jump at the cut-off, expected one of SBessel, '
            'ChebExpCos, ChebPow: forces would not be derivatives of the energy.'
        )
    radii = [float(covalent_radii[atomic_numbers[name]]) for name in names]
    cutoff = config.cutoff or CUTOFF_IN_BONDS * (bond_length or 2.0 * max(radii))
    n_orders = config.max_body_order - 1
    n_by_order, l_by_order = config.nradmax_by_orders[:n_orders], config.lmax_by_orders[:n_orders]
    if min(len(n_by_order), len(l_by_order)) < n_orders:
        raise ValueError(
            f'nradmax_by_orders and lmax_by_orders have {len(config.nradmax_by_orders)} and '
            f'{len(config.lmax_by_orders)} entries, expected {n_orders} for max_body_order {config.max_body_order}.'
        )
    n_base, n_max, l_max = n_by_order[0], max(n_by_order[1:], default=1), max(l_by_order[1:], default=0)
    mixing = np.zeros((n_max, l_max + 1, max(n_base, n_max)))
    mixing[np.arange(n_max), :, np.arange(n_max)] = 1.0
    functions = tuple(
        select_functions(centre, len(names), n_by_order, l_by_order, config.number_of_functions_per_element)
        for centre in range(len(names))
    )
    return AcePotential(
        elements=names,
        bonds=_make_bonds(config.radial_base, radii, cutoff, mixing),
        functions=functions,
        coefficients=np.zeros(sum(map(len, functions))),
        reference_energies={},
    )


def _make_bonds(
    base: str, radii: Sequence[float], cutoff: float, mixing: NDArray[np.float64]
) -> dict[tuple[int, int], Bond]:
    """Return the bond of every ordered pair of elements with covalent ``radii``, Å; R_nl = Σ_k mixing_nlk g_k."""
    bonds = {}
    for a, b in product(range(len(radii)), repeat=2):
        contact = radii[a] + radii[b]
        bonds[a, b] = Bond(
            base=base,
            parameters=(DEFAULT_PARAMETER[base],),
            cutoff=cutoff,
            cutoff_width=CUTOFF_WIDTH,
            coefficients=mixing,
            inner_cutoff=INNER_CUTOFF_FRACTION * contact,
            inner_width=INNER_WIDTH_FRACTION * contact,
        )
    return bonds


def select_functions(
    centre: int, n_elements: int, n_by_order: Sequence[int], l_by_order: Sequence[int], count: int
) -> tuple[BasisFunction, ...]:
    """
    Return at most ``count`` simple functions of one centre element, in the order of the projections.

    This is pacemaker's ``number_of_functions_per_element``: every block (centre and set of other species) gets an
    equal share, and within it come first a small Σ(n + l + 1) over the factors, then a low rank, then the order of
    the projections.
    """
    others = [element for element in range(n_elements) if element != centre]
    sizes = range(min(len(others), len(n_by_order)) + 1)
    blocks: dict[tuple[int, ...], list[BasisFunction]] = {
        block: [] for size in sizes for block in combinations(others, size)
    }
    share = max(count // len(blocks), 1)
    largest = [rank * (n + ell + 1) for rank, (n, ell) in enumerate(zip(n_by_order, l_by_order, strict=True), start=1)]
    for level in range(2, max(largest) + 1):
        if all(len(members) >= share for members in blocks.values()):
            break
        found = (
            BasisFunction(mus, ns, ls, lint)
            for mus, ns, ls in _products_of_level(level, n_elements, n_by_order, l_by_order)
            if len(blocks[_block(mus, centre)]) < share
            for lint in independent_couplings(_pattern(mus, ns), ls)
        )
        for function in sorted(found, key=lambda f: f.order_key):
            members = blocks[_block(function.mus, centre)]
            if len(members) < share:
                members.append(function)
    return tuple(sorted(chain.from_iterable(blocks.values()), key=lambda f: f.order_key))


def _block(mus: tuple[int, ...], centre: int) -> tuple[int, ...]:
    """Return the species of the neighbours other than the centre's."""
    return tuple(sorted({*mus} - {centre}))


def _products_of_level(
    level: int, n_elements: int, n_by_order: Sequence[int], l_by_order: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """Yield the μ, n, l of all products with Σ(n + l + 1) = ``level``: factors sorted by (μ, n, l)."""
    for rank, (n_max, l_max) in enumerate(zip(n_by_order, l_by_order, strict=True), start=1):
        factors = list(product(range(n_elements), range(1, n_max + 1), range(l_max + 1)))
        for chosen in _factor_sets(factors, 0, rank, level):
            mus, ns, ls = zip(*chosen, strict=True)
            yield mus, ns, ls


def _factor_sets(
    factors: Sequence[tuple[int, int, int]], start: int, rank: int, level: int
) -> Iterator[tuple[tuple[int, int, int], ...]]:
    """Yield the multisets of ``rank`` factors (μ, n, l), in order, whose n + l + 1 sum to ``level``."""
    for index in range(start, len(factors)):
        rest = level - sum(factors[index][1:]) - 1
        if rank == 1 and rest == 0:
            yield (factors[index],)
        elif rank > 1 and rest >= 2 * (rank - 1):
            for others in _factor_sets(factors, index, rank - 1, rest):
                yield (factors[index], *others)


def _pattern(mus: tuple[int, ...], ns: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the labels (μ, n) numbered by first appearance, so that couplings of like factors are computed once."""
    labels = list(zip(mus, ns, strict=True))
    numbers = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    return tuple((numbers[label],) for label in labels)
