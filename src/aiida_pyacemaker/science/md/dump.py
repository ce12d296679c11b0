"""LAMMPS dump files as frames, and the header of restart files."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ..frames import Frames

Floats = NDArray[np.float64]
_RESTART_MAGIC = b'LammpS RestartT\x00'


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One frame of a dump, sorted by atom id.

    step; columns: name -> (n,); origin: (3,) Å; cell: (3, 3) Å rows are vectors; pbc: (3,).
    """

    step: int
    columns: dict[str, Floats]
    origin: Floats
    cell: Floats
    pbc: NDArray[np.bool_]

    def vectors(self, *names: str) -> Floats:
        """Return (n, len(names)) of the named columns."""
        return np.stack([self.columns[name] for name in names], axis=1)


def read_dump(path: str | Path) -> list[Snapshot]:
    """Return all complete snapshots of a text dump, or of the ``.gz`` beside that name.

    Raise ``ValueError`` naming the file when there is none in it, ``OSError`` when there is no file.
    """
    lines = _read_text(Path(path)).splitlines()
    found = list(_snapshots(lines))
    if not found:
        raise ValueError(f'{path} holds no complete snapshot: it was cut off while being written')
    return found


def _read_text(path: Path) -> str:
    if path.is_file() and path.suffix != '.gz':
        return path.read_text()
    packed = path if path.suffix == '.gz' else path.with_name(f'{path.name}.gz')
    pieces: list[str] = []
    with gzip.open(packed, 'rt') as handle:
        try:
            pieces.extend(handle)
        except (EOFError, zlib.error):  # cut off: what came before is good
            pass
    return ''.join(pieces)


def _snapshots(lines: list[str]) -> Iterator[Snapshot]:
    start = 0
    while start + 9 <= len(lines) and lines[start].startswith('ITEM: TIMESTEP'):
        count = int(lines[start + 3])
        body = lines[start + 9 : start + 9 + count]
        names = lines[start + 8].split()[2:]
        if len(body) < count or len(body[-1].split()) < len(names):
            return
        table = np.array([row.split() for row in body], dtype=float)
        table = table[np.argsort(table[:, names.index('id')], kind='stable')]
        origin, cell, pbc = _box(lines[start + 4 : start + 8])
        columns = {name: table[:, column] for column, name in enumerate(names)}
        yield Snapshot(step=int(lines[start + 1]), columns=columns, origin=origin, cell=cell, pbc=pbc)
        start += 9 + count


def _box(lines: list[str]) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return origin, cell and pbc; the bounds of a tilted box are those of its bounding box."""
    rows = np.array([[float(word) for word in line.split()] for line in lines[1:]])
    low, high = rows[:, 0].copy(), rows[:, 1].copy()
    xy = xz = yz = 0.0
    if rows.shape[1] == 3:
        xy, xz, yz = (float(value) for value in rows[:, 2])
        low[0] -= min(0.0, xy, xz, xy + xz)
        high[0] -= max(0.0, xy, xz, xy + xz)
        low[1] -= min(0.0, yz)
        high[1] -= max(0.0, yz)
    lengths = high - low
    cell = np.array([[lengths[0], 0.0, 0.0], [xy, lengths[1], 0.0], [xz, yz, lengths[2]]])
    pbc = np.array([word == 'pp' for word in lines[0].split()[-3:]])
    return low, cell, pbc


def to_frames(snapshots: Sequence[Snapshot], elements: Sequence[str], *, gamma: str = 'f_gam') -> Frames:
    """Return snapshots as frames with γ (NaN where a snapshot has none); type i is ``elements[i - 1]``."""
    numbers = np.array([atomic_numbers[element] for element in elements])
    structures, grades = [], []
    for shot in snapshots:
        types = shot.columns['type'].astype(int)
        positions = shot.vectors('x', 'y', 'z') - shot.origin
        structures.append(Atoms(numbers=numbers[types - 1], positions=positions, cell=shot.cell, pbc=shot.pbc))
        grades.append(shot.columns.get(gamma, np.full(len(types), np.nan)))
    columns = {'gamma': np.concatenate(grades)} if grades else {}
    return Frames.from_atoms(structures, config_type=np.full(len(structures), 'md'), **columns)


def read_restart_step(path: str | Path) -> int:
    """Return the MD step of a LAMMPS restart file, from the start of its header.

    A magic text opens and ends the file; after it come two integers, then records of an integer flag and a value,
    the flags below first, in this order (checked against files of two LAMMPS versions).
    ``ValueError`` for a file that is cut off or foreign.
    """
    flags = {0: 's', 1: 'i', 48: 'i', 2: 'i', 3: 'i', 4: 's', 5: 'q'}
    with Path(path).open('rb') as handle:
        content = handle.read(4096)
        handle.seek(max(0, Path(path).stat().st_size - len(_RESTART_MAGIC)))
        ending = handle.read()
    place = 16 + 2 * 4
    try:
        if not content.startswith(_RESTART_MAGIC) or ending != _RESTART_MAGIC:
            raise ValueError('its first or last bytes are not those of one')
        while True:
            flag = struct.unpack_from('<i', content, place)[0]
            kind = flags[flag]
            place += 4
            if kind == 's':
                place += 4 + struct.unpack_from('<i', content, place)[0]
            elif kind == 'i':
                place += 4
            else:
                return int(struct.unpack_from('<q', content, place)[0])
    except (KeyError, struct.error, ValueError) as error:
        raise ValueError(f'{path} is not a complete LAMMPS restart file: {error}') from error
