"""One pass over the provenance of a run, from its root: plain dictionaries and lists that need no AiiDA afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .provenance import ProcessRow, call_tree, children_of, descendants
from .walkers import collect_halts, collect_notes, collect_walkers, place_of

ROOT = 'HierarchicalDistillationWorkChain'
PHASES = {
    'distillation': 'DistillationWorkChain',
    'validation': 'ValidationWorkChain',
    'exploration': 'ExplorationWorkChain',
    'cutout': 'CutoutWorkChain',
    'finetuning': 'FinetuneWorkChain',
}
LEARNING = 'LearningWorkChain'


def collect_run(root: int) -> dict[str, Any]:
    """Return everything the report shows of the run ``root``.

    Keys: ``run`` (identity, state, wall_s), ``phases`` (one row a step), ``counts``, ``walkers``, ``halts``, ``notes``
    (what the root did about them), ``gates``, ``segments`` (γ by MD step), ``uncertainty`` (arrays of
    :func:`..science.md.uncertainty_map.join_maps` over all runs, or None), ``learning`` (core force RMSE in eV/Å by DFT
    calls), ``parity`` (core forces in eV/Å), ``settings``.
    """
    from aiida import orm

    node = orm.load_node(root)
    if node.process_label != ROOT:
        raise ValueError(f'node {root} is a {node.process_label}, expected a {ROOT}: its caller may be one')
    rows = call_tree(root)
    phases = collect_phases(rows)
    generations = collect_generations(node, phases)
    held_out = node.outputs.held_out_dataset if 'held_out_dataset' in node.outputs else None
    learning, parity = evaluate_generations(generations, held_out)
    segments = collect_segments(rows, phases)
    walkers = collect_walkers([step | _outcome(step['pk']) for step in phases if step['phase'] == 'exploration'])
    return {
        'run': {
            'pk': node.pk,
            'uuid': node.uuid,
            'label': node.process_label,
            'state': rows[0].state,
            'exit_status': rows[0].exit_status,
            'exit_message': rows[0].exit_message or '',
            'began': rows[0].began.isoformat(timespec='seconds'),
            'wall_s': rows[0].wall_s,
        },
        'phases': phases,
        'counts': collect_counts(node, rows, phases, walkers),
        'walkers': walkers,
        'halts': collect_halts(rows),
        'notes': collect_notes(node),
        'gates': collect_gates(phases),
        'segments': segments,
        'uncertainty': collect_uncertainty(segments),
        'learning': learning,
        'parity': parity,
        'settings': collect_settings(node),
    }


def collect_phases(rows: Sequence[ProcessRow]) -> list[dict[str, Any]]:
    """Return one row for each step of the root, those of a round of learning one by one.

    Keys: label, phase, seconds, exit status, SCFs below it, `round` and `walker`.
    """
    names = {process: phase for phase, process in PHASES.items()}
    table = children_of(rows)
    called = []
    for row in table.get(rows[0].pk, []):
        if row.process_label == LEARNING:
            prefix = row.label.removesuffix('_learn')
            called += [(f'{prefix}_{child.label}', child) for child in table.get(row.pk, [])]
        else:
            called.append((row.label, row))
    steps = []
    for label, row in called:
        if row.process_label not in names:
            continue
        below = descendants(rows, row.pk)
        steps.append(
            {
                'pk': row.pk,
                'label': label,
                'phase': 'held_out' if label.startswith('held_out') else names[row.process_label],
                **place_of(label),
                'process': row.process_label,
                'wall_s': row.wall_s,
                'state': row.state,
                'exit_status': row.exit_status,
                'n_dft_calls': sum(item.process_label == 'PwCalculation' for item in below),
            }
        )
    return sorted(steps, key=lambda step: step['pk'])


def collect_counts(
    node: Any, rows: Sequence[ProcessRow], phases: Sequence[dict[str, Any]], walkers: Sequence[dict[str, Any]]
) -> dict[str, int]:
    """Return how many structures were made, labelled by the teacher, computed by DFT, and how far the MD came."""
    return {
        'n_frames': _produced_frames(rows, 'SampleCalculation'),
        'n_teacher_labels': _produced_frames(rows, 'LabelCalculation'),
        'n_dft_calls': sum(row.process_label == 'PwCalculation' for row in rows),
        'n_halts': sum(walker['halts'] for walker in walkers),
        'n_rounds': len({step['round'] for step in phases if step['phase'] == 'exploration'}),
        'n_walkers': max(len(walkers), 1),
        'md_steps_done': sum(walker['step'] for walker in walkers),
        'md_steps_goal': sum(walker['goal'] for walker in walkers) or int(node.inputs.md.get('n_steps', 0)),
    }


def _outcome(pk: int) -> dict[str, Any]:
    from aiida import orm

    outputs = orm.load_node(pk).outputs
    summary = outputs.summary.get_dict() if 'summary' in outputs else {}
    return {
        'outcome': outputs.outcome.value if 'outcome' in outputs else '',
        'last_step': int(summary.get('last_step', 0)),
        'goal_step': int(summary.get('goal_step', 0)),
    }


def _produced_frames(rows: Sequence[ProcessRow], process_label: str) -> int:
    """Return the number of frames in the ``dataset`` outputs of the programs of one kind."""
    from aiida import orm

    from ..data.dataset import AtomicDatasetData

    makers = [row.pk for row in rows if row.process_label == process_label]
    query = orm.QueryBuilder().append(orm.CalcJobNode, filters={'id': {'in': makers or [-1]}}, tag='maker')
    query.append(
        AtomicDatasetData, with_incoming='maker', edge_filters={'label': 'dataset'}, project='attributes.n_frames'
    )
    return sum(query.all(flat=True))


def collect_gates(phases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the gates of the last validation: name, value, limit, passed."""
    from aiida import orm

    for step in reversed([step for step in phases if step['phase'] == 'validation']):
        outputs = orm.load_node(step['pk']).outputs
        if 'report' in outputs:
            return list(outputs.report.get_dict().get('gates', []))
    return []


