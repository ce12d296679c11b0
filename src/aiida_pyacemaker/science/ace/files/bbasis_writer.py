"""pacemaker's B-basis files: writing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from ..potential import AcePotential
from .bbasis_reader import BOND_KEYS, COUNT_KEY, EMBEDDING_KEYS, REFERENCE_KEY, agree
from .document import array, number, refusal


def write_yaml(potential: AcePotential, path: Path) -> None:
    """
    Write a potential in the form pacemaker and LAMMPS read.

    Every element gets the same number of densities, those it lacks with zero coefficients and prefactor: LAMMPS is
    silently wrong otherwise. E0 goes where pacemaker keeps them, ``metadata: reference_energy``; the format has no
    other place, so pacemaker and LAMMPS (``pace/extrapolation``) print energies without them. `ValueError` for a
    pair whose two directions differ: the format cannot hold it.
    """
    path.write_text('\n'.join(_lines(potential)) + '\n', encoding='utf-8')


def _lines(potential: AcePotential) -> Iterator[str]:
    yield from ('metadata:', '  origin: aiida-pyacemaker', f'  {COUNT_KEY}: {sum(potential.n_functions)}')
    if any(potential.reference_energies.values()):
        yield f"  {REFERENCE_KEY}: '{json.dumps(potential.reference_energies)}'"
    yield from ('global:', f'  DeltaSplineBins: {number(potential.bin_width)}', 'species:')
    entries = _functions_by_block(potential)
    for name in sorted(entries, key=lambda name: (len(name), name)):
        yield f'  - speciesblock: {" ".join(name)}'
        if len(name) == 1:
            yield from _embedding_lines(potential, name[0])
        if len(name) <= 2:
            yield from _bond_lines(potential, name)
        yield from ('    nbody:', *entries[name]) if entries[name] else ('    nbody: []',)


def _functions_by_block(potential: AcePotential) -> dict[tuple[str, ...], list[str]]:
    """Return the lines of the functions, keyed by the species of their block; every bond has one."""
    names = potential.elements
    entries: dict[tuple[str, ...], list[str]] = {
        (names[a],) if a == b else (names[a], names[b]): [] for a, b in potential.bonds
    }
    rows = iter(potential.coefficients)
    for centre, functions in enumerate(potential.functions):
        for f in functions:
            others = sorted({names[mu] for mu in f.mus} - {names[centre]})
            types = ' '.join(names[mu] for mu in (centre, *f.mus))
            lint = f', lint: {list(f.lint)}' if len(f.mus) > 2 else ''
            line = f'{{type: {types}, nr: {list(f.ns)}, nl: {list(f.ls)}{lint}, c: {array(next(rows))}}}'
            entries.setdefault((names[centre], *others), []).append(f'      - {line}')
    return entries


def _embedding_lines(potential: AcePotential, element: str) -> Iterator[str]:
    embedding = potential.embeddings[potential.elements.index(element)]
    for field, key in EMBEDDING_KEYS.items():
        value = getattr(embedding, field)
        yield f'    {key}: {value if isinstance(value, str) else array(value)}'


def _bond_lines(potential: AcePotential, name: tuple[str, ...]) -> Iterator[str]:
    pair = potential.elements.index(name[0]), potential.elements.index(name[-1])
    bond, dual = potential.bonds[pair], potential.bonds[pair[::-1]]
    unlike = [field for field in BOND_KEYS if not agree(bond, dual, field)]
    if unlike:
        raise refusal(f'bond {name[0]} {name[-1]}', unlike[0], 'unlike that of the reversed pair', 'equal ones')
    yield '    NameOfCutoffFunctionij: cos'
    for field, key in BOND_KEYS.items():
        value = getattr(bond, field)
        yield f'    {key}: {value if isinstance(value, str) else array(value)}'
