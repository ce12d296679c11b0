"""The basis of the student in pacemaker's own keys: one specification for the embedded trainer and for pacemaker."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from ase.data import chemical_symbols
from pydantic import ConfigDict, Field, field_validator, model_validator

from .base import Count, NonNegative, Positive, Settings

ARITIES = ('UNARY', 'BINARY', 'TERNARY', 'QUATERNARY', 'QUINARY')
DEFAULT_RADPARAMETERS = {'ChebExpCos': (5.25,), 'ChebPow': (2.0,), 'ChebLinear': (1.0,), 'SBessel': (5.25,)}


class EmbeddingConfig(Settings):
    """How the energy of an atom is made of its densities: ``fs_parameters`` are prefactor, exponent of each.

    One density with prefactor and exponent 1 is linear; only pacemaker fits anything else.
    """

    npot: Literal['FinnisSinclair', 'FinnisSinclairShiftedScaled'] = 'FinnisSinclairShiftedScaled'
    fs_parameters: tuple[float, ...] = (1.0, 1.0)
    ndensity: Count = 1
    rho_core_cut: Positive | None = None
    drho_core_cut: Positive | None = None

    @model_validator(mode='after')
    def _two_parameters_a_density(self) -> EmbeddingConfig:
        if len(self.fs_parameters) != 2 * self.ndensity:
            raise ValueError(
                f'fs_parameters has {len(self.fs_parameters)} numbers, expected {2 * self.ndensity}: prefactor and '
                f'exponent of each of the {self.ndensity} densities'
            )
        return self

    @property
    def is_linear(self) -> bool:
        """Whether the energy is the density itself."""
        return self.ndensity == 1 and self.fs_parameters == (1.0, 1.0)


class BondConfig(Settings):
    """Radial functions of a pair of elements, lengths in Å; what is ``None`` is taken from a more general key.

    Where none says it: ``radbase`` SBessel, ``radparameters`` the usual ones of the radial base, ``dcut`` 0.01,
    ``rcut`` 2.2 bond lengths, ``r_in`` 0.7 and ``delta_in`` 0.15 of the sum of covalent radii (below it the baseline
    rules), ``inner_cutoff_type`` distance, no core repulsion.
    """

    model_config = ConfigDict(extra='forbid', frozen=True, populate_by_name=True)

    radbase: Literal['ChebExpCos', 'ChebPow', 'ChebLinear', 'SBessel'] | None = None
    radparameters: tuple[float, ...] | None = None
    rcut: Positive | None = None
    dcut: Positive | None = None
    NameOfCutoffFunction: Literal['cos'] | None = None
    r_in: NonNegative | None = None
    delta_in: NonNegative | None = None
    inner_cutoff_type: Literal['distance', 'density', 'zbl'] | None = None
    core_repulsion: Annotated[tuple[float, float] | None, Field(alias='core-repulsion')] = None

    def over(self, general: BondConfig) -> BondConfig:
        """Return these settings, where they are ``None`` those of ``general``."""
        given = self.model_dump(exclude_none=True)
        return general.model_copy(update={name: getattr(self, name) for name in given})


class OrdersConfig(Settings):
    """Largest n and l by the number of factors of a function (body order less one)."""

    nradmax_by_orders: tuple[Count, ...] = (12, 5, 3)
    lmax_by_orders: tuple[int, ...] = (0, 3, 3)

    @field_validator('lmax_by_orders')
    @classmethod
    def _momenta_couple_to_zero(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or value[0] != 0 or min(value) < 0:
            raise ValueError(
                f'lmax_by_orders is {value}: one factor alone is invariant for l = 0 only; allowed: 0, then values >= 0'
            )
        return value

    @model_validator(mode='after')
    def _as_many_orders(self) -> OrdersConfig:
        n_orders, l_orders = len(self.nradmax_by_orders), len(self.lmax_by_orders)
        if n_orders != l_orders:
            raise ValueError(
                f'nradmax_by_orders and lmax_by_orders have {n_orders} and {l_orders} entries, not as many'
            )
        return self


class FunctionsConfig(Settings):
    """Which functions: limits by the number of elements in a block (``ALL`` where it has none of its own).

    ``number_of_functions_per_element`` is shared equally by the blocks of an element; ``None``: all of them. Limits of
    a single block (pacemaker's keys as 'AlNi') are refused: the sizes of blocks are what there is.
    """

    number_of_functions_per_element: Count | None = 200
    ALL: OrdersConfig | None = OrdersConfig()
    UNARY: OrdersConfig | None = None
    BINARY: OrdersConfig | None = None
    TERNARY: OrdersConfig | None = None
    QUATERNARY: OrdersConfig | None = None
    QUINARY: OrdersConfig | None = None

    @model_validator(mode='before')
    @classmethod
    def _no_limits_of_one_block(cls, value: Any) -> Any:
        blocks = [key for key in value if species_of(str(key))] if isinstance(value, Mapping) else []
        if blocks:
            raise ValueError(
                f'functions has key {", ".join(map(str, blocks))}: a block has no limits of its own here; allowed: '
                f'ALL, {", ".join(ARITIES)}, by the number of elements in a block'
            )
        return value

    def orders(self, n_elements: int) -> OrdersConfig | None:
        """Return the limits of blocks of ``n_elements`` elements, ``None`` where there are to be no functions."""
        own = getattr(self, ARITIES[n_elements - 1]) if n_elements <= len(ARITIES) else None
        return own or self.ALL


class BasisConfig(Settings):
    """Elements, embeddings, bonds and functions, as in the ``potential`` section of pacemaker's ``input.yaml``.

    ``elements`` empty: those of the workflow. ``embeddings`` by 'ALL', 'UNARY' (the same) or element; ``bonds`` by
    'ALL', 'UNARY', 'BINARY' or a pair as 'AlNi' (the order does not matter; 'Ni' is 'NiNi'), the more specific key over
    the more general, value by value. Everything has a default, so that elements are all that a user need give.
    """

    elements: tuple[str, ...] = ()
    embeddings: dict[str, EmbeddingConfig] = {'ALL': EmbeddingConfig()}
    bonds: dict[str, BondConfig] = {'ALL': BondConfig()}
    functions: FunctionsConfig = FunctionsConfig()
    deltaSplineBins: Positive = 0.001

    @field_validator('elements')
    @classmethod
    def _elements_exist(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [symbol for symbol in value if symbol not in chemical_symbols[1:]]
        if unknown:
            raise ValueError(f'elements holds {", ".join(unknown)}; allowed: chemical symbols')
        return value

    @field_validator('embeddings')
    @classmethod
    def _embeddings_of_elements(cls, value: dict[str, EmbeddingConfig]) -> dict[str, EmbeddingConfig]:
        unknown = [key for key in value if key not in ('ALL', 'UNARY') and key not in chemical_symbols[1:]]
        if unknown:
            raise ValueError(f'embeddings has key {", ".join(unknown)}; allowed: ALL, UNARY or a chemical symbol')
        return value

    @field_validator('bonds')
    @classmethod
    def _bonds_of_pairs(cls, value: dict[str, BondConfig]) -> dict[str, BondConfig]:
        unknown = [key for key in value if key not in ('ALL', 'UNARY', 'BINARY') and split_pair(key) is None]
        if unknown:
            raise ValueError(f'bonds has key {", ".join(unknown)}; allowed: ALL, UNARY, BINARY or a pair as AlNi')
        return value

    def bond(self, first: str, second: str) -> BondConfig:
        """Return the settings of one pair of elements; what is ``None`` is still to be inferred."""
        arity = 'UNARY' if first == second else 'BINARY'
        pairs = [key for key in self.bonds if split_pair(key) in {(first, second), (second, first)}]
        merged = BondConfig()
        for key in ('ALL', arity, *pairs):
            merged = self.bonds.get(key, BondConfig()).over(merged)
        return merged

    def embedding(self, element: str) -> EmbeddingConfig:
        """Return the embedding of one element."""
        given = (self.embeddings.get(key) for key in (element, 'UNARY', 'ALL'))
        return next((embedding for embedding in given if embedding is not None), EmbeddingConfig())


def split_pair(key: str) -> tuple[str, str] | None:
    """Return the two chemical symbols that ``key`` joins, as 'AlNi' ('Ni' is 'NiNi'), or ``None``."""
    species = species_of(key)
    return (species[0], species[-1]) if 1 <= len(species) <= 2 else None


def species_of(key: str) -> tuple[str, ...]:
    """Return the chemical symbols that ``key`` is made of, as 'AlNi'; empty where it is made of anything else."""
    species = tuple(re.findall('[A-Z][a-z]?', key))
    return species if ''.join(species) == key and {*species} <= {*chemical_symbols[1:]} else ()
