"""The loop in numbers, made from the reports of its rounds."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction


@calcfunction
def summarise_loop(**records: orm.Dict) -> orm.Dict:
    """Return halts, SCFs and MD steps from the reports of the rounds (``round_NN_explore``, ``..._cutout``, ...)."""
    explored = [records[name].get_dict() for name in sorted(records) if name.endswith('_explore')]
    cut = {name: records[name].get_dict() for name in sorted(records) if name.endswith('_cutout')}
    return orm.Dict(
        {
            'n_rounds': len(explored),
            'n_halts': sum(record['outcome'] in ('halted', 'danger') for record in explored),
            'outcomes': [record['outcome'] for record in explored],
            'md_steps_done': explored[-1]['last_step'] if explored else 0,
            'md_steps_goal': explored[-1]['goal_step'] if explored else 0,
            'n_dft_calls': sum(report['n_scf'] for report in cut.values()),
            'n_held_out': cut.get('held_out_cutout', {}).get('n_labelled', 0),
        }
    )
