"""Every number of ``demo-output/summary.json`` again, from the stored nodes alone and by other means; then compare.

    python examples/silicon/recompute.py                    # the run of ``make demo``
    python examples/silicon/recompute.py report-PK/summary.json   # a run of your own profile

The report walks the graph with queries; this walks it with ``called`` and ``outputs``. Exit status 1 on a difference.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-9
TOLERANCE_S = 0.06  # summary.json rounds seconds to 0.1


def core_force_rmse(potential: Any, dataset: Any) -> float:
    """Return the RMSE of the potential's forces in eV/Å over atoms with a DFT force of weight > 0."""
    import numpy as np

    from aiida_pyacemaker.science.student import load_student

    squares = []
    with tempfile.TemporaryDirectory() as folder:
        potential.write_to(folder)
        calculator = load_student(folder).calculator()
    for index in range(len(dataset)):
        frame = dataset[index]
        atoms = frame.atoms(0)
        atoms.calc = calculator
        difference = atoms.get_forces() - frame.forces
        chosen = (frame.force_weight > 0) & np.isfinite(difference).all(axis=1)
        squares += list(difference[chosen].ravel() ** 2)
    return float(np.mean(squares) ** 0.5)


def seconds(node: Any) -> float:
    """Return the time between the making and the last change of a process, in s."""
    return float((node.mtime - node.ctime).total_seconds())


def link_label(node: Any) -> str:
    """Return the name under which a process was called."""
    incoming = node.base.links.get_incoming().all()
    return str(next(link.link_label for link in incoming if link.link_type.value.startswith('call')))


PHASES = {
    'DistillationWorkChain': 'distillation',
    'ValidationWorkChain': 'validation',
    'ExplorationWorkChain': 'exploration',
    'CutoutWorkChain': 'cutout',
    'FinetuneWorkChain': 'finetuning',
}


def steps_of(root: Any) -> list[tuple[str, Any]]:
    """Return (phase, process) of each step of the root and of its rounds of learning, in the order they began."""
    callers = [root, *(node for node in root.called if node.process_label == 'LearningWorkChain')]
    links = [link for caller in callers for link in caller.base.links.get_outgoing().all()]
    steps = [
        ('held_out' if link.link_label.startswith('held_out') else PHASES[link.node.process_label], link.node)
        for link in links
        if link.link_type.value == 'call_work' and link.node.process_label in PHASES
    ]
    return sorted(steps, key=lambda step: step[1].pk)


def frames_from(processes: list[Any], process_label: str) -> int:
    """Return how many frames the programs of one kind put out."""
    return sum(len(node.outputs.dataset) for node in processes if node.process_label == process_label)


def recompute(root: Any) -> dict[str, Any]:
    """Return the numbers of the summary from the root node."""
    steps = steps_of(root)
    below = root.called_descendants
    walls: dict[str, float] = {}
    for phase, child in steps:
        walls[phase] = walls.get(phase, 0.0) + seconds(child)
    explored = [child for phase, child in steps if phase == 'exploration']
    walkers: dict[str, Any] = {}  # the last stretch of each
    for child in explored:
        walkers[link_label(child).partition('walker_')[2]] = child.outputs.summary
    first = next((child for phase, child in steps if phase in ('held_out', 'exploration')), None)
    outputs = root.outputs
    numbers = {
        'root_uuid': root.uuid,
        'state': root.process_state.value,
        'exit_status': root.exit_status,
        'wall_s': seconds(root),
        'phase_wall_s': walls,
        'n_frames': frames_from(below, 'SampleCalculation'),
        'n_teacher_labels': frames_from(below, 'LabelCalculation'),
        'n_dft_calls': sum(node.process_label == 'PwCalculation' for node in below),
        'n_halts': sum(node.outputs.outcome.value in ('halted', 'danger') for node in explored),
        'n_rounds': len({link_label(child)[:8] for child in explored}),
        'n_walkers': max(len(walkers), 1),
        'md_steps_done': sum(summary['last_step'] for summary in walkers.values()),
        'md_steps_goal': sum(summary['goal_step'] for summary in walkers.values()) or root.inputs.md['n_steps'],
        'core_force_rmse_before_eV_per_A': None,
        'core_force_rmse_after_eV_per_A': None,
    }
    if 'held_out_dataset' in outputs and first is not None:
        pair = {'before': first.inputs.potential, 'after': outputs.potential}
        for name, potential in pair.items():
            numbers[f'core_force_rmse_{name}_eV_per_A'] = core_force_rmse(potential, outputs.held_out_dataset)
    return numbers


def differs(written: Any, again: Any, tolerance: float) -> bool:
    """Return whether two numbers (or the same numbers by name) differ by more than the tolerance."""
    if isinstance(again, dict):
        return set(written) != set(again) or any(differs(written[key], again[key], tolerance) for key in again)
    if isinstance(again, float) and written is not None:
        return abs(written - again) > tolerance * max(1.0, abs(again) if tolerance < TOLERANCE_S else 1.0)
    return bool(written != again)


def main() -> int:
    """Print every number twice and say whether they agree."""
    given = sys.argv[1:]
    if not given:
        os.environ['AIIDA_PATH'] = str(ROOT / '.aiida')
    from aiida import load_profile, orm

    load_profile()
    summary = json.loads(Path(given[0] if given else ROOT / 'demo-output' / 'summary.json').read_text())
    numbers = recompute(orm.load_node(summary['root_uuid']))
    wrong = sorted(set(summary) ^ set(numbers))
    for name, again in numbers.items():
        bad = name in wrong or differs(summary[name], again, TOLERANCE_S if 'wall_s' in name else TOLERANCE)
        wrong += [name] if bad and name not in wrong else []
        print(f'{"DIFFERS" if bad else "same":8}{name}: {summary.get(name)} | {again}')
    print(f'{len(wrong)} of {len(numbers)} differ' if wrong else f'all {len(numbers)} numbers agree')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
