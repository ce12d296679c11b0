"""Phases 3 and 4 of one round on real programs, with a teacher that is sure of all: nothing is left for DFT."""

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from ase.build import bulk

from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.science.frames import SHELL_CORE, Frames
from aiida_pyacemaker.workflows.hierarchical import LearningWorkChain
from aiida_pyacemaker.workflows.hierarchical.learning import share_out, take_theory
from aiida_pyacemaker.workflows.trainers import read_blocks

STEPS = [0, 10]


def ring(seed):
    """Two hot frames; atom 5 is above the call threshold in the last."""
    rng = np.random.default_rng(seed)
    structures = [bulk('Si', 'diamond', a=5.43, cubic=True) for _ in STEPS]
    for atoms in structures:
        atoms.positions += rng.normal(scale=0.08, size=(8, 3))
    gamma = rng.uniform(0.5, 1.5, size=(2, 8))
    gamma[1, 5] = 6.0
    return AtomicDatasetData.from_frames(Frames.from_atoms(structures, gamma=gamma.ravel()))


@pytest.fixture
def builder(task_code, pw_code, pseudos, distilled):
    made = LearningWorkChain.get_builder()
    made.task_code, made.potential = task_code, distilled.outputs.potential
    made.teacher = distilled.inputs.teacher
    made.frames = {'walker_1': ring(1), 'walker_2': ring(2)}
    made.steps = {'walker_1': orm.List(STEPS), 'walker_2': orm.List(STEPS)}
    made.generation = orm.Int(3)
    cutout = {'core_radius': 0.0, 'max_label_atoms': 40, 'max_epicentres': 1, 'pre_relaxation_steps': 2}
    pw = {'code': pw_code, 'pseudos': pseudos}
    dft = {'pw': pw, 'dft': orm.Dict({'ecutwfc': 6.0}), 'max_calls': orm.Int(3)}
    made.cutout = {'cutout': orm.Dict(cutout), 'dft': dft}
    blocks, rows = read_blocks(distilled.outputs)
    made.finetune = {
        'fit': distilled.inputs.fit,
        'finetune': orm.Dict({'n_surrogate_frames': 3, 'max_epochs': 1}),
        'blocks': blocks,
        'rows': rows,
    }
    return made


def test_where_the_teacher_is_sure_the_student_learns_from_it_and_nothing_is_paid(builder, distilled):
    builder.cutout.oracle_threshold_eV_per_A = orm.Float(1e3)
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    assert set(outputs['reports']) == {'walker_1', 'walker_2'}
    assert all((report['n_scf'], report['n_teacher']) == (0, 1) for report in outputs['reports'].values())
    assert 'label_datasets' not in outputs  # nothing for the teacher to learn: it stays as it is
    assert outputs['teacher'].uuid == distilled.inputs.teacher.uuid
    assert set(outputs['training_datasets']) == {'halt_03_walker_1', 'halt_03_walker_2'}
    learnt = outputs['training_datasets']['halt_03_walker_1'].get_frames()
    assert np.isfinite(learnt.forces[learnt.shell == SHELL_CORE]).all() and learnt.theories[0]['kind'] == 'teacher'
    assert {name: block.theory for name, block in outputs['blocks'].items()} == dict.fromkeys(
        ('teacher_00', 'halt_03_walker_1', 'halt_03_walker_2', 'surrogate_03'), 'teacher'
    )
    factors = {name: row['factor'] for name, row in outputs['metrics']['sources'].items()}
    assert set(factors.values()) == {1.0}  # the teacher has not changed its mind
    assert not [child for child in node.called_descendants if child.process_label == 'PwCalculation']


def test_rows_are_told_apart_by_whose_labels_they_are(aiida_profile):
    frames = Frames.from_atoms(
        [bulk('Si')] * 3, theory_id=np.array([1, 0, 1]), theories=({'kind': 'dft'}, {'kind': 'teacher'})
    )
    taken = take_theory(AtomicDatasetData.from_frames(frames), orm.Str('teacher')).get_frames()
    assert taken.theory_id.tolist() == [0, 0] and taken.theories == ({'kind': 'teacher'},)


def test_scfs_are_shared_out(builder):
    assert list(share_out(7, 3)) == [3, 2, 2] and list(share_out(1, 2)) == [1, 0]
    builder.steps = {'walker_1': orm.List(STEPS)}
    with pytest.raises(ValueError, match='need both of each walker'):
        instantiate_process(get_manager().get_runner(), builder)
    builder.steps = {'walker_1': orm.List(STEPS), 'walker_2': orm.List(STEPS)}
    del builder.cutout['dft']['max_calls']
    with pytest.raises(ValueError, match=r'dft\.max_calls'):
        instantiate_process(get_manager().get_runner(), builder)