def collect_segments(rows: Sequence[ProcessRow], phases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return γ against step of every LAMMPS run of the exploration rounds, in order, with how it ended."""
    from aiida import orm

    segments = []
    for step in phases:
        if step['phase'] != 'exploration':
            continue
        runs = [row for row in descendants(rows, step['pk']) if row.process_label == 'LammpsCalculation']
        for row in runs:
            outputs = orm.load_node(row.pk).outputs
            if 'gamma' not in outputs:
                continue
            segments.append(
                {
                    'label': step['label'],
                    'walker': step['walker'],
                    'pk': row.pk,
                    'outcome': outputs.outcome.value if 'outcome' in outputs else row.state,
                    'step': outputs.gamma.get_array('step').tolist(),
                    'max_gamma': outputs.gamma.get_array('max_gamma').tolist(),
                }
            )
    return segments


def collect_uncertainty(segments: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the map of all runs of LAMMPS, ``None`` before the first with a graded frame."""
    from aiida import orm

    from ..science.md.uncertainty_map import join_maps

    outputs = [orm.load_node(segment['pk']).outputs for segment in segments]
    nodes = [found.uncertainty_map for found in outputs if 'uncertainty_map' in found]
    maps = [{name: node.get_array(name) for name in node.get_arraynames()} for node in nodes]
    first = maps[0]['number'].tolist() if maps else []
    same = [found for found in maps if found['number'].tolist() == first and len(found['step'])]
    return join_maps(same) if same else None


def collect_generations(node: Any, phases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the potentials in order: the first that MD ran with, then one a fine-tuning, with the SCFs paid so far."""
    from aiida import orm

    first = next((step for step in phases if step['phase'] in ('held_out', 'exploration')), None)
    if first is None:
        potential = node.outputs.potential if 'potential' in node.outputs else None
        return [] if potential is None else [{'label': 'distilled', 'n_dft_calls': 0, 'potential': potential}]
    generations = [
        {'label': 'distilled', 'n_dft_calls': 0, 'potential': orm.load_node(first['pk']).inputs.potential},
    ]
    paid = 0
    for step in phases:
        paid += step['n_dft_calls'] if step['phase'] == 'cutout' else 0
        if step['phase'] != 'finetuning':
            continue
        outputs = orm.load_node(step['pk']).outputs
        if 'potential' in outputs:
            generations.append({'label': step['label'], 'n_dft_calls': paid, 'potential': outputs.potential})
    return generations


def evaluate_generations(
    generations: Sequence[dict[str, Any]], held_out: Any
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return every generation's core force RMSE on kept-out frames, and the forces of the first and the last."""
    from .evaluate import core_force_errors

    if held_out is None or not generations:
        return [], {}
    frames = held_out.get_frames()
    results = [core_force_errors(item['potential'], frames) for item in generations]
    learning = [
        {'label': item['label'], 'n_dft_calls': item['n_dft_calls'], 'rmse_eV_per_A': result['rmse_eV_per_A']}
        for item, result in zip(generations, results, strict=True)
    ]
    parity = {
        'reference': results[0]['reference'],
        'before': results[0]['predicted'],
        'after': results[-1]['predicted'],
        'rmse_before_eV_per_A': results[0]['rmse_eV_per_A'],
        'rmse_after_eV_per_A': results[-1]['rmse_eV_per_A'],
    }
    return learning, parity


def collect_settings(node: Any) -> dict[str, Any]:
    """Return the settings of the root by port."""
    from aiida import orm

    settings = {}
    for name in node.inputs:
        value = node.inputs[name]
        if isinstance(value, orm.Dict):
            settings[name] = value.get_dict()
        elif isinstance(value, orm.List):
            settings[name] = value.get_list()
        elif isinstance(value, orm.Int | orm.Float | orm.Str):
            settings[name] = value.value
    return settings


def summarise(collected: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers of ``summary.json``."""
    walls: dict[str, float] = {}
    for step in collected['phases']:
        walls[step['phase']] = walls.get(step['phase'], 0.0) + step['wall_s']
    parity = collected['parity']
    run = collected['run']
    return {
        'root_uuid': run['uuid'],
        'state': run['state'],
        'exit_status': run['exit_status'],
        'wall_s': round(run['wall_s'], 1),
        'phase_wall_s': {phase: round(seconds, 1) for phase, seconds in walls.items()},
        **collected['counts'],
        'core_force_rmse_before_eV_per_A': parity.get('rmse_before_eV_per_A'),
        'core_force_rmse_after_eV_per_A': parity.get('rmse_after_eV_per_A'),
    }
