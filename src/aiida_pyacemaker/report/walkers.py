"""Walkers of a run, what halted them, and what the root did about it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .provenance import ProcessRow, children_of

HALTS = ('halted', 'danger')
ROUND = re.compile(r'round_(?P<round>\d+)_[a-z]+(_(?P<walker>walker_\d+))?')
ONLY = 'walker_1'  # a walker that is alone is not named in labels


def place_of(label: str) -> dict[str, Any]:
    """Return `round` and `walker` that a link label names; 0 and the first walker where it names none."""
    found = ROUND.match(label)
    return {'round': int(found['round']) if found else 0, 'walker': (found and found['walker']) or ONLY}


def collect_walkers(ends: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each walker, its stretches of MD, its halts, how the last one ended and where.

    ends: of the stretches in order: `walker`, `outcome`, `last_step`, `goal_step`.
    """
    walkers: dict[str, dict[str, Any]] = {}
    for end in ends:
        walker = walkers.setdefault(end['walker'], {'walker': end['walker'], 'stretches': 0, 'halts': 0})
        walker['stretches'] += 1
        walker['halts'] += end['outcome'] in HALTS
        walker.update(outcome=end['outcome'], step=end['last_step'], goal=end['goal_step'])
    return sorted(walkers.values(), key=lambda walker: (len(walker['walker']), walker['walker']))


def collect_halts(rows: Sequence[ProcessRow]) -> list[dict[str, Any]]:
    """Return what was to be learnt at each halt so far: round, walker, MD step, atom, γ (``None``: not finite)."""
    from aiida import orm

    halts = []
    for row in children_of(rows).get(rows[0].pk, []):
        if row.process_label == 'describe_halt' and row.is_ok:
            met = orm.load_node(row.pk).outputs.result.get_dict()
            halts.append({**place_of(row.label), **{name: met[name] for name in ('step', 'atom', 'gamma')}})
    return halts


def collect_notes(node: Any) -> list[dict[str, Any]]:
    """Return what the root did beside learning, by round: cutouts changed, halts not bought, swaps and their heat."""
    if 'summary' not in node.outputs:
        return []
    summary = node.outputs.summary.get_dict()
    notes = [{**row, 'what': f'event {row["event"]}: {row["step"]}'} for row in summary.get('escalations', [])]
    notes += [
        {**row, 'what': f'event {row["event"]}: nothing bought, its labels were pending or there'}
        for row in summary.get('passed_over', [])
    ]
    for row in summary.get('swaps', []):
        after, target = row.get('temperature_after_K'), row.get('temperature_target_K')
        heat = f': {after:.0f} K after it, target {target:.0f} K' if after and target else ''
        notes.append({**row, 'what': f'potential {"rejected" if row["rejected"] else "swapped"}{heat}'})
    return sorted(({name: note[name] for name in ('round', 'walker', 'what')} for note in notes), key=_order)


def _order(note: Mapping[str, Any]) -> tuple[int, str]:
    return note['round'], note['walker']
