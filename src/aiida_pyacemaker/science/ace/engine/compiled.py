"""A potential as the kernels of the fast engine take it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from .centre_kernels import BY_DENSITY, BY_DISTANCE
from .columns import Array, Index, arrange_columns, base_tables, grid_of, harmonic_recursion, radial_tables
from .embedding_kernels import POWER, SHIFTED_SCALED
from .products import ElementProducts, Pair, Products, Slot, element_products, flatten

if TYPE_CHECKING:
    from ..model.radial import Bond
    from ..potential import AcePotential


class CompiledPotential:
    """Flat arrays of one potential, in the tuples the kernels unpack; `compiled` makes them once."""

    def __init__(self, potential: AcePotential) -> None:
        self._bonds: list[Bond] = [bond for _, bond in sorted(potential.bonds.items())]
        self.n_elements = len(potential.elements)
        self.n_functions = potential.n_functions
        self.l_max = max(bond.l_max for bond in self._bonds)
        self.n_densities = potential.n_densities
        # beyond the densities: the core density and the distance of the neighbour that decides
        self.n_pair = self.n_densities + (0 if all(bond.acts_through_radials for bond in self._bonds) else 2)
        self._spacing = potential.bin_width
        found = [element_products(functions) for functions in potential.functions]
        self.columns = arrange_columns([element.slots for element in found], self.l_max, self.n_pair)
        self.products = self._flatten(found, potential)
        self.elements = _element_arrays(potential, self._bonds)
        self._coefficients = _term_weights(potential, self.products)
        self._tables, self._offsets = radial_tables(potential, self.columns)
        self._cutoffs = np.array([bond.cutoff for bond in self._bonds])
        self._grid = np.array([grid_of(bond, self._spacing) for bond in self._bonds], dtype=float).ravel()
        self._harmonics = harmonic_recursion(self.l_max)

    def _flatten(self, found: list[ElementProducts], potential: AcePotential) -> Products:
        parts: list[tuple[ElementProducts, dict[Slot, int], list[Pair]]] = []
        for a, element in enumerate(found):
            half = {(mu, n, ell, abs(m)) for mu, n, ell, m in element.slots}
            places = {slot: self.columns.place(a, slot) for slot in half}
            single = [(f.mus[0], f.ns[0] - 1) for f in potential.functions[a] if len(f.mus) == 1]
            parts.append((element, places, single))
        return flatten(parts, self.columns.n_tiles * 64)

    @property
    def n_rows(self) -> int:
        """Rows of a group's geometry."""
        return 5 + (self.l_max + 1) * (self.l_max + 2) // 2 + 2 * (self.l_max + 1)

    @property
    def n_columns(self) -> int:
        """Most columns of any pair."""
        return int(self.columns.width.max())

    @cached_property
    def base(self) -> tuple[Array, Index, int]:
        """Tables of the base functions: only projections need them."""
        return base_tables(self._bonds, self._spacing)

    @cached_property
    def bonds(self) -> tuple[Any, ...]:
        """Squared cut-offs (E²,), table layout (E² × 3), columns and tiles."""
        layout = np.column_stack([self._offsets, self.columns.width, self.columns.pairs]).ravel()
        return (
            self._cutoffs**2,
            layout,
            *(np.ravel(a) for a in (self.columns.first, self.columns.count, self.columns.tiles)),
        )

    def radial(self, *, with_base: bool) -> tuple[Any, ...]:
        """Radial tables, the recursion of the harmonics, the grid and the distance that pads."""
        empty = (np.zeros(0), np.zeros(0, dtype=np.int64))
        base_table, base_offsets = self.base[:2] if with_base else empty
        return self._tables, self._harmonics, self._grid, 2.0 * self._cutoffs.max(), base_table, base_offsets

    @cached_property
    def terms(self) -> tuple[Any, ...]:
        """Spans, inner products and last products with their coefficients."""
        p = self.products
        return p.spans.table, p.mirrors, p.nodes, p.lefts, p.firsts, p.rights, self._coefficients

    @cached_property
    def projections(self) -> tuple[Any, ...]:
        """What makes functions of the last products and of the base functions."""
        p = self.products
        return p.entry_firsts, p.entry_terms, p.entry_weights, p.rank_one


def _element_arrays(potential: AcePotential, bonds: list[Bond]) -> tuple[Any, ...]:
    """Return kinds (E,), parameters (E × 2 D,), core cut-offs (E × 2,), modes (E,), inner cut-offs (E² × 2,), max."""
    embeddings, n_elements = potential.embeddings, len(potential.elements)
    kinds = [POWER if embedding.kind == 'FinnisSinclair' else SHIFTED_SCALED for embedding in embeddings]
    by_distance = np.array([potential.bonds[a, 0].inner_cutoff_type == 'zbl' for a in range(n_elements)])
    inner = np.array([(bond.inner_cutoff, bond.inner_width) for bond in bonds])
    return (
        np.array(kinds, dtype=np.int64),
        np.array([value for embedding in embeddings for value in embedding.parameters]),
        np.array([(embedding.rho_core_cut, embedding.drho_core_cut) for embedding in embeddings]).ravel(),
        np.where(by_distance, BY_DISTANCE, BY_DENSITY).astype(np.int64),
        np.ascontiguousarray(inner.ravel()),
        float(inner[:, 0].max()),
    )


def _term_weights(potential: AcePotential, products: Products) -> Array:
    """Return the coefficients of all last products, (T × D,)."""
    is_many = np.array([len(f.mus) > 1 for functions in potential.functions for f in functions], dtype=bool)
    spread = np.repeat(potential.coefficients[is_many], np.diff(products.entry_firsts), axis=0)
    weights = np.zeros((len(products.rights), potential.n_densities))
    np.add.at(weights, products.entry_terms, spread * products.entry_weights[:, None])
    return weights.ravel()


_COMPILED: WeakKeyDictionary[AcePotential, CompiledPotential] = WeakKeyDictionary()


def compiled(potential: AcePotential) -> CompiledPotential:
    """Return the arrays of a potential, made at the first call."""
    found = _COMPILED.get(potential)
    if found is None:
        found = _COMPILED[potential] = CompiledPotential(potential)
    return found
