"""What the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table


def print_json(values: Mapping[str, Any]) -> None:
    """Print plain values as JSON, numbers that are not finite as null."""
    click.echo(json.dumps(_plain(values), indent=1, allow_nan=False, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, 'tolist'):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; numbers are aligned to the right and shown with six digits."""
    table = Table(title=title, title_justify='left', title_style='bold', box=None, pad_edge=False)
    for index, word in enumerate(head):
        numeric = rows and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(word, justify='right' if numeric else 'left', overflow='fold')
    for row in rows:
        table.add_row(*map(shown, row))
    Console().print(table)
    click.echo()


def shown(value: Any) -> str:
    """Return a value as a person reads it."""
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, float):
        return f'{value:.6g}'
    return '-' if value is None else str(value)
