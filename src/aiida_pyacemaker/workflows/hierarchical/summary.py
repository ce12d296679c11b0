"""The loop in numbers, made from the reports of its rounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.engine import calcfunction

HALTS = ('halted', 'danger')
MAX_RECORDS = 200  # nodes that one process takes: more are summed up in several parts
NOTHING: dict[str, Any] = {'n_halts': 0, 'outcomes': [], 'n_dft_calls': 0, 'n_held_out': 0}


@calcfunction
def summarise_loop(notes: orm.Dict, earlier: orm.Dict | None = None, **records: orm.Dict) -> orm.Dict:
    """Return halts, SCFs and MD steps from the reports of the rounds (``round_NN_explore``, ``..._cutout``, ...).

    Each of several walkers has reports of its own, ``round_NN_explore_walker_2``. notes: what the root itself knows,
    kept as it is: `n_rounds`, `walkers`, `events`, `escalations`, `swaps`; earlier: the sums over other records.
    """
    explored = [records[name].get_dict() for name in sorted(records) if '_explore' in name]
    cut = {name: records[name].get_dict() for name in sorted(records) if '_cutout' in name}
    sums = NOTHING if earlier is None else {name: earlier[name] for name in NOTHING}
    walkers = list(notes['walkers'].values())
    return orm.Dict(
        {
            **notes.get_dict(),
            'n_halts': sums['n_halts'] + sum(record['outcome'] in HALTS for record in explored),
            'outcomes': [*sums['outcomes'], *(record['outcome'] for record in explored)],
            'md_steps_done': sum(walker['step'] for walker in walkers),
            'md_steps_goal': sum(walker['goal'] for walker in walkers),
            'n_dft_calls': sums['n_dft_calls'] + sum(report['n_scf'] for report in cut.values()),
            'n_held_out': sums['n_held_out'] + cut.get('held_out_cutout', {}).get('n_labelled', 0),
        }
    )


def in_parts(records: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the records in order, in parts of at most 200, at least one part."""
    names = sorted(records)
    starts = range(0, max(len(names), 1), MAX_RECORDS)
    return [{name: records[name] for name in names[start : start + MAX_RECORDS]} for start in starts]
