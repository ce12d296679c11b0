"""What phase 1 refuses before it starts."""

from __future__ import annotations

from typing import Any

from aiida import orm
from ase.data import atomic_numbers

from ..trainers import check_trainer


def check_symbols(elements: orm.List | None) -> None:
    """Raise ``ValueError`` for what is no chemical symbol."""
    wrong = [symbol for symbol in elements or () if atomic_numbers.get(symbol, 0) == 0]
    if wrong:
        raise ValueError(f'elements: no element is called {", ".join(map(str, wrong))}; give symbols, such as Fe')


def validate_baseline(node: orm.Str, _: Any) -> str | None:
    """Refuse a baseline that is not built."""
    return None if node.value in ('LJ', 'ZBL') else f'baseline: {node.value!r}, allowed: LJ, ZBL'


def validate_density(node: orm.Float, _: Any) -> str | None:
    """Refuse a density that makes no pool."""
    return None if node.value > 0 else f'density: {node.value}, allowed: above 0'


def validate_inputs(inputs: dict[str, Any], _: Any) -> str | None:
    """Hold elements, teacher and prototypes against each other, and the fit against its trainer."""
    message = check_trainer(inputs)
    if message:
        return message
    if any(name not in inputs for name in ('elements', 'teacher')):
        return None
    elements = set(inputs['elements'].get_list())
    unknown = sorted(elements - set(inputs['teacher'].elements))
    if unknown:
        return f'teacher: does not know {", ".join(unknown)}; it knows {", ".join(inputs["teacher"].elements)}'
    held = {name: node.get_symbols_set() for name, node in (inputs.get('structures') or {}).items()}
    if 'prototypes' in inputs:
        held['prototypes'] = set(inputs['prototypes'].elements)
    for name, symbols in held.items():
        extra = sorted(symbols - elements)
        if extra:
            return f'{name}: hold {", ".join(extra)}, which `elements` does not name'
    return None
