"""Frames as a node: immutable columns, each a file of fixed name, so that equal content hashes equal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.links import LinkType
from aiida.orm import ArrayData
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ..science.frames import ATOM_COLUMNS, FRAME_COLUMNS, HAS_ENERGY, HAS_FORCES, HAS_STRESS, Frames

UNITS = {'positions': 'angstrom', 'energy': 'eV', 'forces': 'eV/angstrom', 'stress': 'eV/angstrom^3'}
FRAME_LINK = re.compile(r'^frame_(\d+)$')


class AtomicDatasetData(ArrayData):
    """N labelled or bare frames with M atoms in all, stored as the columns of :class:`Frames` plus ``fingerprint``.

    The columns are the root-level files ``<column>.npy``; attributes hold counts, elements, units, theories, ranges
    and the digest of the physics columns, so that a query needs no file. Rows keep the order they were given in.
    """

    SCHEMA_VERSION = 1

    @classmethod
    def from_frames(cls, frames: Frames) -> AtomicDatasetData:
        """Return an unstored node that holds ``frames``."""
        node = cls()
        node.set_array('offsets', np.asarray(frames.offsets, dtype='<i8'))
        for name, (dtype, _, _) in {**FRAME_COLUMNS, **ATOM_COLUMNS}.items():
            node.set_array(name, np.asarray(getattr(frames, name), dtype=dtype))
        node.set_array('fingerprint', frames.fingerprints())
        node.base.attributes.set_many(_summarise(frames))
        return node

    @classmethod
    def from_atoms(cls, *structures: Atoms) -> AtomicDatasetData:
        """Return an unstored node that holds bare structures."""
        return cls.from_frames(Frames.from_atoms(structures))

    def get_frames(self) -> Frames:
        """Return all columns at once (M x ~150 bytes); use ``ds[i]`` or ``iter_ase`` to read frame by frame."""
        columns = {name: self._rows(name) for name in ('offsets', *FRAME_COLUMNS, *ATOM_COLUMNS)}
        return Frames(**columns, theories=tuple(self.base.attributes.get('theories')))

    def __len__(self) -> int:
        return int(self.base.attributes.get('n_frames'))

    def __getitem__(self, index: int) -> Frames:
        """Return frame ``index`` as frames of length 1; only its rows are read. Raise ``IndexError`` past the end."""
        if not 0 <= index < len(self):
            raise IndexError(f'frame {index} of {len(self)} in dataset <{self.pk}>')
        first, last = (int(value) for value in self._rows('offsets', index, index + 2))
        columns = {name: self._rows(name, index, index + 1) for name in FRAME_COLUMNS}
        columns |= {name: self._rows(name, first, last) for name in ATOM_COLUMNS}
        offsets = np.array([0, last - first], dtype=np.int64)
        return Frames(offsets=offsets, **columns, theories=tuple(self.base.attributes.get('theories')))

    def iter_ase(self) -> Iterator[Atoms]:
        """Yield the bare structures in order, reading one frame at a time."""
        return (self[index].atoms(0) for index in range(len(self)))

    def write_extxyz(self, path: str | Path) -> None:
        """Write all frames with their labels to an extended-XYZ file."""
        from ..science.frames_io import write_extxyz

        write_extxyz(path, self.get_frames())

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that occur, in alphabetical order."""
        return tuple(self.base.attributes.get('elements'))

    @property
    def theory(self) -> str:
        """Kind of theory of the labels: `teacher`, `dft`, or both joined by `+`."""
        kinds = {str(theory.get('kind', 'unknown')) for theory in self.base.attributes.get('theories')}
        return '+'.join(sorted(kinds)) or 'unknown'

    @property
    def content_digest(self) -> str:
        """The sha256 of the physics columns: equal structures with equal labels have equal digests."""
        return str(self.base.attributes.get('content_digest'))

    def provenance(self, index: int) -> orm.Node | None:
        """Return the node that frame ``index`` was read from, else the process that made the dataset, else ``None``.

        A process that collects frames one by one links each under ``frame_<row>``, in the order of the rows.
        """
        if not 0 <= index < len(self):
            raise IndexError(f'frame {index} of {len(self)} in dataset <{self.pk}>')
        creator = self.creator
        if creator is None:
            return None
        links = creator.base.links.get_incoming(link_type=(LinkType.INPUT_CALC,)).all()
        rows = sorted((int(found[1]), link.node) for link in links if (found := FRAME_LINK.match(link.link_label)))
        return rows[index][1] if len(rows) == len(self) else creator

    def _rows(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Return the rows ``start:stop`` of a column; nothing else is read and nothing stays in memory."""
        with self.base.repository.open(f'{name}.npy', mode='rb') as handle:
            version = np.lib.format.read_magic(handle)
            readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, _, dtype = readers[version](handle)
            stop = shape[0] if stop is None else stop
            width = dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
            handle.seek(handle.tell() + start * width)
            content = handle.read((stop - start) * width)
        return np.frombuffer(content, dtype=dtype).reshape(stop - start, *shape[1:])


def _summarise(frames: Frames) -> dict[str, Any]:
    """Return the attributes: what a query may ask for, all plain JSON without NaN."""
    counts = np.diff(frames.offsets)
    labelled = (frames.label_mask & HAS_ENERGY) > 0
    per_atom = frames.energy[labelled] / np.maximum(counts[labelled], 1)
    norms = np.linalg.norm(frames.forces, axis=1)
    types, type_counts = np.unique(frames.config_type, return_counts=True)
    return {
        'schema_version': AtomicDatasetData.SCHEMA_VERSION,
        'n_frames': len(frames),
        'n_atoms': frames.n_atoms,
        'max_atoms_per_frame': int(counts.max(initial=0)),
        'elements': sorted(chemical_symbols[number] for number in np.unique(frames.numbers)),
        'n_labelled': {
            'energy': int(labelled.sum()),
            'forces': int(((frames.label_mask & HAS_FORCES) > 0).sum()),
            'stress': int(((frames.label_mask & HAS_STRESS) > 0).sum()),
        },
        'config_types': dict(zip(types.tolist(), type_counts.tolist(), strict=True)),
        'theories': [dict(theory) for theory in frames.theories],
        'units': UNITS,
        'energy_per_atom_range_eV': _range(per_atom),
        'force_norm_range_eV_per_A': _range(norms),
        'gamma_range': _range(frames.gamma),
        'uncertainty_range_eV_per_A': _range(frames.uncertainty),
        'content_digest': frames.content_digest(),
    }


def _range(values: NDArray[np.float64]) -> list[float] | None:
    finite = values[np.isfinite(values)]
    return [float(finite.min()), float(finite.max())] if len(finite) else None
