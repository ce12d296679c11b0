"""Tasks ``sample`` and ``select`` with the real silicon teachers, a kill included."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from aiida_pyacemaker.science.frames import Frames
from aiida_pyacemaker.tasks import select
from aiida_pyacemaker.tasks.main import run_task

MODELS = [str(path) for path in sorted((Path(__file__).parents[2] / 'examples/silicon/teachers').glob('*.model'))]
POOL = {
    'n_strained': 4,
    'n_rattled': 4,
    'n_vacancy': 2,
    'n_md_frames': 4,
    'md_steps_between_frames': 3,
    'max_atoms': 8,
    'n_dimers': 9,
}
SAMPLE = {
    'mode': 'pool',
    'elements': ['Si'],
    'structures': 'structures.npz',
    'models': MODELS[:1],
    'pool': POOL,
    'seed': 4,
}


def run(name, folder, **task):
    (folder / 'task.json').write_text(json.dumps(task))
    return run_task(name, folder / 'task.json')


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Frames.from_atoms([bulk('Si', cubic=True)]).save('structures.npz')
    return tmp_path


@pytest.fixture(scope='module')
def pool(tmp_path_factory):
    """A small pool of silicon and its result, made once."""
    place = tmp_path_factory.mktemp('pool')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        Frames.from_atoms([bulk('Si', cubic=True)]).save('structures.npz')
        return place / 'frames.npz', run('sample', place, **SAMPLE)


def test_pool_counts_and_report(pool):
    path, result = pool
    assert result['status'] == 0, result
    assert result['counts'] == {'md': 4, 'prototype': 1, 'rattled': 4, 'strained': 4, 'vacancy': 2}
    assert result['n_dropped'] == sum(result['dropped'].values()) == 0
    assert len(Frames.load(path)) == 15
    lines = [json.loads(line) for line in (path.parent / 'progress.jsonl').read_text().splitlines()]
    assert [line['done'] for line in lines] == list(range(1, lines[0]['total'] + 1))


def test_a_killed_sampling_takes_up_its_pieces_and_ends_in_the_same_pool(pool, folder):
    (folder / 'task.json').write_text(json.dumps(SAMPLE))
    program = 'from aiida_pyacemaker.tasks.main import main; main()'
    process = subprocess.Popen([sys.executable, '-c', program, 'sample', 'task.json'], stderr=subprocess.DEVNULL)
    progress = folder / 'progress.jsonl'
    while process.poll() is None and not (progress.exists() and len(progress.read_text().splitlines()) >= 2):
        time.sleep(0.02)
    process.kill()
    process.wait()
    pieces = [path for path in folder.glob('piece_*.npz') if '.part' not in path.name]
    finished = {path: path.stat().st_mtime_ns for path in pieces}
    assert finished and not (folder / 'result.json').exists()
    assert run('sample', folder, **SAMPLE)['status'] == 0
    assert all(path.stat().st_mtime_ns == written for path, written in finished.items())
    found, whole = Frames.load('frames.npz'), Frames.load(pool[0])
    # not to the last bit: the libraries that this process has loaded before are others than those of a fresh one
    assert np.allclose(found.positions, whole.positions, rtol=0.0, atol=1e-9)
    assert np.array_equal(found.numbers, whole.numbers) and np.allclose(found.cells, whole.cells, rtol=0.0, atol=1e-9)


def test_elements_alone_are_enough_where_subsystems_are_asked_for(folder):
    none = dict.fromkeys(('n_strained', 'n_rattled', 'n_vacancy', 'n_md_frames'), 0)
    pool = {**POOL, **none, 'subsystems': 1, 'structure_types': ['diamond', 'sc']}
    task = {**SAMPLE, 'structures': None, 'pool': pool}
    result = run('sample', folder, **task)
    assert result['status'] == 0, result
    assert result['counts']['prototype'] + sum(result['dropped'].values()) == 2
    assert result['systems'] == {'Si': result['n_frames']}
    refused = run('sample', folder, **{**task, 'elements': ['Si', 'Ge']})
    assert refused['failure'] == 'UNKNOWN_ELEMENT' and 'Ge' in refused['message']


def test_surrogates_start_from_the_frames_given(folder):
    halted = bulk('Si', cubic=True)
    halted.rattle(0.1, seed=0)
    Frames.from_atoms([halted]).save('halted.npz')
    finetune = {'n_surrogate_frames': 6}
    task = {**SAMPLE, 'mode': 'surrogate', 'structures': 'halted.npz', 'finetune': finetune}
    result = run('sample', folder, **task)
    assert result['counts'] == {'surrogate_md': 2, 'surrogate_parent': 1, 'surrogate_rattled': 3}
    assert Frames.load('frames.npz').atoms(0) == halted


def test_dimers_need_no_teacher(folder):
    result = run('sample', folder, mode='dimers', elements=['Si', 'H'], pool=POOL)
    assert result['status'] == 0 and result['counts'] == {'dimer': 27}


@pytest.mark.parametrize(
    ('change', 'failure', 'word'),
    [
        ({'structures': None, 'pool': {'subsystems': 0}}, 'INVALID_INPUT', 'needs structures (or pool.subsystems'),
        ({'structures': 'missing.npz'}, 'UNREADABLE_FILE', 'missing.npz'),
        ({'elements': ['Ge']}, 'UNKNOWN_ELEMENT', 'unknown element Si, allowed: Ge'),
        ({'mode': 'anneal'}, 'INVALID_INPUT', 'anneal'),
        ({'pool': {'n_straned': 3}}, 'INVALID_INPUT', 'n_straned'),
        ({'pool': {**POOL, 'min_distance_fraction': 1.4}}, 'NOTHING_LEFT', 'no prototype is sane'),
    ],
)
def test_failures_have_names_and_say_what_was_found(folder, change, failure, word):
    result = run('sample', folder, **{**SAMPLE, **change})
    assert result['failure'] == failure and word in result['message']


def test_selection_is_exact_seeded_and_shares_no_group_with_the_held_out(pool, folder):
    how = {'method': 'direct', 'descriptors': 'teacher'}
    task = {'frames': str(pool[0]), 'models': MODELS[:1], 'count': 6, 'held_out_fraction': 0.3, 'seed': 1}
    task |= {'selection': how}
    result = run('select', folder, **task)
    assert result['status'] == 0, result
    selected, held_out = np.load('selected.npy'), np.load('held_out.npy')
    frames = Frames.load(pool[0])
    assert len(selected) == result['n_selected'] == 6 and result['n_held_out'] == len(held_out) >= 2
    assert not set(frames.group[selected]) & set(frames.group[held_out])
    assert 'prototype' in frames.config_type[selected]
    assert 0 < result['features']['coverage_radius'] < 2
    assert 0 < result['features']['entropy_pool'] < np.log(15)
    again = run('select', folder, **task)  # features come from their piece
    assert again == result and np.array_equal(np.load('selected.npy'), selected)


def test_copies_are_not_selected_twice(pool, folder):
    frames = Frames.load(pool[0])
    frames.select(np.r_[np.arange(15), np.arange(15)]).save('double.npz')
    result = run('select', folder, frames='double.npz', models=MODELS[:1], count=30, seed=1)
    assert result['n_duplicates'] == 15
    assert np.load('selected.npy').max() < 15


@pytest.mark.parametrize('selection', [{}, {'method': 'd_optimal'}, {'method': 'farthest'}])
def test_selection_in_the_basis_of_the_student_needs_no_teacher(pool, folder, selection):
    selection = {**selection, 'quota_floor': 1.0, 'duplicate_tolerance': 1e-3}
    fit = {'number_of_functions_per_element': 30, 'basis': {'embeddings': {'ALL': {'fs_parameters': [1, 0.5]}}}}
    task = {'frames': str(pool[0]), 'count': 6, 'selection': selection, 'fit': fit, 'seed': 1}
    result = run('select', folder, **task)
    assert result['status'] == 0, result
    assert result['n_selected'] == 6 and len(result['selected_by_stratum']) >= 4
    assert result['selected_by_stratum']['prototype Si'] == 1


def test_features_of_the_student_made_piece_by_piece_are_those_made_at_once(pool, folder, monkeypatch):
    fit = {'number_of_functions_per_element': 300}
    selection = {'method': 'farthest', 'descriptors': 'student'}
    task = {'frames': str(pool[0]), 'count': 6, 'selection': selection, 'fit': fit, 'seed': 1}
    whole = run('select', folder, **task)
    chosen = np.load('selected.npy')
    monkeypatch.setattr(select, 'FRAMES_AT_ONCE', 4)
    pieces = run('select', folder, **task)
    assert pieces['status'] == 0 and chosen.tolist() == np.load('selected.npy').tolist()
    for name, value in whole['features'].items():
        assert pieces['features'][name] == pytest.approx(value, rel=1e-9)


def test_features_without_a_model_are_refused(pool, folder):
    result = run('select', folder, frames=str(pool[0]), count=6, selection={'descriptors': 'teacher'})
    assert result['failure'] == 'INVALID_INPUT' and 'models: none' in result['message']
