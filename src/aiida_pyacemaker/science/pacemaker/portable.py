"""A pickle of plain bytes and calls: it is read by other versions of numpy, pandas and ase than wrote it.

pacemaker reads a pickled DataFrame in its own environment (numpy 1.26, pandas 2.0). A pickle of our objects would name
internals of our numpy and pandas that do not exist there; this one names public constructors and their arguments,
and the environment that reads it makes objects of its own.
"""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PROTOCOL = 4  # Python 3.4 and later


class _Module:
    """Stands for a module by its name; reading imports it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return import_module, (self.name,)


class _Attribute:
    """Stands for ``owner.name``."""

    def __init__(self, owner: Any, name: str) -> None:
        self.owner, self.name = owner, name

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.owner, self.name)

    def __call__(self, *_: Any) -> Any:
        raise TypeError(f'{self.name} is called by whoever reads the pickle')


class Call:
    """Stands for what ``function(*arguments)`` returns where the pickle is read; ``function`` as ``'ase:Atoms'``."""

    def __init__(self, function: str, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        module, _, path = self.function.partition(':')
        owner: Any = _Module(module)
        for name in path.split('.'):
            owner = _Attribute(owner, name)
        return owner, self.arguments


def portable_array(values: NDArray[np.float64]) -> Call:
    """Return a stand-in for a writable array of little-endian doubles."""
    array = np.ascontiguousarray(values, dtype='<f8')
    return Call('numpy:ndarray', array.shape, '<f8', bytearray(array.tobytes()))


def portable_atoms(numbers: Sequence[int], positions: Any, cell: Any, pbc: Sequence[bool]) -> Call:
    """Return a stand-in for ``ase.Atoms``; positions (n, 3) and cell (3, 3) in Å."""
    state = {
        'numbers': [int(number) for number in numbers],
        'positions': portable_array(positions),
        'cell': portable_array(cell),
        'pbc': [bool(flag) for flag in pbc],
    }
    return Call('ase:Atoms.fromdict', state)


def write_dataframe(path: str | Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write ``columns`` (plain values or stand-ins, all of one length) as a gzipped pickle of a pandas DataFrame."""
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f'columns have lengths {lengths}, expected one length')
    frame = Call('pandas:DataFrame', {name: list(values) for name, values in columns.items()})
    with gzip.GzipFile(Path(path), 'wb', mtime=0) as handle:
        handle.write(pickle.dumps(frame, protocol=PROTOCOL))
