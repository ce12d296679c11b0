"""Write ``docs/exit_codes.md`` from the processes themselves; with ``--check`` only say whether it is up to date."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / 'docs' / 'exit_codes.md'
HEAD = """# Exit codes

`verdi process list -a` shows the exit status of each process, `verdi process report PK` what happened before. The
hundreds tell the kind:

| status | kind |
|---|---|
| 2xx | the inputs are wrong; nothing was computed |
| 3xx | a program left no output, or one that cannot be read |
| 4xx | a calculation or a child failed; a restart with other settings may help |
| 5xx | usable, but not all of it |
| 6xx | a gate failed or a budget is spent; the best potential so far is attached |
| 7xx | done, with a warning |

This page is written by `scripts/exit_codes.py` from the processes themselves.
"""


def own_exit_codes(process: Any) -> list[tuple[int, str, str]]:
    """Return (status, name, message) of the codes that ``process`` or our own base classes define."""
    ours = 'aiida_pyacemaker'
    foreign = next(base for base in process.__mro__ if not base.__module__.startswith(ours) and hasattr(base, 'spec'))
    known = {code.status for code in foreign.spec().exit_codes.values()}
    rows = [(code.status, name, code.message) for name, code in process.spec().exit_codes.items()]
    return sorted(row for row in rows if row[0] not in known)


def render() -> str:
    """Return the page."""
    parts = [HEAD]
    for group in ('aiida.workflows', 'aiida.calculations'):
        for entry in sorted(entry_points(group=group), key=lambda item: item.name):
            if not entry.name.startswith('pyacemaker.'):
                continue
            rows = own_exit_codes(entry.load())
            if rows:
                table = '\n'.join(f'| {status} | `{name}` | {message} |' for status, name, message in rows)
                parts.append(f'## {entry.name}\n\n| status | name | message |\n|---|---|---|\n{table}\n')
    return '\n'.join(parts)


if __name__ == '__main__':
    page = render()
    if '--check' in sys.argv:
        sys.exit(None if PAGE.read_text() == page else f'{PAGE} is out of date: .venv/bin/python scripts/exit_codes.py')
    PAGE.write_text(page)
