"""The basis in full: what settings leave open is inferred, functions are selected by pacemaker's rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, combinations, product
from typing import Any

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from ..config import BasisConfig, BondConfig, FitConfig, FunctionsConfig, OrdersConfig
from ..config.basis import ARITIES, DEFAULT_RADPARAMETERS
from .model.couplings import MAX_RANK, independent_couplings
from .model.radial import Bond
from .potential import AcePotential, BasisFunction

CUTOFF_IN_BONDS = 2.2
INNER_CUTOFF_FRACTION = 0.7
INNER_WIDTH_FRACTION = 0.15
CUTOFF_WIDTH = 0.01


def resolve_basis(elements: Sequence[str], basis: BasisConfig, *, bond_length: float | None = None) -> BasisConfig:
    """
    Return the basis with nothing left to infer: elements, one entry for each embedding, ordered pair and block size.

    The cut-off of every pair is 2.2 bond lengths (Å; the largest covalent sum where no ``bond_length`` is given);
    every function fades below 0.7 of the pair's covalent sum, where the baseline rules. `ValueError` for an unknown
    element, or elements other than those of ``basis``.
    """
    names = tuple(sorted(set(elements)))
    unknown = [name for name in names if name not in atomic_numbers or name == 'X']
    if not names or unknown:
        raise ValueError(f'elements is {list(elements)}, expected chemical symbols: correct {unknown or "the list"}.')
    if basis.elements and set(basis.elements) != set(names):
        raise ValueError(f'elements is {list(names)}, but basis.elements {list(basis.elements)}: make them agree.')
    cutoff = CUTOFF_IN_BONDS * (bond_length or 2.0 * max(_radius(name) for name in names))
    bonds = {a + b: _resolve_bond(a, b, basis, cutoff) for a, b in product(names, repeat=2)}
    orders = {ARITIES[n - 1]: basis.functions.orders(n) for n in range(1, min(len(names), len(ARITIES)) + 1)}
    return basis.model_copy(
        update={
            'elements': names,
            'embeddings': {name: basis.embedding(name) for name in names},
            'bonds': bonds,
            'functions': basis.functions.model_copy(update={**orders, 'ALL': None}),
        }
    )


def _radius(element: str) -> float:
    """Return the covalent radius, Å."""
    return float(covalent_radii[atomic_numbers[element]])


def _resolve_bond(first: str, second: str, basis: BasisConfig, cutoff: float) -> BondConfig:
    """Return the settings of a pair, those that are not given inferred from ``cutoff`` and covalent radii, Å."""
    given, contact = basis.bond(first, second), _radius(first) + _radius(second)
    base = given.radbase or 'SBessel'
    inferred = BondConfig(
        radbase=base,
        radparameters=DEFAULT_RADPARAMETERS[base],
        rcut=cutoff,
        dcut=CUTOFF_WIDTH,
        NameOfCutoffFunction='cos',
        r_in=INNER_CUTOFF_FRACTION * contact,
        delta_in=INNER_WIDTH_FRACTION * contact,
        inner_cutoff_type='distance',
    )
    return given.over(inferred)


def pacemaker_section(
    elements: Sequence[str], basis: BasisConfig, *, bond_length: float | None = None
) -> dict[str, Any]:
    """Return the ``potential`` section of pacemaker's ``input.yaml``: plain values, everything inferred is explicit."""
    resolved = resolve_basis(elements, basis, bond_length=bond_length)
    section: dict[str, Any] = resolved.model_dump(mode='json', by_alias=True, exclude_none=True)
    return section


def build_potential(elements: Sequence[str], config: FitConfig, *, bond_length: float | None = None) -> AcePotential:
    """
    Return a linear potential with zero coefficients in the basis that ``config`` asks for; R_nl = g_n.

    See `resolve_basis` for what is inferred. `ValueError` for a nonlinear embedding, which only pacemaker fits.
    """
    basis = resolve_basis(elements, config.whole_basis, bond_length=bond_length)
    _check_linear(basis)
    names = basis.elements
    orders = [limits for n in range(1, len(names) + 1) if (limits := basis.functions.orders(n)) is not None]
    if not orders or max(len(limits.nradmax_by_orders) for limits in orders) > MAX_RANK:
        raise ValueError(
            f'functions has {[limits.nradmax_by_orders for limits in orders]} as nradmax_by_orders, expected 1 to '
            f'{MAX_RANK} orders: shorten them or use pacemaker (trainer.pacemaker).'
        )
    n_base = max(limits.nradmax_by_orders[0] for limits in orders)
    n_max = max(max(limits.nradmax_by_orders[1:], default=1) for limits in orders)
    l_max = max(max(limits.lmax_by_orders[1:], default=0) for limits in orders)
    mixing = np.zeros((n_max, l_max + 1, max(n_base, n_max)))
    mixing[np.arange(n_max), :, np.arange(n_max)] = 1.0
    functions = tuple(select_functions(centre, len(names), basis.functions) for centre in range(len(names)))
    pairs = product(enumerate(names), repeat=2)
    return AcePotential(
        elements=names,
        bonds={(a, b): _make_bond(basis.bonds[first + second], mixing) for (a, first), (b, second) in pairs},
        functions=functions,
        coefficients=np.zeros(sum(map(len, functions))),
        reference_energies={},
        bin_width=basis.deltaSplineBins,
    )


