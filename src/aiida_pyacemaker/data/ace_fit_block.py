"""The QR factor of one data source as a node: what a new generation stores instead of all data again."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm

FILE = 'block.npz'


class AceFitBlockData(orm.Data):
    """One data source under a frozen basis, baseline, scaling and weights within the source.

    Attributes are the header of the file (name, theory of the labels, ``frozen``: digests of basis and baseline, and
    the scaling; weights, numbers of rows and frames, digest of the frames) and the shapes of its arrays. Reference
    energies are in no row: whichever the potential has, the block is the same.
    """

    @classmethod
    def from_file(cls, path: str | Path) -> AceFitBlockData:
        """Return an unstored node of a block file; raise ``ValueError`` when it is not such a file."""
        node = cls()
        node.base.attributes.set_many(_read_header(Path(path)))
        node.base.repository.put_object_from_file(Path(path), FILE)
        return node

    @property
    def theory(self) -> str:
        """Kind of theory of the labels: `teacher`, `dft`, or both joined by `+`."""
        return str(self.base.attributes.get('theory'))

    def write_to(self, path: str | Path) -> None:
        """Write the block file to ``path``."""
        Path(path).write_bytes(self.base.repository.get_object_content(FILE, mode='rb'))


def _read_header(path: Path) -> dict[str, Any]:
    """Return what the file says about itself and the shapes of its arrays."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            header: dict[str, Any] = json.loads(str(archive['header']))
            shapes = {name: list(archive[name].shape) for name in archive.files if name != 'header'}
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f'{path} is not a block file: {error}; give a block_<name>.npz that a fit wrote') from error
    return {**header, 'shapes': shapes}
