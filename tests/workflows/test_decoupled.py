"""Two walkers on real engines: one goes on with its MD while DFT labels what halted the other."""

import pytest
from aiida.engine import run_get_node

HOT, COLD = {'temperature_start_K': 2500.0, 'temperature_end_K': 2500.0}, {
    'temperature_start_K': 20.0, 'temperature_end_K': 20.0,
}  # fmt: skip
OVERRIDES = {
    'md': {
        'n_steps': 200,
        'restart_every': 20,
        'dump_every': 20,
        'soft_start_steps': 10,
        'swap_temperature_limit': None,
    },
    'strategy': {
        'decoupled': True,
        'stride_steps': 60,
        'walkers': [{'md': HOT}, {'md': COLD}],
        'thresholds': {
            'threshold_add_train': 1.2,
            'threshold_call_dft': 2.0,
            'threshold_danger': 1e6,
            'smooth_steps': 1,
        },
        'budget': {'max_rounds': 1, 'max_dft_calls': 2},
    },
    'cutout': {'max_epicentres': 1, 'pre_relaxation_steps': 3, 'whole_frame_cost_ratio': 0.0},
    'dft': {'ecutwfc': 6.0, 'ecutrho': 24.0, 'conv_thr_per_atom': 1e-6},
    'finetune': {'n_surrogate_frames': 3, 'max_epochs': 2},
}


def called(node, label):
    """Return the child of a process under a link label."""
    return next(link.node for link in node.base.links.get_outgoing().all() if link.link_label == label)


def has_child(node, label):
    """Return whether a process has a child under a link label."""
    return label in node.base.links.get_outgoing().all_link_labels()


def spans(root, process_label, below=None):
    """Return (began, ended) of every calculation of one kind below a process."""
    nodes = [node for node in (below or root).called_descendants if node.process_label == process_label]
    return [(node.ctime, node.mtime) for node in nodes]


@pytest.mark.dft
def test_md_of_one_walker_runs_while_labels_of_another_are_computed(make_builder_from, distilled):
    _, root = run_get_node(make_builder_from(distilled, **OVERRIDES))
    assert root.exit_status in (0, 602), (root.exit_status, root.exit_message)  # the hot one may halt again
    assert not has_child(root, 'distillation_1')
    halted = next(number for number in range(1, 5) if has_child(root, f'round_{number:02d}_learn'))
    names = [f'round_{number:02d}' for number in range(halted, halted + 3)]
    first, learn = called(root, f'{names[0]}_explore_walker_1'), called(root, f'{names[0]}_learn')
    beside, after = (called(root, f'{name}_explore_walker_2') for name in names[1:])
    assert first.outputs.outcome.value == 'halted' and learn.is_finished_ok, learn.exit_message
    (scf,) = spans(root, 'PwCalculation', learn)
    (md,) = spans(root, 'LammpsCalculation', beside)
    assert learn.ctime < md[1] < scf[1], 'MD of walker 2 was to end before the SCF that began with it'
    assert beside.inputs.potential.uuid == distilled.outputs.potential.uuid
    assert after.inputs.potential.uuid == learn.outputs.potential.uuid
    assert after.inputs.previous_potential.uuid == beside.inputs.potential.uuid
    assert beside.outputs.outcome.value == 'stride' and beside.outputs.summary['last_step'] == 60 * (halted + 1)
    nothing_twice(root)


def nothing_twice(root):
    """No link label has two children, and no SCF was paid for two times."""
    for node in [root, *root.called_descendants]:
        labels = [link.link_label for link in node.base.links.get_outgoing().all() if 'call' in link.link_type.value]
        named = [label for label in labels if label != 'CALL' and not label.startswith('iteration_')]
        assert len(named) == len(set(named)), node
    paid = [node for node in root.called_descendants if node.process_label == 'PwCalculation']
    assert len({node.base.caching.get_hash() for node in paid}) == len(paid)
    assert root.outputs.summary['n_dft_calls'] == len(paid)
