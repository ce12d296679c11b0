"""From a halted ring to DFT core forces on the untouched frame, with every program for real."""

import numpy as np
import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.engine import run_get_node
from aiida_pseudo.data.pseudo.upf import UpfData
from ase.build import bulk

from aiida_pyacemaker.data.ace_potential import AcePotentialData
from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.science.ace import build_potential
from aiida_pyacemaker.science.ace.weights import labelled_kinds
from aiida_pyacemaker.science.config import FitConfig
from aiida_pyacemaker.science.frames import HAS_ENERGY, HAS_FORCES, HAS_STRESS, SHELL_CORE, Frames
from aiida_pyacemaker.science.teacher.readouts import training_weights
from aiida_pyacemaker.workflows.cutout import CutoutWorkChain

STEPS = [0, 10, 20]


@pytest.fixture
def ring(aiida_profile):
    """Three hot frames; atom 12 is above the call threshold in the last two."""
    rng = np.random.default_rng(7)
    structures = [bulk('Si', 'diamond', a=5.43, cubic=True) * (2, 2, 2) for _ in STEPS]
    for atoms in structures:
        atoms.positions += rng.normal(scale=0.06, size=(64, 3))
    gamma = rng.uniform(0.5, 1.5, size=(3, 64))
    gamma[1:, 12] = 6.0, 7.0
    return AtomicDatasetData.from_frames(Frames.from_atoms(structures, gamma=gamma.ravel()))


@pytest.fixture
def builder(ring, task_code, pw_code, teacher, serial_options, tmp_path):
    empty = build_potential(['Si'], FitConfig(number_of_functions_per_element=30, cutoff=4.0))
    coefficients = np.random.default_rng(1).normal(size=sum(empty.n_functions))
    empty.with_coefficients(coefficients).write_yaml(tmp_path / 'potential.yaml')
    return CutoutWorkChain.get_builder_from_protocol(
        task_code,
        pw_code=pw_code,
        pseudos={element: UpfData(f'/usr/share/espresso/pseudo/{element}.pz-vbc.UPF') for element in ('Si', 'H')},
        protocol='fast',
        overrides={
            'cutout': {'max_epicentres': 1, 'max_label_atoms': 40, 'pre_relaxation_steps': 3},
            'dft': {'ecutwfc': 6.0, 'ecutrho': 24.0, 'conv_thr_per_atom': 1e-6},
        },
        options=serial_options,
        frames=ring,
        steps=orm.List(STEPS),
        potential=AcePotentialData.from_folder(tmp_path),
        teacher=teacher,
        n_epicentres=orm.Int(2),
    )


@pytest.mark.dft
def test_core_forces_of_dft_reach_the_untouched_frame(builder, ring):
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    label, training = outputs['label_dataset'].get_frames(), outputs['training_dataset'].get_frames()
    frames, report = ring.get_frames(), outputs['report'].get_dict()
    assert len(label) == len(training) == report['n_labelled'] == report['n_scf'] == 2
    steps = [epicentre['step'] for epicentre in report['epicentres']]
    assert steps == [10, 20] and all(epicentre['atom'] == 12 for epicentre in report['epicentres'])
    core = training.shell == SHELL_CORE
    assert core.sum() == 2 and np.array_equal(training.force_weight > 0, core)
    assert np.array_equal(training.force_weight[core], label.force_weight[label.shell == SHELL_CORE])
    assert np.array_equal(training.forces[core], label.forces[label.shell == SHELL_CORE])
    assert np.isnan(training.forces[~core]).all() and training.label_mask.tolist() == [HAS_FORCES] * 2
    assert np.array_equal(training.positions, frames.positions[64:])
    assert training.theories[0]['kind'] == 'dft' and training.theory_id.tolist() == [0, 0]
    check_graph(node, outputs)


@pytest.mark.dft
def test_a_whole_frame_teaches_energy_and_stress_too(builder):
    """Asked for as a policy: DFT sees the frame itself, both fits get energy, stress and the force on every atom."""
    rng = np.random.default_rng(3)
    structures = [bulk('Si', 'diamond', a=5.43, cubic=True) for _ in STEPS]
    for atoms in structures:
        atoms.positions += rng.normal(scale=0.06, size=(8, 3))
    gamma = np.full((3, 8), 1.0)
    gamma[1:, 2] = 6.0, 7.0
    builder.frames = AtomicDatasetData.from_frames(Frames.from_atoms(structures, gamma=gamma.ravel()))
    builder.cutout = orm.Dict({'policy': 'whole_frame', 'core_radius': 1.0})
    builder.n_epicentres = orm.Int(1)
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    label, training = outputs['label_dataset'].get_frames(), outputs['training_dataset'].get_frames()
    assert training.label_mask.tolist() == [HAS_ENERGY | HAS_FORCES | HAS_STRESS]
    assert training.energy[0] == label.energy[0] < 0 and np.array_equal(training.stress, label.stress)
    assert np.array_equal(training.forces, label.forces) and (training.force_weight == 1.0).all()
    assert labelled_kinds(training, 0) == ('energy', 'forces', 'stress')
    assert training_weights(label, 'core').tolist() == [1.0] * 8
    report = outputs['report'].get_dict()
    assert report['policies'] == ['whole_frame'] and report['epicentres'][0]['label']['n_core'] == 8


def check_graph(node, outputs):
    """Children have names, and every node that holds structures or labels has a maker below the root."""
    called = {
        link.link_label for link in node.base.links.get_outgoing(link_type=(LinkType.CALL_CALC, LinkType.CALL_WORK))
    }
    assert {'cutout', 'dft', 'transfer_labels', 'report'} <= called
    for name in ('label_dataset', 'training_dataset', 'report'):
        assert outputs[name].creator in node.called_descendants
    inputs = {link.node.uuid for link in node.base.links.get_incoming()}
    for calculation in node.called_descendants:
        for link in calculation.base.links.get_incoming(link_type=LinkType.INPUT_CALC):
            if isinstance(link.node, AtomicDatasetData | orm.StructureData | orm.TrajectoryData):
                assert link.node.creator is not None or link.node.uuid in inputs


def test_wrong_inputs_are_refused_before_anything_runs(builder):
    builder.steps = orm.List([1, 2])
    with pytest.raises(ValueError, match='steps: 2 for 3 frames'):
        run_get_node(builder)
    builder.steps = orm.List(STEPS)
    builder.cutout = orm.Dict({'passivation_element': 'F'})
    with pytest.raises(ValueError, match='no F'):
        run_get_node(builder)
