"""LAMMPS's C-tilde files (.yace) turned back into invariant functions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..model.couplings import canonical, independent_couplings, symmetrised
from ..model.embedding import Embedding
from ..model.radial import Bond
from ..potential import AcePotential, BasisFunction
from .ctilde_writer import BOND_KEYS, COUNT_KEY, EMBEDDING_KEYS
from .document import Section, check_element, load_document, refusal
from .parts import FunctionTable, assemble, check_count, check_inner_cutoffs, read_bond, read_embedding

Array = NDArray[np.float64]
SPANNED = 1e-9
"""Largest residual of the projection, relative to the largest coefficient of the function."""
NEGLIGIBLE = 1e-13
"""Coefficients below this, relative to the largest of the function, are round-off of the projection."""


def read_yace(path: Path) -> AcePotential:
    """
    Read a potential: the coefficients of each (μ, n, l) are projected on its independent couplings.

    The energy is that of the file to round-off. The functions are the ones a B-basis of the same (μ, n, l) has,
    less those whose coefficients vanish, and need not be those of the ``.yaml`` the file was made from: an active
    set belongs to the ``.yaml``. Entries of one (μ, n, l) are added, as LAMMPS adds them. `ValueError` for
    coefficients that no invariant function gives, for tabulated radial functions of other programs, and for
    whatever is missing or inconsistent, by name.
    """
    keys = ('elements', 'E0', 'embeddings', 'bonds', 'functions')
    document = load_document(path, keys, "LAMMPS's C-tilde file (.yace)")
    names = document.get('elements', 'a list')
    if not isinstance(names, list) or len({*names}) != len(names):
        raise refusal(document.where, 'elements', names, 'a list of symbols, each once')
    elements = tuple(sorted(check_element(document.where, name) for name in names))
    place = [elements.index(name) for name in names]
    energies = document.array('E0', (len(names),))
    listed = document.section('embeddings')
    embeddings = [read_embedding(_numbered(listed, index), EMBEDDING_KEYS) for index in range(len(names))]
    bonds = {(place[a], place[b]): bond for (a, b), bond in _read_bonds(document.section('bonds'), len(names)).items()}
    tables = [_read_table(document, index, names[index], place, embeddings) for index in range(len(names))]
    count = sum(len(document.section('functions').values[index]) for index in range(len(names)))
    check_count(str(path), COUNT_KEY, document.values.get(COUNT_KEY, count), count)
    back = [place.index(index) for index in range(len(names))]
    ordered = tuple(embeddings[index] for index in back), [tables[index] for index in back]
    potential = assemble(str(path), elements, bonds, *ordered, bin_width=document.number('deltaSplineBins'))
    return potential.with_reference_energies(dict(zip(names, energies.tolist(), strict=True)))


def _read_table(
    document: Section, index: int, name: str, place: list[int], embeddings: list[Embedding]
) -> FunctionTable:
    """Read the functions of one centre element."""
    table: FunctionTable = {}
    for entry in document.section('functions').sections(index, f'element {name}: function'):
        for function, coefficients in _read_function(entry, place, embeddings[index].n_densities).items():
            table[function] = table.get(function, np.zeros(1)) + coefficients
    return table


def _numbered(section: Section, index: int) -> Section:
    if not isinstance(section.values.get(index), dict):
        raise refusal(section.where, str(index), section.values.get(index), 'a mapping for every element')
    return Section(f'{section.where}: {index}', section.values[index])


def _read_bonds(section: Section, n_elements: int) -> dict[tuple[int, int], Bond]:
    bonds = {}
    for pair in ((a, b) for a in range(n_elements) for b in range(n_elements)):
        if not isinstance(section.values.get(pair), dict):
            raise refusal(section.where, str([*pair]), section.values.get(pair), 'a mapping for every ordered pair')
        entry = Section(f'{section.where}: {[*pair]}', section.values[pair])
        repulsion = np.array([entry.number('prehc', 0.0), entry.number('lambdahc', 0.0)])
        bonds[pair] = read_bond(entry, entry, BOND_KEYS, repulsion)
    check_inner_cutoffs(section.where, bonds, BOND_KEYS['inner_cutoff_type'])
    return bonds


def _read_function(entry: Section, place: list[int], n_densities: int) -> dict[BasisFunction, Array]:
    """Return the functions of one (μ, n, l) with their coefficients, (n_densities,)."""
    rank, n_terms = entry.count('rank', least=1), entry.count('num_ms_combs')
    mus, ns, ls = entry.counts('mus', rank), entry.counts('ns', rank, least=1), entry.counts('ls', rank)
    flat = entry.whole('ms_combs', rank * n_terms)
    coefficients = entry.array('ctildes', (n_terms * n_densities,)).reshape(n_terms, n_densities)
    if not n_terms:
        return {}
    if max(mus) >= len(place):
        raise refusal(entry.where, 'mus', [*mus], f'elements 0 to {len(place) - 1}')
    factors = [(place[mu], n, ell) for mu, n, ell in zip(mus, ns, ls, strict=True)]
    order = sorted(range(rank), key=factors.__getitem__)
    mus, ns, ls = zip(*(factors[i] for i in order), strict=True)
    terms: dict[tuple[int, ...], Array] = {}
    for index, row in enumerate(coefficients):
        ms = tuple(flat[index * rank + i] for i in order)
        if sum(ms) or any(abs(m) > ell for m, ell in zip(ms, ls, strict=True)):
            raise refusal(entry.where, 'ms_combs', [*ms], f'|m| within ls {[*ls]} and a sum of 0')
        key = canonical(tuple(zip(mus, ns, strict=True)), ls, ms)
        terms[key] = terms.get(key, 0.0) + row
    return _project(entry.where, (mus, ns, ls), terms)


def _project(
    where: str, product: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]], terms: dict[tuple[int, ...], Array]
) -> dict[BasisFunction, Array]:
    """Solve c̃ = Σ_L c_L coupling_L; functions without a coefficient are left out unless none has one."""
    mus, ns, ls = product
    labels = tuple(zip(mus, ns, strict=True))
    lints = independent_couplings(labels, ls) if len(ls) > 1 else ((),) * (ls == (0,))
    columns = [symmetrised(labels, ls, lint) for lint in lints]
    rows = sorted({*terms, *(ms for column in columns for ms in column)})
    target = np.array([terms.get(ms, 0.0 * next(iter(terms.values()))) for ms in rows])
    matrix = np.array([[column.get(ms, 0.0) for column in columns] for ms in rows]).reshape(len(rows), len(lints))
    solution = np.linalg.lstsq(matrix, target, rcond=None)[0]
    largest = float(np.abs(target).max(initial=0.0))
    residual = float(np.abs(matrix @ solution - target).max(initial=0.0))
    if residual > SPANNED * largest:
        expected = f'a combination of the {len(lints)} invariant couplings (residual {residual:.1e} of {largest:.1e})'
        raise refusal(where, 'ctildes', f'coefficients of mus {[*mus]}, ns {[*ns]}, ls {[*ls]}', expected)
    kept = np.abs(solution).max(axis=1, initial=0.0) > NEGLIGIBLE * np.abs(solution).max(initial=0.0)
    return {
        BasisFunction(mus, ns, ls, lint): row
        for lint, row, is_kept in zip(lints, solution, kept, strict=True)
        if is_kept or not kept.any()
    }
