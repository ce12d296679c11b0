"""pacemaker's B-basis files: what is linear is read, anything else is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from .couplings import MAX_RANK, intermediate_momenta
from .potential import AcePotential, Array, BasisFunction
from .radial import RADIAL_BASES, Bond

_LOADER = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
_REFERENCE_KEY = 'reference_energies'


def read_yaml(path: Path) -> AcePotential:
    """Read a potential; `ValueError` names block, key, found and expected."""
    document = yaml.load(path.read_text(), Loader=_LOADER)
    if not isinstance(document, dict) or 'species' not in document:
        raise ValueError(f'{path}: found no `species` list, expected a B-basis file of pacemaker (.yaml).')
    blocks = {tuple(str(block['speciesblock']).split()): block for block in document['species']}
    elements = tuple(sorted(names[0] for names in blocks if len(names) == 1))
    index = {element: i for i, element in enumerate(elements)}
    for element in elements:
        _check_linear(blocks[element,], f'{path}: block {element}')
    bonds = {}
    for a, b in ((a, b) for a in elements for b in elements):
        names: tuple[str, ...] = (a,) if a == b else (a, b)
        if names not in blocks:
            raise ValueError(f'{path}: found no species block `{a} {b}`, expected one for every ordered element pair.')
        bonds[index[a], index[b]] = bond = _read_bond(blocks[names], f'{path}: block {" ".join(names)}')
        mirror = bonds.get((index[b], index[a]), bond)
        if not np.array_equal(mirror.coefficients, bond.coefficients):
            raise ValueError(
                f'{path}: found radcoefficients of `{a} {b}` and `{b} {a}` that differ, expected equal ones.'
            )
    collected: list[dict[BasisFunction, float]] = [{} for _ in elements]
    for names, block in blocks.items():
        for entry in block.get('nbody') or []:
            centre, function, value = _read_function(entry, index, f'{path}: block {" ".join(names)}')
            collected[centre][function] = value
    functions = tuple(tuple(sorted(table, key=lambda f: f.order_key)) for table in collected)
    pairs = zip(collected, functions, strict=True)
    coefficients = np.array([table[f] for table, ordered in pairs for f in ordered], dtype=float)
    metadata = document.get('metadata') or {}
    return AcePotential(
        elements=elements,
        bonds=bonds,
        functions=functions,
        coefficients=coefficients,
        reference_energies=json.loads(metadata.get(_REFERENCE_KEY, '{}')),
        bin_width=float((document.get('global') or {}).get('DeltaSplineBins', 0.001)),
    )


def _check_linear(block: dict[str, Any], where: str) -> None:
    """Refuse what makes the energy anything but Σ c B."""
    parameters = [float(value) for value in block.get('parameters', [])]
    found = (int(block.get('ndensityi', 1)), str(block.get('npoti')), parameters)
    if found[0] != 1 or found[1] not in ('FinnisSinclair', 'FinnisSinclairShiftedScaled') or parameters != [1.0, 1.0]:
        raise ValueError(
            f'{where}: found ndensityi {found[0]}, npoti {found[1]}, parameters {parameters}, expected 1, '
            'FinnisSinclairShiftedScaled, [1, 1]: only linear potentials are read; fit one without embedding.'
        )


def _read_bond(block: dict[str, Any], where: str) -> Bond:
    """Read the radial part of a block."""
    base = str(block['radbase'])
    inner = float(block.get('r_in', 0.0))
    kind = str(block.get('inner_cutoff_type', 'distance'))
    checks = (
        ('radbase', base, base in RADIAL_BASES, ', '.join(RADIAL_BASES)),
        ('core-repulsion', block.get('core-repulsion'), not any(map(float, block.get('core-repulsion', [])[:1])), '0'),
        ('inner_cutoff_type', kind, kind == 'distance' or inner == 0.0, 'distance'),
    )
    for key, found, good, expected in checks:
        if not good:
            raise ValueError(f'{where}: found {key} {found}, expected {expected}: this is not supported.')
    coefficients = np.array(block['radcoefficients'], dtype=float)
    shape = (int(block['nradmaxi']), int(block['lmaxi']) + 1, int(block['nradbaseij']))
    if coefficients.shape != shape:
        raise ValueError(f'{where}: radcoefficients has shape {coefficients.shape}, expected {shape}.')
    return Bond(
        base=base,
        parameters=tuple(float(value) for value in block['radparameters']),
        cutoff=float(block['rcutij']),
        cutoff_width=float(block['dcutij']),
        coefficients=coefficients,
        inner_cutoff=inner,
        inner_width=float(block.get('delta_in', 0.0)),
    )


def _read_function(entry: dict[str, Any], index: dict[str, int], where: str) -> tuple[int, BasisFunction, float]:
    """Read one line of ``nbody``: centre, function, coefficient."""
    names = [index[name] for name in str(entry['type']).split()]
    ns, ls, lint = (tuple(int(value) for value in entry.get(key, [])) for key in ('nr', 'nl', 'lint'))
    rank = len(names) - 1
    if not 1 <= rank <= MAX_RANK or len(ns) != rank or len(ls) != rank:
        raise ValueError(f'{where}: found function {entry}, expected 1 to {MAX_RANK} factors, one n and l each.')
    if rank > 1 and lint not in intermediate_momenta(ls):
        raise ValueError(f'{where}: found lint {list(lint)} of l {list(ls)}, expected {intermediate_momenta(ls)}.')
    if len(entry['c']) != 1:
        raise ValueError(f'{where}: found {len(entry["c"])} densities, expected 1: only linear potentials are read.')
    return names[0], BasisFunction(tuple(names[1:]), ns, ls, lint), float(entry['c'][0])


def number(value: float) -> str:
    """Return a float that reads back to the same bits."""
    return format(float(value), '.17g')


def array(values: Array) -> str:
    """Return a nested YAML flow sequence."""
    if np.ndim(values) == 0:
        return number(float(values))
    return '[' + ', '.join(array(value) for value in values) + ']'


def write_yaml(potential: AcePotential, path: Path) -> None:
    """Write a potential in the form pacemaker and LAMMPS read."""
    lines = ['metadata:', '  origin: aiida-pyacemaker']
    lines += [f"  {_REFERENCE_KEY}: '{json.dumps(potential.reference_energies)}'"]
    lines += ['global:', f'  DeltaSplineBins: {number(potential.bin_width)}', 'species:']
    starts = potential.plan.offsets
    entries: dict[tuple[str, ...], list[str]] = {}
    for pair in potential.bonds:
        entries[_block_name(potential, pair[0], pair[1:])] = []
    for element, functions in enumerate(potential.functions):
        for f, value in zip(functions, potential.linear_coefficients[starts[element] :], strict=False):
            name = _block_name(potential, element, f.mus)
            types = ' '.join(potential.elements[i] for i in (element, *f.mus))
            lint = f', lint: {list(f.lint)}' if len(f.mus) > 2 else ''
            line = f'      - {{type: {types}, nr: {list(f.ns)}, nl: {list(f.ls)}{lint}, c: [{number(value)}]}}'
            entries.setdefault(name, []).append(line)
    for name in sorted(entries, key=lambda name: (len(name), name)):
        lines += _block_head(potential, name)
        lines += ['    nbody:', *entries[name]] if entries[name] else ['    nbody: []']
    path.write_text('\n'.join(lines) + '\n')


def _block_name(potential: AcePotential, centre: int, mus: tuple[int, ...]) -> tuple[str, ...]:
    """Return the species of a block: the centre, then the other neighbour species in order."""
    others = sorted({potential.elements[mu] for mu in mus} - {potential.elements[centre]})
    return (potential.elements[centre], *others)


def _block_head(potential: AcePotential, name: tuple[str, ...]) -> list[str]:
    """Return the lines of a species block above its functions."""
    lines = [f'  - speciesblock: {" ".join(name)}']
    if len(name) == 1:
        lines += ['    ndensityi: 1', '    npoti: FinnisSinclairShiftedScaled', '    parameters: [1, 1]']
        lines += ['    rho_core_cut: 100000', '    drho_core_cut: 250']
    if len(name) > 2:
        return lines
    bond = potential.bonds[potential.elements.index(name[0]), potential.elements.index(name[-1])]
    return [
        *lines,
        f'    nradmaxi: {bond.n_max}',
        f'    lmaxi: {bond.l_max}',
        f'    rcutij: {number(bond.cutoff)}',
        f'    dcutij: {number(bond.cutoff_width)}',
        '    NameOfCutoffFunctionij: cos',
        f'    r_in: {number(bond.inner_cutoff)}',
        f'    delta_in: {number(bond.inner_width)}',
        '    inner_cutoff_type: distance',
        f'    nradbaseij: {bond.n_base}',
        f'    radbase: {bond.base}',
        f'    radparameters: {array(np.array(bond.parameters))}',
        f'    radcoefficients: {array(bond.coefficients)}',
        '    core-repulsion: [0, 0]',
    ]
