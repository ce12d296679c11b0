"""The QR factor of one data source as a node: what a new generation stores instead of all data again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm

FILE = 'block.npz'


class AceFitBlockData(orm.Data):
    """One data source under a frozen basis, baseline, E0 and weights; scalars of the file are attributes."""

    @classmethod
    def from_file(cls, path: str | Path) -> AceFitBlockData:
        """Return an unstored node of a block file; raise ``ValueError`` when it cannot be read."""
        node = cls()
        node.base.attributes.set_many(_scalars(Path(path)))
        node.base.repository.put_object_from_file(Path(path), FILE)
        return node

    def write_to(self, path: str | Path) -> None:
        """Write the block file to ``path``."""
        Path(path).write_bytes(self.base.repository.get_object_content(FILE, mode='rb'))


def _scalars(path: Path) -> dict[str, Any]:
    """Return what the file says about itself: every scalar, text that is JSON decoded, and the arrays' shapes."""
    attributes: dict[str, Any] = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for name in archive.files:
                column = archive[name]
                attributes[name] = _plain(column) if column.ndim == 0 else {'shape': list(column.shape)}
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f'{path} is not a block file: {error}; give a block_<name>.npz that a fit wrote') from error
    return attributes


def _plain(column: np.ndarray[Any, Any]) -> Any:
    value = column.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if not isinstance(value, str) or value[:1] not in ('{', '['):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
