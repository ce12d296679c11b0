"""A run as a tree of human labels: finished branches in one line, running ones with a bar."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.text import Text
from rich.tree import Tree

from ..report.provenance import ProcessRow, children_of

BAR_WIDTH = 24
BLOCKS = '▁▂▃▄▅▆▇█'
TAIL_BYTES = 4096
SHOWN_FINISHED = 4


def read_progress(folder: str | None) -> dict[str, Any] | None:
    """Return the last step a running task wrote to ``progress.jsonl``, when this machine can read it."""
    lines = _last_lines(folder, 'progress.jsonl')
    for line in reversed(lines):
        try:
            step = json.loads(line)
        except json.JSONDecodeError:  # a line being written
            continue
        if isinstance(step, dict) and {'stage', 'done', 'total'} <= step.keys():
            return step
    return None


def read_lammps_step(folder: str | None) -> int | None:
    """Return the step in the last complete thermo row of ``log.lammps``."""
    for line in reversed(_last_lines(folder, 'log.lammps')[:-1]):
        if re.fullmatch(r'\s*\d+(\s+[-+.\deEnaif]+)+\s*', line):
            return int(line.split()[0])
    return None


def _last_lines(folder: str | None, name: str) -> list[str]:
    try:
        with (Path(folder or '/nonexistent') / name).open('rb') as handle:
            handle.seek(0, 2)
            handle.seek(max(0, handle.tell() - TAIL_BYTES))
            return handle.read().decode(errors='replace').split('\n')
    except OSError:
        return []


def bar(done: float, total: float) -> str:
    """Return a bar of 24 cells and the percentage."""
    fraction = min(max(done / total, 0.0), 1.0) if total > 0 else 0.0
    full = round(fraction * BAR_WIDTH)
    return f'{"━" * full}{"╌" * (BAR_WIDTH - full)} {100 * fraction:3.0f} %'


def curve_words(curve: Mapping[str, Any]) -> str:
    """Return the loss of a running fit as a line of blocks (logarithmic), its last value and the iterations."""
    logs = [math.log10(loss) for loss in curve['losses'] if loss]
    low, high = min(logs, default=0.0), max(logs, default=0.0)
    heights = [round((len(BLOCKS) - 1) * (value - low) / (high - low)) if high > low else 0 for value in logs]
    line = ''.join(BLOCKS[height] for height in heights)
    last = 'not finite' if curve['loss'] is None else f'{curve["loss"]:.2e}'
    return f'loss {line} {last} ({curve["iterations"]}/{curve["maxiter"]} iterations)'


def clock(seconds: float) -> str:
    """Return ``45 s`` or ``3:07 min``."""
    whole = int(seconds)
    return f'{whole} s' if whole < 60 else f'{whole // 60}:{whole % 60:02d} min'


def describe(row: ProcessRow, goals: Mapping[int, int]) -> Text:
    """Return one line: mark, label, state, time, and the bar of a running program."""
    name = row.label if row.label not in ('CALL', '') else row.process_label
    if row.is_over:
        mark, colour = ('✓', 'green') if row.is_ok else ('✗', 'red')
        tail = clock(row.wall_s) if row.is_ok else f'{row.state} [{row.exit_status}] {row.exit_message or ""}'
        return Text.assemble((f'{mark} ', colour), f'{name} ', (f'#{row.pk} {tail}', 'dim' if row.is_ok else colour))
    spent = clock((datetime.now(timezone.utc) - row.began).total_seconds())
    text = Text.assemble(('▸ ', 'cyan'), f'{name} ', (f'#{row.pk} {row.state} {spent}', 'cyan'))
    if row.is_calcjob:
        text.append(progress_words(row, goals.get(row.pk)), 'bold')
    return text


def progress_words(row: ProcessRow, goal: int | None) -> str:
    """Return stage and bar of a running program, or nothing when it does not tell."""
    if row.curve:
        return f'  {curve_words(row.curve)}'
    step = read_progress(row.folder)
    if step:
        return f'  {step["stage"]} {bar(step["done"], step["total"])} ({step["done"]}/{step["total"]})'
    md_step = read_lammps_step(row.folder)
    if md_step is None:
        return ''
    return f'  MD {bar(md_step, goal)} ({md_step}/{goal})' if goal else f'  MD step {md_step}'


def build_tree(rows: Sequence[ProcessRow], goals: Mapping[int, int]) -> Tree:
    """Return the tree of a run; a branch that ended well is one line, of many such siblings only the last are shown.

    goals: the MD goal step of LAMMPS runs, by PK.
    """
    below = children_of(rows)
    root = rows[0]
    tree = Tree(describe(root, goals), guide_style='dim')
    todo = [(root, tree)]
    while todo:
        row, branch = todo.pop()
        if row is not root and row.is_ok:
            continue
        children = [child for child in below.get(row.pk, []) if child.is_calcjob or 'workchain' in child.node_type]
        ended = [child for child in children if child.is_ok]
        hidden = {child.pk for child in ended[:-SHOWN_FINISHED]} if row is not root else set()
        if hidden:
            branch.add(Text(f'✓ {len(hidden)} more', 'dim'))
        for child in children:
            if child.pk not in hidden:
                todo.append((child, branch.add(describe(child, goals))))
    return tree


def md_goals(rows: Sequence[ProcessRow]) -> dict[int, int]:
    """Return the goal step of the running LAMMPS calculations."""
    from aiida import orm

    running = [row.pk for row in rows if row.is_calcjob and not row.is_over and row.process_label.startswith('Lammps')]
    if not running:
        return {}
    query = orm.QueryBuilder().append(orm.Dict, project='attributes.n_steps', tag='md')
    chosen = {'id': {'in': running}}
    query.append(orm.CalcJobNode, filters=chosen, with_incoming='md', edge_filters={'label': 'md'}, project='id')
    return {pk: goal for goal, pk in query.all() if goal}


def tree_of(root: int) -> tuple[Tree, bool]:
    """Return the tree of the run ``root`` as it is now, and whether it is over."""
    from ..report.provenance import call_tree

    rows = call_tree(root)
    return build_tree(rows, md_goals(rows)), rows[0].is_over
