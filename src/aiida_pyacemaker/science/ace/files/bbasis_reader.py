"""pacemaker's B-basis files: reading."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..model.couplings import intermediate_momenta
from ..model.radial import Bond
from ..potential import AcePotential, BasisFunction
from .document import Array, Section, check_element, load_document, refusal
from .parts import FunctionTable, assemble, check_count, check_inner_cutoffs, read_bond, read_embedding

EMBEDDING_KEYS = {
    'n_densities': 'ndensityi',
    'kind': 'npoti',
    'parameters': 'parameters',
    'rho_core_cut': 'rho_core_cut',
    'drho_core_cut': 'drho_core_cut',
}
BOND_KEYS = {
    'n_max': 'nradmaxi',
    'l_max': 'lmaxi',
    'n_base': 'nradbaseij',
    'base': 'radbase',
    'parameters': 'radparameters',
    'cutoff': 'rcutij',
    'cutoff_width': 'dcutij',
    'coefficients': 'radcoefficients',
    'core_repulsion': 'core-repulsion',
    'inner_cutoff': 'r_in',
    'inner_width': 'delta_in',
    'inner_cutoff_type': 'inner_cutoff_type',
}
REFERENCE_KEY = 'reference_energy'
FORMER_REFERENCE_KEY = 'reference_energies'  # of files that this package wrote at first; read, not written
COUNT_KEY = 'number_of_functions'


def read_yaml(path: Path) -> AcePotential:
    """
    Read a potential; `ValueError` names block, key, found and expected.

    Energies of the free atoms are those of ``metadata: reference_energy``, as pacemaker leaves them there: E0 less
    its ``shift``; or of ``reference_energies``, where this package once put them. pacemaker and LAMMPS themselves
    print energies without them.
    """
    document = load_document(path, ('global', 'species'), "pacemaker's B-basis file (.yaml)")
    blocks = _species_blocks(document)
    elements = tuple(sorted({name for names in blocks for name in names}))
    missing = [element for element in elements if (element,) not in blocks]
    if missing:
        raise refusal(str(path), 'species blocks', f'none of {missing[0]} alone', 'one for every element')
    embeddings = tuple(read_embedding(blocks[element,], EMBEDDING_KEYS) for element in elements)
    tables: list[FunctionTable] = [{} for _ in elements]
    for names, block in blocks.items():
        centre = elements.index(names[0])
        for entry in block.sections('nbody', 'function'):
            if entry.values.get('skip') is True:
                continue
            function, coefficients = _read_function(entry, names, elements, embeddings[centre].n_densities)
            if function in tables[centre]:
                raise refusal(entry.where, 'function', function._asdict(), 'each function once')
            tables[centre][function] = coefficients
    metadata = document.section('metadata').values if document.values.get('metadata') else {}
    spacing = document.section('global').number('DeltaSplineBins')
    bonds = _read_bonds(str(path), blocks, elements)
    potential = assemble(str(path), elements, bonds, embeddings, tables, bin_width=spacing)
    key = FORMER_REFERENCE_KEY if REFERENCE_KEY not in metadata else REFERENCE_KEY
    energies = _reference_energies(metadata.get(key), f'{path}: metadata: {key}', elements)
    if COUNT_KEY in metadata and 'pacemaker_version' not in metadata:
        check_count(f'{path}: metadata', COUNT_KEY, metadata[COUNT_KEY], sum(potential.n_functions))
    return potential.with_reference_energies(energies)


def _species_blocks(document: Section) -> dict[tuple[str, ...], Section]:
    """Return the blocks keyed by centre and, sorted, the other species."""
    blocks: dict[tuple[str, ...], Section] = {}
    for entry in document.sections('species', 'species block'):
        title = str(entry.get('speciesblock', 'element names'))
        where = f'{document.where}: block {title}'
        centre, *others = (check_element(where, name) for name in title.split() or [''])
        names = (centre, *sorted({*others} - {centre}))
        if names in blocks:
            raise refusal(where, 'speciesblock', f'{title} again', 'one block of these species')
        blocks[names] = Section(where, entry.values)
    if not blocks:
        raise refusal(document.where, 'species', 'no block', 'one block an element at least')
    return blocks


def _read_bonds(
    where: str, blocks: Mapping[tuple[str, ...], Section], elements: tuple[str, ...]
) -> dict[tuple[int, int], Bond]:
    """Read the radial functions of all ordered pairs; `A B` and `B A` must agree, one may leave them to the other."""
    bonds: dict[tuple[int, int], Bond] = {}
    for a, first in enumerate(elements):
        for b, second in enumerate(elements):
            names = (first,) if a == b else (first, second)
            if names not in blocks:
                raise refusal(where, 'species blocks', f'none of {first} {second}', 'one for every ordered pair')
            dual = blocks[names[::-1]] if names[::-1] in blocks else blocks[names]
            bonds[a, b] = _read_bond(blocks[names], dual)
            _check_agreement(blocks[names].where, bonds[a, b], bonds.get((b, a), bonds[a, b]))
    check_inner_cutoffs(where, bonds, BOND_KEYS['inner_cutoff_type'])
    return bonds


def _read_bond(block: Section, dual: Section) -> Bond:
    """Read the bond of a block, from its dual what the block leaves out."""
    radial_keys = [key for field, key in BOND_KEYS.items() if not field.startswith(('inner', 'core'))]
    radial = block if any(key in block.values for key in radial_keys) else dual
    core = block if BOND_KEYS['core_repulsion'] in block.values else dual
    return read_bond(radial, core, BOND_KEYS, core.array(BOND_KEYS['core_repulsion'], (2,), [0.0, 0.0]))


def agree(bond: Bond, dual: Bond, field: str) -> bool:
    """Tell whether the two directions of a pair have the same value of one field."""
    mine, other = getattr(bond, field), getattr(dual, field)
    return bool(np.array_equal(mine, other) if field == 'coefficients' else mine == other)


def _check_agreement(where: str, bond: Bond, dual: Bond) -> None:
    """Refuse an ordered pair whose two directions differ, as LAMMPS does."""
    for field, key in BOND_KEYS.items():
        if not agree(bond, dual, field):
            raise refusal(where, key, 'unlike that of the reversed pair', 'equal ones')


def _read_function(
    entry: Section, names: tuple[str, ...], elements: tuple[str, ...], n_densities: int
) -> tuple[BasisFunction, Array]:
    """Read one line of ``nbody``: the function and its coefficients, (n_densities,)."""
    types = str(entry.get('type', 'element names')).split()
    rank = len(types) - 1
    if rank < 1 or types[0] != names[0] or not {*types} <= {*names}:
        raise refusal(entry.where, 'type', ' '.join(types), f'{names[0]} and neighbours among {" ".join(names)}')
    ns, ls = entry.counts('nr', rank, least=1), entry.counts('nl', rank)
    lint = entry.counts('lint', max(rank - 2, 0), default=[] if rank <= 2 else None)
    if sum(ls) % 2 or lint not in intermediate_momenta(ls):
        raise refusal(entry.where, 'nl, lint', f'{[*ls]}, {[*lint]}', 'momenta with an even sum that couple to 0')
    value = entry.get('c', f'{n_densities} numbers')
    coefficients = Section(entry.where, {'c': value if isinstance(value, list) else [value]}).array('c', (n_densities,))
    return BasisFunction(tuple(elements.index(name) for name in types[1:]), ns, ls, lint), coefficients


def _reference_energies(text: Any, where: str, elements: tuple[str, ...]) -> dict[str, float]:
    """Return E0 in eV of the JSON that pacemaker keeps in its metadata; 0 where it keeps none."""
    expected = 'JSON with an energy an element'
    if text is None:
        return {}
    try:
        found = json.loads(str(text))
    except json.JSONDecodeError:
        raise refusal(where, 'value', text, expected) from None
    if isinstance(found, int | float):
        found = dict.fromkeys(elements, found)
    if not isinstance(found, dict):
        raise refusal(where, 'value', text, expected)
    section = Section(where, found)
    shift = section.number('shift', 0.0)
    return {element: section.number(element, 0.0) - shift for element in elements}
