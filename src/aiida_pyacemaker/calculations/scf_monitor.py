"""A monitor that ends a ``pw.x`` run whose SCF has stopped moving."""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path
from typing import Any

from aiida import orm

ENTRY_POINT = 'pyacemaker.scf_stuck'
MESSAGE_PREFIX = 'SCF without progress'
PROGRESS = re.compile(r'iteration #|total cpu time spent|estimated scf accuracy|^!|convergence has been achieved', re.M)
EXTRA = 'scf_progress'


def monitor_scf(node: orm.CalcJobNode, transport: Any, stuck_after_s: float = 14400.0) -> str | None:
    """Return why the run should end, or ``None``: no new SCF line in its output for ``stuck_after_s`` seconds.

    What was seen last, and when, is kept in an extra of the node, so that a new worker goes on counting. A job that
    has not begun to write waits in a queue: its time does not count.
    """
    seen = _count_progress(node, transport)
    if seen is None:
        return None
    now = time.time()
    last = node.base.extras.get(EXTRA, None)
    if last is None or last['lines'] != seen:
        node.base.extras.set(EXTRA, {'lines': seen, 'time': now})
        return None
    waited = now - last['time']
    return f'{MESSAGE_PREFIX} for {waited:.0f} s, allowed: {stuck_after_s:.0f} s' if waited > stuck_after_s else None


def _count_progress(node: orm.CalcJobNode, transport: Any) -> int | None:
    """Return how many SCF lines the output has, ``None`` when there is no output yet."""
    name = node.base.attributes.get('output_filename', None)
    folder = node.get_remote_workdir()
    if not name or not folder:
        return None
    with tempfile.TemporaryDirectory() as local:
        path = Path(local) / 'stdout'
        try:
            transport.getfile(str(Path(folder) / name), str(path))
        except OSError:
            return None
        return len(PROGRESS.findall(path.read_text(errors='replace')))
