"""The cutout task as a program: files in, files out, named failures."""

import json

import numpy as np
import pytest
from ase.build import bulk

from aiida_pyacemaker.science.ace import build_potential
from aiida_pyacemaker.science.config import FitConfig
from aiida_pyacemaker.science.cutout.label_noise import noise_weight
from aiida_pyacemaker.science.frames import SHELL_CAP, SHELL_CORE, Frames
from aiida_pyacemaker.science.md.events import fingerprint, same_event
from aiida_pyacemaker.tasks.main import run_task

N_FRAMES = 6


@pytest.fixture
def folder(tmp_path, teacher_files, monkeypatch):
    """A ring of six hot frames, the last three with an atom above the call threshold."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(5)
    perfect = bulk('Si', 'diamond', a=5.43, cubic=True) * (2, 2, 2)
    structures = [perfect.copy() for _ in range(N_FRAMES)]
    for atoms in structures:
        atoms.positions += rng.normal(scale=0.08, size=(64, 3))
    gamma = rng.uniform(0.5, 1.5, size=(N_FRAMES, 64))
    gamma[3:, 12] = 6.0, 7.0, 8.0
    Frames.from_atoms(structures, gamma=gamma.ravel()).save('frames.npz')
    empty = build_potential(['Si'], FitConfig(number_of_functions_per_element=30, cutoff=4.0))
    (tmp_path / 'student').mkdir()
    empty.with_coefficients(rng.normal(size=sum(empty.n_functions))).write_yaml('student/potential.yaml')
    task = {
        'frames': 'frames.npz',
        'steps': [10 * k for k in range(N_FRAMES)],
        'potential': 'student',
        'models': [str(teacher_files[0])],
        'cutout': {'core_radius': 0.0, 'max_epicentres': 1, 'pre_relaxation_steps': 4},
        'seed': 1,
    }

    def run(**changes):
        (tmp_path / 'task.json').write_text(json.dumps({**task, **changes}))
        return run_task('cutout', tmp_path / 'task.json')

    return run


def test_halted_run_gives_matching_geometries(folder):
    result = folder()
    assert result['status'] == 0, result
    assert (result['learning_step'], result['n_accepted']) == (30, 1)
    epicentre = result['epicentres'][0]
    assert (epicentre['atom'], epicentre['gamma'], epicentre['step']) == (12, 6.0, 30)
    label, training, ring = Frames.load('label.npz'), Frames.load('training.npz'), Frames.load('frames.npz')
    assert same_event(epicentre['fingerprint'], fingerprint(ring.atoms(3), 12))
    assert label.parent_index[label.shell == SHELL_CORE].tolist() == [12]
    assert training.parent_index[training.shell == SHELL_CORE].tolist() == [12]
    weight = float(noise_weight(epicentre['label']['label_noise_eV_per_A']))
    assert 0.0 < weight < 1.0
    assert training.force_weight.sum() == pytest.approx(weight) and label.force_weight.sum() == pytest.approx(weight)
    assert np.array_equal(training.positions, ring.positions[ring.span(3)])
    assert np.isnan(label.gamma[label.shell == SHELL_CAP]).all() and label.gamma[label.shell == SHELL_CORE] == 6.0


def test_noise_can_be_left_out_of_the_weights(folder):
    plain = {'core_radius': 0.0, 'max_epicentres': 1, 'pre_relaxation_steps': 2, 'weigh_by_noise': False}
    assert folder(cutout=plain)['status'] == 0
    assert Frames.load('label.npz').force_weight.sum() == Frames.load('training.npz').force_weight.sum() == 1.0


def test_more_cutouts_than_a_frame_gives_come_from_frames_apart(folder):
    result = folder(n_epicentres=4)
    assert result['status'] == 0 and result['n_accepted'] == 4
    steps = [epicentre['step'] for epicentre in result['epicentres']]
    assert steps[0] == 30 and len(set(steps)) == 4 == len(Frames.load('label.npz'))


def test_an_element_the_teacher_does_not_know_is_named(folder):
    result = folder(cutout={'passivation_element': 'F'})
    assert result['failure'] == 'UNKNOWN_ELEMENT' and 'models: no F' in result['message']
    assert folder(potential='nowhere')['failure'] == 'UNREADABLE_FILE'


def test_rejections_are_told_and_nothing_left_fails(folder):
    result = folder(cutout={'core_radius': 4.0, 'max_label_atoms': 40, 'fallback': False})
    assert result['failure'] == 'NOTHING_LEFT'
    assert 'step 30 atom 12: covalent' in result['message'] and 'max_label_atoms' in result['message']


def test_what_is_rejected_is_tried_as_a_whole_frame_and_paid_once(folder):
    """Both epicentres of the frame are too large a cluster: one label of the whole frame serves both."""
    ring = Frames.load('frames.npz')
    gamma = ring.gamma.copy()
    far = int(np.argmax(ring.atoms(3).get_distances(12, range(64), mic=True)))
    gamma[ring.span(3)][far] = 5.5
    ring.with_columns(gamma=gamma).save('frames.npz')
    result = folder(cutout={'core_radius': 3.0, 'max_label_atoms': 20, 'max_epicentres': 2}, n_epicentres=2)
    assert result['status'] == 0, result
    assert (result['policies'], result['n_accepted']) == (['whole_frame'], 1)
    assert [row['atom'] for row in result['covered']] == [far]
    tried = result['epicentres'][0]['tried']
    assert [row['policy'] for row in tried] == ['covalent'] and 'max_label_atoms is 20' in tried[0]['reason']
    label, training = Frames.load('label.npz'), Frames.load('training.npz')
    assert (label.shell == SHELL_CORE).all() and (training.force_weight == 1.0).all()
    assert label.content_digest() == training.content_digest() == ring.select([3]).content_digest()


def test_an_atom_in_two_cores_counts_once(folder):
    """Second neighbours are both ignorant; their cores share the atom between them."""
    ring = Frames.load('frames.npz')
    gamma = ring.gamma.copy()
    second = int(np.argsort(ring.atoms(3).get_distances(12, range(64), mic=True))[7])
    gamma[ring.span(3)][second] = 5.5
    ring.with_columns(gamma=gamma).save('frames.npz')
    sizes = {'core_radius': 3.0, 'buffer_radius': 1.0, 'pre_relaxation_steps': 2, 'max_epicentres': 2}
    result = folder(cutout={**sizes, 'weigh_by_noise': False, 'whole_frame_cost_ratio': 0.0}, n_epicentres=2)
    assert result['status'] == 0 and [row['atom'] for row in result['epicentres']] == [12, second], result
    for name in ('label.npz', 'training.npz'):
        frames = Frames.load(name)
        core = frames.shell == SHELL_CORE
        counts = np.bincount(frames.parent_index[core])
        assert counts.max() == 2 and counts[[12, second]].tolist() == [1, 1]
        sums = np.bincount(frames.parent_index[core], weights=frames.force_weight[core])
        assert np.allclose(sums[counts > 0], 1.0) and np.all(frames.force_weight[~core] == 0.0)


@pytest.mark.parametrize('key', ['n_epicentres', 'min_steps_apart'])
def test_counts_below_one_are_refused_by_name(folder, key):
    result = folder(**{key: 0})
    assert result['failure'] == 'INVALID_INPUT' and key in result['message']


def test_steps_must_belong_to_frames(folder):
    result = folder(steps=[0, 1])
    assert result['failure'] == 'INVALID_INPUT' and '6 rows for 2 steps' in result['message']
