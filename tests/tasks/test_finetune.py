"""The fine-tuning task: models out, errors before and after, named failures."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from aiida_pyacemaker.science.frames import HAS_FORCES, Frames
from aiida_pyacemaker.science.teacher import label_frames, load_teacher
from aiida_pyacemaker.tasks.main import run_task

MODELS = [str(path) for path in sorted((Path(__file__).parents[2] / 'examples/silicon/teachers').glob('*.model'))]


@pytest.fixture
def stiffer(tmp_path, monkeypatch) -> Frames:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(4)
    cells = [bulk('Si', a=5.46, cubic=True) for _ in range(3)]
    for atoms in cells:
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
    frames = Frames.from_atoms(cells)
    labelled = label_frames(load_teacher(MODELS), frames)
    frames = frames.with_columns(forces=1.1 * labelled.forces, label_mask=np.full(3, HAS_FORCES))
    frames.select([0, 1]).save('first.npz')
    frames.select([2]).save('second.npz')
    return frames


def run(**change):
    inputs = {
        'models': MODELS,
        'datasets': ['first.npz', 'second.npz'],
        'finetune': {'max_epochs': 4, 'learning_rate': 5e-3, 'anchor_weight': 0.1},
        'seed': 1,
    }
    Path('task.json').write_text(json.dumps(inputs | change))
    return run_task('finetune', Path('task.json'))


def test_every_member_learns(stiffer):
    result = run()
    assert result['status'] == 0 and result['n_frames'] == 3
    assert all(after < before for before, after in zip(result['rmse_before'], result['rmse_after'], strict=True))
    trained = load_teacher([f'model_{index}.model' for index in range(3)])
    assert trained.digest == result['digest_after'] != result['digest_before']
    error = [np.sqrt(np.mean((label_frames(load_teacher(paths), stiffer).forces - stiffer.forces) ** 2))
             for paths in (MODELS, [f'model_{index}.model' for index in range(3)])]
    assert error[1] < error[0]
    assert {'mace-torch', 'e3nn', 'torch'} <= result['versions'].keys()
    json.dumps(result, allow_nan=False)


def test_failures_have_names(stiffer):
    Path('cut.model').write_bytes(b'PK')
    assert run(models=['cut.model'])['failure'] == 'UNREADABLE_FILE'
    assert run(datasets=['none.npz'])['failure'] == 'UNREADABLE_FILE'
    assert run(datasets=[])['failure'] == 'INVALID_INPUT'
    assert run(finetune={'epochs': 3})['failure'] == 'INVALID_INPUT'
    stiffer.with_columns(numbers=np.full(stiffer.n_atoms, 26)).save('first.npz')
    assert run(datasets=['first.npz'])['failure'] == 'UNKNOWN_ELEMENT'
    stiffer.with_columns(forces=np.full((stiffer.n_atoms, 3), np.nan)).save('first.npz')
    failed = run(datasets=['first.npz'])
    assert failed['failure'] == 'INVALID_INPUT' and 'not finite' in failed['message']


@pytest.mark.parametrize('forces_on', ['core', 'all'])
def test_flagged_labels_are_learnt_or_left_out(stiffer, forces_on):
    """The third label is wrong and flagged: left out, the teacher is that of the other two."""
    wrong = stiffer.select([2]).with_columns(
        forces=5 * stiffer.select([2]).forces,
        theory_id=np.zeros(1),
        theories=({'kind': 'dft', 'flags': ['degauss 0.015 -> 0.035']},),
    )
    wrong.save('second.npz')
    settings = {'max_epochs': 1, 'learning_rate': 5e-3, 'forces_on': forces_on}
    alone = run(models=MODELS[:1], finetune=settings, datasets=['first.npz'])['digest_after']
    digests = {
        policy: run(models=MODELS[:1], finetune={**settings, 'flagged_labels': policy})['digest_after']
        for policy in ('leave_out', 'use')
    }
    assert digests['leave_out'] == alone != digests['use']
