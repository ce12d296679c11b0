"""Labelled frames as columns: the one form in which structures and labels travel."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

HAS_ENERGY, HAS_FORCES, HAS_STRESS = 1, 2, 4
SHELL_NONE, SHELL_CORE, SHELL_FROZEN, SHELL_BUFFER, SHELL_CAP, SHELL_ENVIRONMENT = -1, 0, 1, 2, 3, 4

# column -> (dtype, trailing shape, value of a missing entry)
FRAME_COLUMNS: dict[str, tuple[str, tuple[int, ...], Any]] = {
    'cells': ('<f8', (3, 3), 0.0),
    'pbc': ('|b1', (3,), False),
    'energy': ('<f8', (), np.nan),
    'stress': ('<f8', (6,), np.nan),
    'label_mask': ('|u1', (), 0),
    'charge': ('<f8', (), 0.0),
    'config_type': ('<U48', (), ''),
    'group': ('<i8', (), -1),
    'theory_id': ('<i8', (), -1),
}
ATOM_COLUMNS: dict[str, tuple[str, tuple[int, ...], Any]] = {
    'numbers': ('|u1', (), 0),
    'positions': ('<f8', (3,), 0.0),
    'forces': ('<f8', (3,), np.nan),
    'force_weight': ('<f8', (), 1.0),
    'shell': ('|i1', (), SHELL_NONE),
    'gamma': ('<f8', (), np.nan),
    'uncertainty': ('<f8', (), np.nan),
    'magmom': ('<f8', (), 0.0),
    'parent_index': ('<i8', (), -1),
}
PHYSICS_COLUMNS = (
    'offsets',
    'numbers',
    'positions',
    'cells',
    'pbc',
    'energy',
    'forces',
    'stress',
    'label_mask',
    'force_weight',
)


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Ragged columns of N frames with M atoms in all; frame ``i`` owns the atoms ``offsets[i]:offsets[i + 1]``.

    offsets: (N + 1,); numbers: (M,); positions: (M, 3) Å; cells: (N, 3, 3) Å, rows are vectors; pbc: (N, 3);
    energy: (N,) eV, the one consistent with the forces; forces: (M, 3) eV/Å; stress: (N, 6) eV/Å³ in ASE's sign
    and Voigt order; label_mask: (N,) bits ``HAS_ENERGY | HAS_FORCES | HAS_STRESS``; force_weight: (M,);
    shell: (M,) one of ``SHELL_*``; gamma: (M,); uncertainty: (M,) eV/Å; magmom: (M,) µB; charge: (N,) e;
    config_type: (N,) name of the generator; group: (N,) frames that must not be split; parent_index: (M,) row of
    the atom in the frame it was cut from; theory_id: (N,) row of ``theories`` or -1.
    """

    offsets: NDArray[np.int64]
    numbers: NDArray[np.uint8]
    positions: NDArray[np.float64]
    cells: NDArray[np.float64]
    pbc: NDArray[np.bool_]
    energy: NDArray[np.float64]
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]
    label_mask: NDArray[np.uint8]
    force_weight: NDArray[np.float64]
    shell: NDArray[np.int8]
    gamma: NDArray[np.float64]
    uncertainty: NDArray[np.float64]
    magmom: NDArray[np.float64]
    charge: NDArray[np.float64]
    config_type: NDArray[np.str_]
    group: NDArray[np.int64]
    parent_index: NDArray[np.int64]
    theory_id: NDArray[np.int64]
    theories: tuple[Mapping[str, Any], ...] = field(default=())

    def __post_init__(self) -> None:
        """Check every column's shape and make it read-only."""
        sizes = {
            **dict.fromkeys(FRAME_COLUMNS, len(self.offsets) - 1),
            **dict.fromkeys(ATOM_COLUMNS, int(self.offsets[-1])),
        }
        for name, (dtype, tail, _) in {**FRAME_COLUMNS, **ATOM_COLUMNS}.items():
            column = np.ascontiguousarray(getattr(self, name), dtype=dtype).view()
            if column.shape != (sizes[name], *tail):
                raise ValueError(f'column {name} has shape {column.shape}, expected {(sizes[name], *tail)}')
            column.flags.writeable = False
            object.__setattr__(self, name, column)
        if np.any(np.diff(self.offsets) < 0) or self.offsets[0] != 0:
            raise ValueError(f'offsets must start at 0 and never fall, found {self.offsets[:5]}...')

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def n_atoms(self) -> int:
        """Number of atoms in all frames together."""
        return int(self.offsets[-1])

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """(N,) whether a recovery changed what the label means, as its theory's ``flags`` say: ``select(~flagged)``."""
        changed = [bool(theory.get('flags')) for theory in self.theories]
        return np.array([*changed, False])[self.theory_id]

    def without_flagged(self) -> Frames:
        """Return the same frames, the flagged ones without any weight: rows keep their numbers."""
        weightless = np.repeat(self.flagged, np.diff(self.offsets))
        return self.with_columns(force_weight=np.where(weightless, 0.0, self.force_weight))

    def span(self, index: int) -> slice:
        """Return the rows of the atom columns that belong to frame ``index``."""
        if not 0 <= index < len(self):
            raise IndexError(f'frame {index} of {len(self)}')
        return slice(int(self.offsets[index]), int(self.offsets[index + 1]))

    def frame_of_atom(self) -> NDArray[np.int64]:
        """Return (M,) the frame each atom belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def atoms(self, index: int) -> Atoms:
        """Return the bare structure of frame ``index`` (no labels)."""
        rows = self.span(index)
        return Atoms(
            numbers=self.numbers[rows], positions=self.positions[rows], cell=self.cells[index], pbc=self.pbc[index]
        )

    def iter_atoms(self) -> Iterator[Atoms]:
        """Yield the bare structures in order."""
        return (self.atoms(index) for index in range(len(self)))

    def select(self, indices: ArrayLike) -> Frames:
        """Return the frames at ``indices`` (integers, or a mask of length N), in that order."""
        chosen = np.asarray(indices)
        chosen = np.arange(len(self))[chosen if chosen.dtype == bool else chosen.astype(np.int64)]
        counts = np.diff(self.offsets)[chosen]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        rows = np.arange(offsets[-1]) + np.repeat(self.offsets[chosen] - offsets[:-1], counts)
        columns = {name: getattr(self, name)[chosen] for name in FRAME_COLUMNS}
        columns |= {name: getattr(self, name)[rows] for name in ATOM_COLUMNS}
        return Frames(offsets=offsets, **columns, theories=self.theories)

    def with_columns(self, **columns: Any) -> Frames:
        """Return the same frames with some columns replaced."""
        return replace(self, **columns)

    def content_digest(self) -> str:
        """Return the sha256 of the physics columns: equal structures with equal labels have equal digests."""
        digest = hashlib.sha256()
        for name in PHYSICS_COLUMNS:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return digest.hexdigest()

    def fingerprints(self) -> NDArray[np.uint8]:
        """Return (N, 16) bytes, blake2b of species, cell, pbc and fractional (else Cartesian) positions to 1e-6."""
        return np.array([_fingerprint(atoms) for atoms in self.iter_atoms()], dtype=np.uint8).reshape(-1, 16)

    def save(self, path: str | Path) -> None:
        """Write all columns to an ``.npz`` file."""
        columns = {item.name: getattr(self, item.name) for item in fields(self) if item.name != 'theories'}
        np.savez(path, **columns, theories=np.array(json.dumps(list(self.theories))))

    @classmethod
    def load(cls, path: str | Path) -> Frames:
        """Read the columns that :meth:`save` wrote; raise ``ValueError`` naming the file when it is not such a file."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                columns = {name: archive[name] for name in archive.files}
            theories = tuple(json.loads(str(columns.pop('theories', '[]'))))
            return cls(**columns, theories=theories)
        except (OSError, TypeError, KeyError, EOFError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f'{path} is not a file of frames: {error}') from error

    @classmethod
    def from_atoms(cls, structures: Sequence[Atoms], **columns: Any) -> Frames:
        """Return frames of bare structures; ``columns`` overrides any column, given for all rows at once."""
        counts = [len(atoms) for atoms in structures]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        table: dict[str, Any] = {}
        for name, (dtype, tail, missing) in {**FRAME_COLUMNS, **ATOM_COLUMNS}.items():
            size = len(counts) if name in FRAME_COLUMNS else int(offsets[-1])
            table[name] = np.full((size, *tail), missing, dtype=dtype)
        if counts:
            table['numbers'] = np.concatenate([atoms.numbers for atoms in structures])
            table['positions'] = np.concatenate([atoms.positions for atoms in structures])
            table['cells'] = np.array([np.asarray(atoms.cell) for atoms in structures])
            table['pbc'] = np.array([atoms.pbc for atoms in structures])
        return cls(offsets=offsets, **{**table, **columns})


