"""Embeddings and bonds, which both formats hold under different keys, and the potential made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..model.embedding import EMBEDDING_KINDS, Embedding
from ..model.radial import INNER_CUTOFF_TYPES, RADIAL_BASES, Bond
from ..potential import AcePotential, BasisFunction
from .document import Array, Section, refusal

FunctionTable = dict[BasisFunction, Array]
Keys = Mapping[str, str]


def read_embedding(entry: Section, keys: Keys) -> Embedding:
    """Read how the densities of an element become its energy; parameters beyond its densities are not used."""
    n_densities = entry.count(keys['n_densities'], least=1)
    parameters = entry.array(keys['parameters'])
    if len(parameters) < 2 * n_densities:
        expected = f'2 numbers for each of {n_densities} densities'
        raise refusal(entry.where, keys['parameters'], parameters.tolist(), expected)
    return Embedding(
        kind=entry.choice(keys['kind'], EMBEDDING_KINDS),
        parameters=tuple(parameters[: 2 * n_densities].tolist()),
        rho_core_cut=entry.number(keys['rho_core_cut'], 100000.0),
        drho_core_cut=entry.number(keys['drho_core_cut'], 250.0),
    )


def read_bond(radial: Section, core: Section, keys: Keys, core_repulsion: Array) -> Bond:
    """Read a bond: its radial functions from one mapping, its inner cut-off from another."""
    base = str(radial.get(keys['base'], 'a name'))
    if base not in RADIAL_BASES:
        expected = f'one of {", ".join(RADIAL_BASES)}: tabulated functions of other programs are not read'
        raise refusal(radial.where, keys['base'], base, expected)
    shape = (
        radial.count(keys['n_max']),
        radial.count(keys['l_max']) + 1,
        radial.count(keys['n_base'], least=1),
    )
    parameters = radial.array(keys['parameters'])
    if not len(parameters):
        raise refusal(radial.where, keys['parameters'], '[]', 'one number at least')
    return Bond(
        base=base,
        parameters=tuple(parameters.tolist()),
        cutoff=radial.length(keys['cutoff'], positive=True),
        cutoff_width=radial.length(keys['cutoff_width']),
        coefficients=_radial_coefficients(radial, keys['coefficients'], shape),
        inner_cutoff=core.length(keys['inner_cutoff'], 0.0),
        inner_width=core.length(keys['inner_width'], 0.0),
        core_repulsion=(float(core_repulsion[0]), float(core_repulsion[1])),
        inner_cutoff_type=core.choice(keys['inner_cutoff_type'], INNER_CUTOFF_TYPES, 'density'),
    )


def _radial_coefficients(radial: Section, key: str, shape: tuple[int, int, int]) -> Array:
    """Return c_nlk; older files have them flat, k slowest, then n, then l."""
    value = radial.values.get(key)
    if not isinstance(value, list) or not value or isinstance(value[0], list):
        return radial.array(key, shape)
    n_max, n_l, n_base = shape
    flat = radial.array(key, (n_max * n_l * n_base,))
    return flat.reshape(n_base, n_max, n_l).transpose(1, 2, 0)


def check_inner_cutoffs(where: str, bonds: Mapping[tuple[int, int], Bond], key: str) -> None:
    """Refuse bonds with different kinds of inner cut-off: LAMMPS has one for all."""
    kinds = sorted({bond.inner_cutoff_type for bond in bonds.values()})
    if len(kinds) > 1:
        raise refusal(where, key, ' and '.join(kinds), 'the same for all pairs')


def check_count(where: str, key: str, stated: object, found: int) -> None:
    """Refuse a file of ours that was cut between two functions; files of pacemaker state no number."""
    if str(stated) != str(found):
        raise refusal(where, key, stated, f'the {found} that follow: the file is damaged or truncated')


def assemble(
    where: str,
    elements: tuple[str, ...],
    bonds: dict[tuple[int, int], Bond],
    embeddings: tuple[Embedding, ...],
    tables: Sequence[FunctionTable],
    *,
    bin_width: float,
) -> AcePotential:
    """
    Return the potential with functions in the order of the projections; reference energies are 0.

    ``tables``: per element, function -> coefficients (densities of the element,). `ValueError` for a function that
    needs radial functions its bond lacks, or a node spacing that is not positive.
    """
    if bin_width <= 0.0:
        raise refusal(where, 'DeltaSplineBins', bin_width, 'a positive length in Å')
    functions = tuple(tuple(sorted(table, key=lambda f: f.order_key)) for table in tables)
    n_densities = max(embedding.n_densities for embedding in embeddings)
    rows = []
    for centre, (table, ordered) in enumerate(zip(tables, functions, strict=True)):
        for function in ordered:
            _check_radials(f'{where}: function {function._asdict()} of {elements[centre]}', centre, function, bonds)
            rows.append(np.pad(table[function], (0, n_densities - len(table[function]))))
    return AcePotential(
        elements=elements,
        bonds=bonds,
        functions=functions,
        coefficients=np.array(rows, dtype=float).reshape(-1, n_densities),
        reference_energies={},
        embeddings=embeddings,
        bin_width=bin_width,
    )


def _check_radials(where: str, centre: int, function: BasisFunction, bonds: dict[tuple[int, int], Bond]) -> None:
    """Refuse n or l beyond those of the bond."""
    for mu, n, ell in zip(function.mus, function.ns, function.ls, strict=True):
        bond = bonds[centre, mu]
        n_limit = bond.n_base if len(function.mus) == 1 else bond.n_max
        if n > n_limit or ell > bond.l_max:
            raise refusal(where, 'n, l', f'{n}, {ell}', f'at most the {n_limit}, {bond.l_max} of its bond')
