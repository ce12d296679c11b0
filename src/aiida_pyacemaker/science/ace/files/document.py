"""YAML read with checks: every error names the file, the place, the key, what was found and what was expected."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase.data import chemical_symbols
from numpy.typing import NDArray

Array = NDArray[np.float64]


class _Loader(getattr(yaml, 'CSafeLoader', yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that takes sequences as keys, as ``.yace`` has, and refuses a key given twice."""


def _construct_mapping(loader: Any, node: yaml.MappingNode) -> dict[Any, Any]:
    mapping = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        key = tuple(key) if isinstance(key, list) else key
        if key in mapping:
            raise yaml.constructor.ConstructorError(None, None, f'key {key!r} given twice', key_node.start_mark)
        mapping[key] = loader.construct_object(value_node, deep=True)
    return mapping


_Loader.add_constructor('tag:yaml.org,2002:map', _construct_mapping)


def refusal(where: str, key: str, found: object, expected: str) -> ValueError:
    """Return the error for one key; long values are cut."""
    shown = str(found)
    return ValueError(f'{where}: found {key} {shown if len(shown) <= 90 else shown[:90] + "..."}, expected {expected}.')


@dataclass(frozen=True)
class Section:
    """One mapping of a file; ``where`` names file and place in errors. Readers raise `ValueError`."""

    where: str
    values: Mapping[Any, Any]

    def get(self, key: str, expected: str, default: Any = None) -> Any:
        """Return a value; without a default it must be there."""
        if self.values.get(key) is None:
            if default is None:
                raise refusal(self.where, key, 'nothing', expected)
            return default
        return self.values[key]

    def number(self, key: str, default: float | None = None) -> float:
        """Return a finite number."""
        return float(self.array(key, (), default))

    def count(self, key: str, least: int = 0) -> int:
        """Return a whole number not below ``least``."""
        value = self.get(key, f'a whole number from {least} on')
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise refusal(self.where, key, value, f'a whole number from {least} on')
        return value

    def choice(self, key: str, allowed: Collection[str], default: str | None = None) -> str:
        """Return one of the ``allowed`` words."""
        value = str(self.get(key, f'one of {", ".join(allowed)}', default))
        if value not in allowed:
            raise refusal(self.where, key, value, f'one of {", ".join(allowed)}')
        return value

    def array(self, key: str, shape: tuple[int, ...] | None = None, default: Any = None) -> Array:
        """Return finite numbers of a given shape; one dimension of any length without a shape."""
        wanted = 'a number' if shape == () else 'a list of numbers' if shape is None else f'numbers of shape {shape}'
        value = self.get(key, wanted, default)
        try:
            numbers = np.array(value, dtype=float)
        except (TypeError, ValueError):
            raise refusal(self.where, key, value, wanted) from None
        if numbers.shape != shape and (shape is not None or numbers.ndim != 1):
            raise refusal(self.where, key, f'shape {numbers.shape}' if shape else value, wanted)
        if not np.isfinite(numbers).all():
            raise refusal(self.where, key, value, 'finite numbers')
        return numbers

    def counts(self, key: str, length: int, least: int = 0, default: Any = None) -> tuple[int, ...]:
        """Return ``length`` whole numbers not below ``least``."""
        value = self.whole(key, length, default)
        if min(value, default=least) < least:
            raise refusal(self.where, key, [*value], f'{length} whole numbers from {least} on')
        return value

    def whole(self, key: str, length: int, default: Any = None) -> tuple[int, ...]:
        """Return ``length`` whole numbers."""
        value = self.get(key, f'{length} whole numbers', default)
        good = isinstance(value, list) and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
        if not good or len(value) != length:
            raise refusal(self.where, key, value, f'{length} whole numbers')
        return tuple(value)

    def length(self, key: str, default: float | None = None, *, positive: bool = False) -> float:
        """Return a length in Å, not negative."""
        value = self.number(key, default)
        if value < 0.0 or (positive and value == 0.0):
            raise refusal(self.where, key, value, 'a length in Å')
        return value

    def section(self, key: str) -> Section:
        """Return a mapping within this one."""
        return Section(f'{self.where}: {key}', self._typed(key, self.get(key, 'a mapping'), dict, 'a mapping'))

    def sections(self, key: Any, name: str) -> Iterator[Section]:
        """Yield the mappings of a list, named and numbered from 1."""
        entries = self._typed(str(key), self.values.get(key), list, 'a list of mappings')
        for number, entry in enumerate(entries, start=1):
            where = f'{self.where}: {name} {number}'
            yield Section(where, Section(where, {})._typed('an entry', entry, dict, 'a mapping'))

    def _typed(self, key: str, value: Any, kind: type, expected: str) -> Any:
        if not isinstance(value, kind):
            raise refusal(self.where, key, value, expected)
        return value


def load_document(path: Path, keys: Collection[str], kind: str) -> Section:
    """Load a YAML file that must have ``keys``; `ValueError` where it is no YAML, truncated or another kind of file."""
    try:
        document = yaml.load(path.read_text(encoding='utf-8'), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, 'problem_mark', None)
        line = f'line {mark.line + 1}: ' if mark is not None else ''
        reason = getattr(error, 'problem', None) or str(error)
        raise ValueError(f'{path}: {line}found {reason}, expected {kind}: the file is damaged or truncated.') from None
    if not isinstance(document, dict):
        raise ValueError(f'{path}: found {type(document).__name__}, expected {kind}.')
    missing = [key for key in keys if document.get(key) is None]
    if missing:
        raise ValueError(f'{path}: found no {", ".join(missing)}, expected {kind}: the file may be truncated.')
    return Section(str(path), document)


def check_element(where: str, name: str) -> str:
    """Return a chemical symbol; `ValueError` for anything else."""
    if name not in chemical_symbols[1:]:
        raise refusal(where, 'element', name, 'a chemical symbol')
    return name


def number(value: float) -> str:
    """Return a float that reads back to the same bits."""
    return format(float(value), '.17g')


def array(values: Any) -> str:
    """Return a nested YAML flow sequence."""
    if np.ndim(values) == 0:
        return number(float(values))
    return '[' + ', '.join(array(value) for value in values) + ']'
