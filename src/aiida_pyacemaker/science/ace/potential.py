"""The ACE potential as a frozen value: elements, bonds, functions, coefficients, embeddings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .model.embedding import Embedding
from .model.projection_order import coupling_order
from .model.radial import Bond

if TYPE_CHECKING:
    from ase import Atoms

Array = NDArray[np.float64]


class BasisFunction(NamedTuple):
    """One invariant: element indices of the neighbours, n (from 1), l, intermediate momenta; one entry a factor."""

    mus: tuple[int, ...]
    ns: tuple[int, ...]
    ls: tuple[int, ...]
    lint: tuple[int, ...]

    @property
    def order_key(self) -> tuple[Any, ...]:
        """Key of pacemaker's order of the projections of one element."""
        return len(self.mus), self.mus, self.ns, self.ls, coupling_order(self.ls, self.lint)


@dataclass(frozen=True, kw_only=True, eq=False)
class AcePotential:
    """
    An atomic cluster expansion, E_i = E0 + F(ρ_i) with densities ρ_ip = Σ_f c_fp B_f, in pacemaker's B-basis.

    ``bonds`` is keyed by (centre, neighbour) element index; ``functions`` has one tuple an element, in the order of
    the projections; ``coefficients``: (P, D), concatenated over elements, D the largest number of densities, zero
    where an element has fewer; ``embeddings``: one an element, F(ρ) = ρ where none are given; ``reference_energies``:
    E0 in eV. ``coefficients`` may be given as (P,) and embeddings with fewer densities: both are padded.
    """

    elements: tuple[str, ...]
    bonds: dict[tuple[int, int], Bond]
    functions: tuple[tuple[BasisFunction, ...], ...]
    coefficients: Array
    reference_energies: dict[str, float]
    embeddings: tuple[Embedding, ...] = ()
    bin_width: float = 0.001

    def __post_init__(self) -> None:
        embeddings = self.embeddings or (Embedding(),) * len(self.elements)
        if len(embeddings) != len(self.elements):
            raise ValueError(f'embeddings has {len(embeddings)} entries, expected one an element of {self.elements}.')
        pairs = {*product(range(len(self.elements)), repeat=2)}
        if {*self.bonds} != pairs or len(self.functions) != len(self.elements):
            raise ValueError(
                f'bonds of {sorted(self.bonds)} and functions of {len(self.functions)} elements, expected bonds of '
                f'{sorted(pairs)} and functions for each of {", ".join(self.elements)}.'
            )
        n_densities = max(embedding.n_densities for embedding in embeddings)
        object.__setattr__(self, 'embeddings', tuple(embedding.padded(n_densities) for embedding in embeddings))
        coefficients = np.array(self.coefficients, dtype=float)
        wanted = (sum(self.n_functions), n_densities)
        if coefficients.shape != wanted and coefficients.shape != (wanted if n_densities > 1 else wanted[:1]):
            raise ValueError(
                f'coefficients has shape {coefficients.shape}, expected {wanted}: '
                'concatenate the coefficients of the elements in their order, one column a density.'
            )
        coefficients = coefficients.reshape(wanted)
        coefficients.flags.writeable = False
        object.__setattr__(self, 'coefficients', coefficients)
        energies = {element: float(self.reference_energies.get(element, 0.0)) for element in self.elements}
        object.__setattr__(self, 'reference_energies', energies)

    @property
    def cutoff(self) -> float:
        """Largest cut-off of all bonds, Å."""
        return max(bond.cutoff for bond in self.bonds.values())

    @property
    def n_functions(self) -> tuple[int, ...]:
        """Functions per element."""
        return tuple(len(functions) for functions in self.functions)

    @property
    def n_densities(self) -> int:
        """Largest number of densities of any element."""
        return int(self.coefficients.shape[1])

    @property
    def is_linear(self) -> bool:
        """Whether the energy is E0 + Σ_f c_f B_f and nothing else."""
        return all(embedding.is_linear for embedding in self.embeddings) and all(
            bond.acts_through_radials for bond in self.bonds.values()
        )

    @property
    def linear_coefficients(self) -> Array:
        """The coefficients of a linear potential, (P,) eV; `ValueError` for any other."""
        if not self.is_linear:
            raise ValueError(
                f'the potential has embeddings {[(found.kind, found.parameters) for found in self.embeddings]} or core '
                'repulsion or an inner cut-off of kind zbl, expected E = Σ c B, each embedding one density with '
                'parameters (1, 1): other potentials are fitted by pacemaker (trainer.pacemaker).'
            )
        return self.coefficients[:, 0]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the frozen basis: everything except coefficients and reference energies."""
        basis = (self.elements, self.functions, self.embeddings, self.bin_width)
        state = hashlib.sha256(repr(basis).encode())
        for pair, bond in sorted(self.bonds.items()):
            numbers = (bond.cutoff, bond.cutoff_width, bond.inner_cutoff, bond.inner_width, *bond.core_repulsion)
            names = (pair, bond.base, bond.inner_cutoff_type, bond.parameters)
            state.update(repr((*names, numbers, bond.coefficients.shape)).encode())
            state.update(np.ascontiguousarray(bond.coefficients, dtype='<f8').tobytes())
        return state.hexdigest()

    def with_coefficients(self, coefficients: Array) -> AcePotential:
        """Return the same basis with other coefficients, (P, D), or (P,) where D is 1."""
        return self._sharing_digest(coefficients=np.asarray(coefficients, dtype=float))

    def with_reference_energies(self, reference_energies: dict[str, float]) -> AcePotential:
        """Return the same potential with other energies of the free atoms, eV; elements not named get 0."""
        self._check_known(set(reference_energies))
        return self._sharing_digest(reference_energies=dict(reference_energies))

    def _sharing_digest(self, **changes: Any) -> AcePotential:
        other = replace(self, **changes)
        if 'digest' in self.__dict__:
            other.__dict__['digest'] = self.digest
        return other

    def _check_known(self, symbols: set[str]) -> None:
        unknown = sorted(symbols - set(self.elements))
        if unknown:
            raise ValueError(
                f'element {", ".join(unknown)} is unknown to the potential, expected one of '
                f'{", ".join(self.elements)}: fit a potential that includes it.'
            )

    def species_index(self, symbols: list[str]) -> NDArray[np.int64]:
        """Return the element index of each symbol, (n,); `ValueError` for an unknown element."""
        self._check_known(set(symbols))
        lookup = {element: index for index, element in enumerate(self.elements)}
        return np.array([lookup[symbol] for symbol in symbols], dtype=np.int64)

    def function_table(self) -> NDArray[np.void]:
        """
        Return one row a coefficient with fields element, rank, n_sum, l_sum and, padded with 0, mus, ns, ls.

        ``mus``, ``ns``, ``ls`` are (rank_max,) per row; for the prior of the fit.
        """
        width = max(len(f.mus) for functions in self.functions for f in functions)
        fields = [('element', int), ('rank', int), ('n_sum', int), ('l_sum', int)]
        table = np.zeros(sum(self.n_functions), [*fields, *((name, int, (width,)) for name in ('mus', 'ns', 'ls'))])
        rows = [(element, f) for element, functions in enumerate(self.functions) for f in functions]
        for row, (element, f) in zip(table, rows, strict=True):
            rank = len(f.mus)
            row['element'], row['rank'], row['n_sum'], row['l_sum'] = element, rank, sum(f.ns), sum(f.ls)
            row['mus'][:rank], row['ns'][:rank], row['ls'][:rank] = f.mus, f.ns, f.ls
        return table

    @classmethod
    def read(cls, path: str | Path) -> AcePotential:
        """Read pacemaker's B-basis ``.yaml`` or LAMMPS's C-tilde ``.yace``; `ValueError` names what is wrong where."""
        from .files.bbasis_reader import read_yaml
        from .files.ctilde_reader import read_yace

        return read_yace(Path(path)) if Path(path).suffix == '.yace' else read_yaml(Path(path))

    def write_yaml(self, path: str | Path) -> None:
        """Write pacemaker's B-basis ``.yaml``."""
        from .files.bbasis_writer import write_yaml

        write_yaml(self, Path(path))

    def write_yace(self, path: str | Path) -> None:
        """Write LAMMPS's C-tilde ``.yace``."""
        from .files.ctilde_writer import write_yace

        write_yace(self, Path(path))

    def b_projections(self, atoms: Atoms) -> list[Array]:
        """Return the projections B of each atom, a list of (n_functions[species],)."""
        from .evaluator import evaluate

        projections = evaluate(self, atoms, with_projections=True).projections
        return projections if projections is not None else []