def concatenate_frames(parts: Sequence[Frames]) -> Frames:
    """Return all frames of ``parts`` in order, their theories merged (equal theories become one row)."""
    theories: list[Mapping[str, Any]] = []
    theory_ids = []
    for part in parts:
        positions = []
        for theory in part.theories:
            if theory not in theories:
                theories.append(theory)
            positions.append(theories.index(theory))
        lookup = np.array([*positions, -1], dtype=np.int64)
        theory_ids.append(lookup[part.theory_id])
    if not parts:
        return Frames.from_atoms([])
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in {**FRAME_COLUMNS, **ATOM_COLUMNS}
    }
    columns['theory_id'] = np.concatenate(theory_ids)
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    return Frames(offsets=np.concatenate([[0], np.cumsum(counts)]), **columns, theories=tuple(theories))


def canonical_order(atoms: Atoms) -> NDArray[np.int64]:
    """Return (N,) the order of atoms that does not depend on the order in which they are given (exact to 1e-6)."""
    return np.lexsort((*_rounded_positions(atoms).T[::-1], atoms.numbers))


def _rounded_positions(atoms: Atoms) -> NDArray[np.float64]:
    rounded = np.round(atoms.positions, 6) + 0.0
    if atoms.pbc.all():
        rounded = np.round(atoms.get_scaled_positions(wrap=True), 6) % 1.0
    return np.asarray(rounded)


def _fingerprint(atoms: Atoms) -> list[int]:
    order = canonical_order(atoms)
    digest = hashlib.blake2b(digest_size=16)
    for part in (
        atoms.numbers[order].astype('<i8'),
        _rounded_positions(atoms)[order].astype('<f8'),
        atoms.pbc,
        np.round(atoms.cell[:], 6) + 0.0,
    ):
        digest.update(np.ascontiguousarray(part).tobytes())
    return list(digest.digest())
