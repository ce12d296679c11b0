"""Finished pieces of a task on disk: a killed task builds only what is not there yet."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..science.frames import ATOM_COLUMNS, FRAME_COLUMNS, Frames
from ..science.pools import Piece, Sample
from .base import Progress

Arrays = dict[str, NDArray[Any]]


def reuse_arrays(name: str, build: Callable[[], Arrays]) -> Arrays:
    """Return the arrays in ``piece_NAME.npz``, built and written first where the file does not exist."""
    path = Path(f'piece_{name}.npz')
    if not path.exists():
        _write_whole(path, lambda partial: np.savez(partial, **build()))  # type: ignore[arg-type]
    with np.load(path, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def reuse_sample(piece: Piece, progress: Progress) -> tuple[Sample, bool]:
    """Return the sample of a piece from ``piece_NAME.npz`` and ``.json``, made and written first where not there.

    Also whether it was there.
    """
    path = piece_file(piece.name)
    words = path.with_suffix('.json')
    reused = path.exists()
    if not reused:
        sample = piece.build()
        words.write_text(json.dumps({'dropped': sample.dropped, 'facts': sample.facts}))
        _write_whole(path, sample.frames.save)
    frames, said = Frames.load(path), json.loads(words.read_text())
    progress.report(piece.name, piece.index + 1, piece.total, n_frames=len(frames), reused=reused)
    return Sample(frames=frames, dropped=said['dropped'], facts=tuple(said['facts'])), reused


def piece_file(name: str) -> Path:
    """Return where the piece of this name lies."""
    return Path(f'piece_{name}.npz')


def join_pieces(names: Sequence[str], target: str | Path) -> None:
    """Write the frames of all pieces to one file in order, groups renumbered so that none is shared.

    Column by column, piece by piece: the memory is that of the largest piece, however large the whole.
    """
    archives = [np.load(piece_file(name), allow_pickle=False) for name in names]
    offsets = [archive['offsets'] for archive in archives]
    first_atoms = np.concatenate([[0], np.cumsum([part[-1] for part in offsets])])
    sizes = [int(archive['group'].max(initial=-1)) + 1 for archive in archives]
    first_groups = np.concatenate([[0], np.cumsum(sizes)])
    n_frames, n_atoms = sum(len(part) - 1 for part in offsets), int(first_atoms[-1])

    def column(index: int, name: str) -> NDArray[Any]:
        if name == 'offsets':
            return np.asarray(offsets[index][int(index > 0) :] + first_atoms[index])
        shift = {'group': first_groups[index]}.get(name, 0)
        values = archives[index][name]
        return np.asarray(values + shift) if shift else np.asarray(values)

    with zipfile.ZipFile(target, 'w') as whole:
        for name, (dtype, tail, _) in {'offsets': ('<i8', (), 0), **FRAME_COLUMNS, **ATOM_COLUMNS}.items():
            length = n_atoms if name in ATOM_COLUMNS else n_frames + (name == 'offsets')
            header = {'descr': dtype, 'fortran_order': False, 'shape': (length, *tail)}
            with whole.open(f'{name}.npy', 'w', force_zip64=True) as stream:
                np.lib.format.write_array_header_1_0(stream, header)
                for index in range(len(archives)):
                    stream.write(np.ascontiguousarray(column(index, name), dtype=dtype).tobytes())
        with whole.open('theories.npy', 'w') as stream:
            np.lib.format.write_array(stream, np.array('[]'))
    for archive in archives:
        archive.close()


def _write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Write under another name first: a file that carries its name is complete."""
    partial = path.with_suffix('.part.npz')
    write(partial)
    partial.replace(path)
