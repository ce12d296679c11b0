"""Finished pieces of a task on disk: a killed task builds only what is not there yet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..science.frames import Frames
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


def reuse_sample(piece: Piece, progress: Progress) -> Sample:
    """Return the sample of a piece from ``piece_NAME.npz`` and ``.json``, built and written first where not there."""
    path = Path(f'piece_{piece.name}.npz')
    dropped = path.with_suffix('.json')
    if not path.exists():
        sample = piece.build()
        dropped.write_text(json.dumps(sample.dropped))
        _write_whole(path, sample.frames.save)
    frames = Frames.load(path)
    progress.report(piece.name, piece.index + 1, piece.total, n_frames=len(frames))
    return Sample(frames=frames, dropped=json.loads(dropped.read_text()))


def _write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Write under another name first: a file that carries its name is complete."""
    partial = path.with_suffix('.part.npz')
    write(partial)
    partial.replace(path)
