"""On real engines: an event that no lesson helps against is cut differently, then labelled whole, then given up."""

import numpy as np
import pytest
from aiida.engine import run_get_node
from ase.build import bulk

from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.science.frames import HAS_ENERGY, SHELL_CORE

# so near to interpolation that hot atoms are above whatever the student has learnt
STRICT = {'threshold_add_train': 1.001, 'threshold_call_dft': 1.01, 'threshold_danger': 1e9, 'smooth_steps': 1}
OVERRIDES = {
    'md': {
        'n_steps': 400, 'temperature_start_K': 1500.0, 'temperature_end_K': 1500.0, 'restart_every': 10,
        'dump_every': 10, 'soft_start_steps': 10, 'swap_temperature_limit': None,
    },
    'strategy': {'thresholds': STRICT, 'budget': {'max_rounds': 9, 'max_dft_calls': 20}},
    'cutout': {
        'max_epicentres': 1, 'buffer_radius': 1.0, 'max_label_atoms': 17, 'pre_relaxation_steps': 3,
        'whole_frame_cost_ratio': 0.0,
    },
    'dft': {'ecutwfc': 6.0, 'ecutrho': 24.0, 'conv_thr_per_atom': 1e-6, 'kpoints_distance': 1.0},
    'finetune': {'n_surrogate_frames': 3, 'max_epochs': 2},
}  # fmt: skip


@pytest.mark.dft
def test_a_potential_that_cannot_learn_an_event(make_builder_from, distilled):
    builder = make_builder_from(distilled, **OVERRIDES)
    builder.md_structure = AtomicDatasetData.from_atoms(bulk('Si', 'diamond', a=5.43, cubic=True) * 2)
    _, root = run_get_node(builder)
    assert (root.exit_status, 'Event 1' in root.exit_message, '5 times' in root.exit_message) == (603, True, True)
    summary = root.outputs.summary
    assert [row['step'] for row in summary['escalations']] == [
        'a bigger core', 'a label of the whole frame', 'the end of the run'
    ]  # fmt: skip
    cut = [node for node in root.called_descendants if node.process_label == 'CutoutWorkChain']
    cut.sort(key=lambda node: node.pk)
    labels, trained = ([node.outputs[f'{kind}_dataset'].get_frames() for node in cut] for kind in ('label', 'training'))
    assert [np.count_nonzero(frames.shell == SHELL_CORE) for frames in labels] == [1, 1, 5, 64]
    assert len(labels[2].numbers) > len(labels[1].numbers) == 17
    assert [bool(frames.label_mask[0] & HAS_ENERGY) for frames in trained] == [False, False, False, True]
    paid = [node for node in root.called_descendants if node.process_label == 'PwCalculation']
    assert summary['n_dft_calls'] == len(paid) == 4
    assert root.outputs.potential.uuid != distilled.outputs.potential.uuid, 'what was learnt is not lost'