def _check_linear(basis: BasisConfig) -> None:
    """Refuse what the least-squares fit cannot have: another embedding, functions with a jump, a core of its own."""
    for element, embedding in basis.embeddings.items():
        if not embedding.is_linear:
            raise ValueError(
                f'embeddings of {element} are {embedding.npot} {embedding.fs_parameters} with {embedding.ndensity} '
                'densities, which is not linear in the coefficients, expected one density with fs_parameters [1, 1]: '
                'fit it with pacemaker (namespace trainer.pacemaker) or drop the embedding.'
            )
    for pair, bond in basis.bonds.items():
        if bond.radbase == 'ChebLinear':
            raise ValueError(
                f'radbase of {pair} is ChebLinear, whose functions jump at the cut-off, expected one of SBessel, '
                'ChebExpCos, ChebPow: forces would not be derivatives of the energy.'
            )
        if bond.core_repulsion not in (None, (0.0, 0.0)) or bond.inner_cutoff_type != 'distance':
            raise ValueError(
                f'bonds {pair} has core-repulsion {bond.core_repulsion}, inner_cutoff_type {bond.inner_cutoff_type}, '
                'expected none and distance: the embedded trainer has a baseline for that; else fit it with pacemaker '
                '(namespace trainer.pacemaker).'
            )


def _make_bond(bond: BondConfig, mixing: NDArray[np.float64]) -> Bond:
    """Return the radial functions of one pair; R_nl = Σ_k mixing_nlk g_k."""
    settings = bond.model_dump()
    return Bond(
        base=settings['radbase'],
        parameters=settings['radparameters'],
        cutoff=settings['rcut'],
        cutoff_width=settings['dcut'],
        coefficients=mixing,
        inner_cutoff=settings['r_in'],
        inner_width=settings['delta_in'],
    )


def select_functions(centre: int, n_elements: int, functions: FunctionsConfig) -> tuple[BasisFunction, ...]:
    """
    Return the simplest functions of one centre element within the limits, in the order of the projections.

    This is pacemaker's ``number_of_functions_per_element``: every block (centre and set of other species) gets an
    equal share, and within it come first a small Σ(n + l + 1) over the factors, then a low rank, then the order of
    the projections.
    """
    others = [element for element in range(n_elements) if element != centre]
    limits = {size: found for size in range(len(others) + 1) if (found := functions.orders(size + 1)) is not None}
    n_blocks = sum(1 for size in limits for _ in combinations(others, size))
    count = functions.number_of_functions_per_element
    share = None if count is None else max(count // max(n_blocks, 1), 1)
    chosen: list[BasisFunction] = []
    for size, orders in limits.items():
        blocks: dict[tuple[int, ...], list[BasisFunction]] = {block: [] for block in combinations(others, size)}
        _fill_blocks(blocks, centre, n_elements, orders, share)
        chosen += chain.from_iterable(blocks.values())
    return tuple(sorted(chosen, key=lambda f: f.order_key))


def _fill_blocks(
    blocks: dict[tuple[int, ...], list[BasisFunction]],
    centre: int,
    n_elements: int,
    orders: OrdersConfig,
    share: int | None,
) -> None:
    """Append to each of the ``blocks`` of one size its ``share`` of functions (``None``: all), simplest first."""
    n_by_order, l_by_order = orders.nradmax_by_orders, orders.lmax_by_orders
    largest = [rank * (n + ell + 1) for rank, (n, ell) in enumerate(zip(n_by_order, l_by_order, strict=True), start=1)]
    wanted = np.inf if share is None else share
    for level in range(2, max(largest) + 1):
        if all(len(members) >= wanted for members in blocks.values()):
            break
        found = (
            BasisFunction(mus, ns, ls, lint)
            for mus, ns, ls in _products_of_level(level, n_elements, n_by_order, l_by_order)
            if len(blocks.get(_block(mus, centre), ())) < wanted and _block(mus, centre) in blocks
            for lint in independent_couplings(_pattern(mus, ns), ls)
        )
        for function in sorted(found, key=lambda f: f.order_key):
            members = blocks[_block(function.mus, centre)]
            if len(members) < wanted:
                members.append(function)


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
