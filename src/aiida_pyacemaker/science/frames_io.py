"""Extended-XYZ in and out of :class:`Frames`, exact to the last bit; files of others are read as well."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import iread
from ase.io.extxyz import key_val_dict_to_str, key_val_str_to_dict
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from .frames import ATOM_COLUMNS, FRAME_COLUMNS, HAS_ENERGY, HAS_FORCES, HAS_STRESS, Frames

# our column -> its name in the file, where it is another
FILE_NAMES = {'magmom': 'magmoms'}
EXTRA_COLUMNS = tuple(name for name in ATOM_COLUMNS if name not in ('numbers', 'positions'))


def write_extxyz(path: str | Path, frames: Frames) -> None:
    """Write all frames and every column that differs from its missing value, with 17 significant digits.

    Lattice and positions in Å, energy in eV, forces in eV/Å, stress (3x3) in eV/Å³ with ASE's sign.
    """
    with Path(path).open('w', encoding='utf-8') as handle:
        for index in range(len(frames)):
            handle.write('\n'.join(_frame_lines(frames, index)) + '\n')


def read_extxyz(path: str | Path) -> Frames:
    """Return the frames of an extended-XYZ file with whatever labels it holds.

    Without our ``label_mask`` the labels found are declared; ``free_energy`` is preferred to ``energy``, being the
    one consistent with the forces. Raises ``ValueError`` naming the file when it cannot be read.
    """
    try:
        structures = list(iread(str(path), index=':', format='extxyz'))
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise ValueError(f'{path} is not an extended-XYZ file: {error}') from error
    theories: list[Mapping[str, Any]] = []
    columns: dict[str, list[Any]] = {name: [] for name in (*FRAME_COLUMNS, *EXTRA_COLUMNS)}
    for atoms in structures:
        for name, value in {**_frame_row(atoms, theories), **_atom_rows(atoms)}.items():
            columns[name].append(value)
    if not structures:
        return Frames.from_atoms([])
    stacked = {name: np.stack(columns[name]) for name in FRAME_COLUMNS if columns[name]}
    stacked |= {name: np.concatenate(columns[name]) for name in EXTRA_COLUMNS}
    return Frames.from_atoms(structures, **stacked, theories=tuple(theories))


def _frame_lines(frames: Frames, index: int) -> list[str]:
    rows = frames.span(index)
    atoms = frames.atoms(index)
    properties, tables, forms = ['species:S:1', 'pos:R:3'], [atoms.positions], ['%.17g'] * 3
    for name in EXTRA_COLUMNS:
        values = getattr(frames, name)[rows]
        dtype, tail, missing = ATOM_COLUMNS[name]
        if np.array_equal(values, np.full_like(values, missing), equal_nan=dtype[1] == 'f'):
            continue
        kind, form = ('R', '%.17g') if dtype[1] == 'f' else ('I', '%d')
        width = tail[0] if tail else 1
        properties.append(f'{FILE_NAMES.get(name, name)}:{kind}:{width}')
        tables.append(values.reshape(len(values), width))
        forms += [form] * width
    symbols = atoms.get_chemical_symbols()
    comment = key_val_dict_to_str(_frame_info(frames, index) | {'Properties': ':'.join(properties), 'pbc': atoms.pbc})
    row_form = ' '.join(['%-2s', *forms])
    lines = [row_form % (symbol, *_flat(tables, row)) for row, symbol in enumerate(symbols)]
    return [str(len(atoms)), comment, *lines]


def _flat(tables: list[NDArray[Any]], row: int) -> list[Any]:
    return [value for table in tables for value in table[row].tolist()]


def _frame_info(frames: Frames, index: int) -> dict[str, Any]:
    info: dict[str, Any] = {}
    if frames.cells[index].any():
        info['Lattice'] = frames.cells[index].T
    if not np.isnan(frames.energy[index]):
        info['energy'] = float(frames.energy[index])
    if not np.isnan(frames.stress[index]).all():
        info['stress'] = voigt_6_to_full_3x3_stress(frames.stress[index])
    info['label_mask'] = int(frames.label_mask[index])
    if frames.charge[index]:
        info['charge'] = float(frames.charge[index])
    if frames.config_type[index]:
        info['config_type'] = _text(str(frames.config_type[index]))
    if frames.group[index] != FRAME_COLUMNS['group'][2]:
        info['group'] = int(frames.group[index])
    if frames.theory_id[index] >= 0:
        info['theory'] = dict(frames.theories[frames.theory_id[index]])
    return info


def _text(value: str) -> Any:
    """Return ``value`` in a form that the reader does not take for a number or a truth value."""
    plain = key_val_str_to_dict(key_val_dict_to_str({'text': value})).get('text')
    return value if isinstance(plain, str) and plain == value else f'_JSON {json.dumps(value)}'


def _frame_row(atoms: Atoms, theories: list[Mapping[str, Any]]) -> dict[str, Any]:
    results = atoms.calc.results if atoms.calc else {}
    info = atoms.info
    energy = float(results.get('free_energy', results.get('energy', np.nan)))
    stress = np.asarray(results.get('stress', np.full(6, np.nan)), dtype=float)
    stress = full_3x3_to_voigt_6_stress(stress) if stress.shape == (3, 3) else stress
    found = HAS_ENERGY * (not np.isnan(energy)) | HAS_FORCES * ('forces' in results)
    found |= HAS_STRESS * (not np.isnan(stress).any())
    theory_id = -1
    if isinstance(info.get('theory'), dict):
        if info['theory'] not in theories:
            theories.append(info['theory'])
        theory_id = theories.index(info['theory'])
    return {
        'cells': atoms.cell.array,
        'pbc': atoms.pbc,
        'energy': energy,
        'stress': stress,
        'label_mask': int(info.get('label_mask', found)),
        'charge': float(info.get('charge', 0.0)),
        'config_type': str(info.get('config_type', '')),
        'group': int(info.get('group', FRAME_COLUMNS['group'][2])),
        'theory_id': theory_id,
    }


def _atom_rows(atoms: Atoms) -> dict[str, NDArray[Any]]:
    available = {**atoms.arrays, **(atoms.calc.results if atoms.calc else {})}
    rows = {}
    for name in EXTRA_COLUMNS:
        dtype, tail, missing = ATOM_COLUMNS[name]
        values = available.get(FILE_NAMES.get(name, name), np.full((len(atoms), *tail), missing))
        rows[name] = np.asarray(values, dtype=dtype)
    return rows
