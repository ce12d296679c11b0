"""The label task: all frames, in order, resumable, and a filter that counts what it rejects."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from aiida_pyacemaker.science.frames import Frames
from aiida_pyacemaker.science.teacher import label_frames, load_teacher
from aiida_pyacemaker.science.teacher.doubt import frame_rms
from aiida_pyacemaker.tasks import label
from aiida_pyacemaker.tasks.base import Progress, TaskFailure
from aiida_pyacemaker.tasks.label import LabelTask
from aiida_pyacemaker.tasks.main import run_task

MODELS = [str(path) for path in sorted((Path(__file__).parents[2] / 'examples/silicon/teachers').glob('*.model'))]


@pytest.fixture
def pool(tmp_path, monkeypatch) -> Frames:
    """24 cells, ever more rattled, one of them broken; the task runs in an empty folder beside them."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(8)
    cells = []
    for amplitude in np.linspace(0.01, 0.5, 24):
        atoms = bulk('Si', a=5.46, cubic=True)
        atoms.positions += rng.normal(0, amplitude, atoms.positions.shape)
        cells.append(atoms)
    cells[5].positions[2] = np.nan
    frames = Frames.from_atoms(cells)
    frames.save('frames.npz')
    return frames


def run(**inputs):
    return LabelTask(frames='frames.npz', models=MODELS, **inputs).run(Progress())


def test_all_frames_are_labelled_in_order(pool):
    result = run()
    labels, kept = Frames.load('labels.npz'), np.load('kept.npy')
    expected = label_frames(load_teacher(MODELS), pool)
    np.testing.assert_allclose(labels.energy, expected.energy, atol=1e-9)
    np.testing.assert_array_equal(labels.offsets, pool.offsets)
    assert (result['n_frames'], result['n_labelled'], result['n_kept']) == (24, 23, 23)
    assert result['rejected'] == {'non_finite': 1, 'max_force': 0, 'uncertainty': 0, 'distance': 0}
    assert kept.tolist() == [row for row in range(24) if row != 5]
    json.dumps(result, allow_nan=False)


def test_the_filter_rejects_by_the_rms_over_the_atoms(pool):
    everything = run()
    labels = Frames.load('labels.npz')
    spread = frame_rms(labels, labels.uncertainty)
    assert spread[0] == pytest.approx(np.sqrt(np.mean(labels.uncertainty[:8] ** 2)))
    threshold = float(np.nanmedian(spread))
    result = run(uncertainty_threshold=threshold, max_force=8.0)
    kept = np.load('kept.npy')
    longest = np.linalg.norm(labels.forces, axis=1).reshape(24, 8).max(axis=1)
    assert kept.tolist() == [row for row in range(24) if row != 5 and spread[row] <= threshold and longest[row] <= 8.0]
    assert result['rejected']['max_force'] == np.sum(longest > 8.0)
    assert sum(result['rejected'].values()) + result['n_kept'] == 24
    assert len(Frames.load('labels.npz')) == everything['n_frames']


def test_chosen_rows_come_in_the_order_asked(pool):
    np.save('rows.npy', np.array([7, 3, 11]))
    run(indices='rows.npy')
    np.testing.assert_array_equal(Frames.load('labels.npz').positions, pool.select([7, 3, 11]).positions)
    np.save('rows.npy', np.array([24]))
    with pytest.raises(TaskFailure, match='integers from 0 to 23'):
        run(indices='rows.npy')


def test_a_killed_task_goes_on_where_it_was(pool, monkeypatch):
    monkeypatch.setattr(label, 'PIECE_ATOMS', 40)
    run()
    whole = Path('labels.npz').read_bytes()
    pieces = sorted(Path('pieces').rglob('*.npz'))
    assert len(pieces) == 5
    times = {path: path.stat().st_mtime_ns for path in pieces[:3]}
    for path in pieces[3:]:
        path.unlink()
    (pieces[0].parent / 'part.npz').write_bytes(b'half written')
    Path('labels.npz').unlink()
    run()
    assert Path('labels.npz').read_bytes() == whole
    assert {path: path.stat().st_mtime_ns for path in pieces[:3]} == times


def test_other_inputs_do_not_take_over_finished_pieces(pool):
    run()
    pool.with_columns(positions=pool.positions + 0.0, numbers=np.full(pool.n_atoms, 1)).save('frames.npz')
    run()
    assert (Frames.load('labels.npz').numbers == 1).all()
    assert len(list(Path('pieces').iterdir())) == 2


def test_one_model_is_not_filtered_and_says_so(pool):
    result = LabelTask(frames='frames.npz', models=MODELS[:1], uncertainty_threshold=1e-9).run(Progress())
    assert result['n_kept'] == 23 and result['uncertainty_filter'] is False


@pytest.mark.parametrize(
    ('change', 'failure'),
    [
        ({'uncertainty_threshold': 1e-9}, 'NOTHING_LEFT'),
        ({'models': ['cut.model']}, 'UNREADABLE_FILE'),
        ({'frames': 'cut.model'}, 'UNREADABLE_FILE'),
        ({'frames': 'iron.npz'}, 'UNKNOWN_ELEMENT'),
        ({'models': []}, 'INVALID_INPUT'),
        ({'batch': 3}, 'INVALID_INPUT'),
    ],
)
def test_failures_have_names(pool, change, failure):
    Path('cut.model').write_bytes(Path(MODELS[0]).read_bytes()[:1000])
    Frames.from_atoms([bulk('Fe')]).save('iron.npz')
    Path('task.json').write_text(json.dumps({'frames': 'frames.npz', 'models': MODELS, **change}))
    assert run_task('label', Path('task.json'))['failure'] == failure
