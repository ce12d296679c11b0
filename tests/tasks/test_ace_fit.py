"""The fit as a program: two generations, named failures, files that read back."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from aiida_pyacemaker.science.ace import evaluate
from aiida_pyacemaker.science.ace.blocks import FitBlock
from aiida_pyacemaker.science.ace.calibration import graded_errors
from aiida_pyacemaker.science.ace.quality import trained_grades
from aiida_pyacemaker.science.frames import HAS_ENERGY, Frames
from aiida_pyacemaker.science.student import check_canary, load_student, read_canary
from aiida_pyacemaker.tasks.main import run_task

sys.path.insert(0, str(Path(__file__).parents[1] / 'science' / 'ace'))
from fit_examples import labelled_frames

FIT = {'cutoff': 4.5, 'number_of_functions_per_element': 30}


def run(folder, monkeypatch, **inputs):
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    (folder / 'task.json').write_text(json.dumps({'elements': ['Al', 'Ni'], 'fit': FIT, **inputs}))
    result = run_task('ace_fit', folder / 'task.json')
    return json.loads(json.dumps(result, allow_nan=False))


def dimers():
    structures, energies = [], []
    for pair in (('Al', 'Al'), ('Al', 'Ni'), ('Ni', 'Ni')):
        for distance in np.linspace(1.2, 4.5, 30):
            structures.append(Atoms(pair, positions=[[0, 0, 0], [0, 0, distance]]))
            energies.append(2.0 * ((1 - np.exp(-1.9 * (distance - 2.3))) ** 2 - 1))
    return Frames.from_atoms(structures, energy=energies, label_mask=np.full(90, HAS_ENERGY))


@pytest.fixture(scope='module')
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp('fit')
    labelled_frames(12, 1).save(folder / 'pool.npz')
    labelled_frames(3, 5).save(folder / 'held_out.npz')
    dimers().save(folder / 'dimers.npz')
    with pytest.MonkeyPatch.context() as patch:
        result = run(folder, patch, datasets={'pool': 'pool.npz'}, held_out='held_out.npz', dimers='dimers.npz', seed=7)
    return folder, result


def test_first_generation_writes_a_student_and_its_metrics(first):
    folder, result = first
    assert result['status'] == 0, result
    assert {entry['form'] for entry in result['baseline'].values()} == {'LJ'}
    assert all(entry['repulsive'] for entry in result['short_range'].values())
    assert result['n_functions'] == [30, 30] and result['seed'] == 7
    # 12 frames of another baseline than the labels': the student makes up for the difference
    assert result['sources']['pool']['rmse_forces_eV_per_A'] < 0.2
    assert result['held_out']['rmse_forces_eV_per_A'] < 0.5
    assert result['sources']['pool']['gamma_quantiles']['max'] <= 1.02
    calibration = result['held_out']['gamma_calibration']
    assert sum(calibration['n_atoms']) + calibration['n_atoms_of_infinite_gamma'] == 24
    assert len(calibration['gamma_edges']) == len(calibration['force_error_bounds_eV_per_A']) + 1
    stages = [json.loads(line)['stage'] for line in (folder / 'progress.jsonl').read_text().splitlines()]
    assert stages[0] == 'rows of pool' and 'solve' in stages and stages[-1] == 'held out'


def test_metrics_are_those_of_the_written_student(first):
    folder, result = first
    student, frames = load_student(folder), Frames.load(folder / 'held_out.npz')
    errors = []
    for index, atoms in enumerate(frames.iter_atoms()):
        atoms.calc = student.calculator()
        errors.append((atoms.get_forces() - frames.forces[frames.span(index)]).ravel())
    found = float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))
    assert found == pytest.approx(result['held_out']['rmse_forces_eV_per_A'], rel=1e-9)
    assert (folder / 'potential.yace').is_file() and (folder / 'baseline.table').is_file()
    check_canary(student, read_canary(folder))


def test_second_generation_learns_a_cutout_on_a_frozen_basis(first, tmp_path, monkeypatch):
    folder, _ = first
    frames = labelled_frames(1, 33, amplitude=0.3, theory='dft')
    core = np.zeros(frames.n_atoms)
    core[:2] = 1.0
    frames.with_columns(force_weight=core, energy=np.full(1, 99.0)).save(tmp_path / 'cutout.npz')
    old = load_student(folder)
    result = run(
        tmp_path, monkeypatch, datasets={'cutout_1': 'cutout.npz'}, blocks={'pool': str(folder / 'block_pool.npz')},
        potential=str(folder), factors={'pool': 0.1}, baseline='ZBL',
    )
    assert result['status'] == 0, result
    assert not (tmp_path / 'block_pool.npz').exists()
    new = load_student(tmp_path)
    assert new.potential.digest == old.potential.digest and new.baseline == old.baseline
    assert new.potential.reference_energies == old.potential.reference_energies
    block = FitBlock.load(tmp_path / 'block_cutout_1.npz')
    assert block.n_rows == {'forces': 6} and block.theory == 'dft'
    assert result['sources']['cutout_1']['factor'] == 10.0 and result['sources']['pool']['factor'] == 0.1
    atoms = frames.atoms(0)
    errors = []
    for student in (old, new):
        forces = evaluate(student.potential, atoms).forces + student.baseline.evaluate(atoms)[1]
        errors.append(np.abs(forces - frames.forces)[:2].max())
    assert errors[1] < 0.2 * errors[0]
    gamma = evaluate(new.potential, atoms, active_set=new.active_set).gamma
    assert gamma[:2].max() <= 1.02  # a trained core atom is no extrapolation any more


def test_relabelled_source_can_be_forgotten(first, tmp_path, monkeypatch):
    folder, _ = first
    labelled_frames(6, 2).save(tmp_path / 'new.npz')
    result = run(
        tmp_path, monkeypatch, datasets={'new': 'new.npz'}, blocks={'pool': str(folder / 'block_pool.npz')},
        potential=str(folder), factors={'pool': 0.0}, fit={**FIT, 'complete_active_set': True},
    )
    assert list(result['sources']) == ['new']
    seen = result['active_set']['Al']
    assert seen['n_functions'] == 30 and seen['n_active'] < 30  # 6 frames hold fewer atoms of an element


def test_too_few_environments_are_an_error_unless_completion_is_asked_for(tmp_path, monkeypatch):
    labelled_frames(6, 2).save(tmp_path / 'new.npz')
    result = run(tmp_path, monkeypatch, datasets={'new': 'new.npz'})
    assert result['failure'] == 'TOO_FEW_ENVIRONMENTS'
    assert 'independent environments of Al with weight > 0 among the training atoms, expected 30' in result['message']
    assert not (tmp_path / 'potential.asi').exists()


def test_trained_atoms_above_the_call_threshold_are_reported(first, tmp_path, monkeypatch):
    """None of the atoms trained on is above the call threshold; every one is above a number near 0."""
    folder, result = first
    report = result['sources']['pool']['trained_atoms_above_call']
    assert report == {'threshold': 5.0, 'n_atoms': 0, 'n_trained_atoms': 96, 'worst': []}
    (tmp_path / 'pool.npz').write_bytes((folder / 'pool.npz').read_bytes())
    result = run(tmp_path, monkeypatch, datasets={'pool': 'pool.npz'}, thresholds={'threshold_call_dft': 4.0})
    assert result['sources']['pool']['trained_atoms_above_call']['threshold'] == 4.0
    student = load_student(tmp_path)
    report = trained_grades(Frames.load(folder / 'pool.npz'), student.potential, student.active_set).above(1e-6)
    assert report['n_atoms'] == report['n_trained_atoms'] == 96
    grades = [row['gamma'] for row in report['worst']]
    assert len(grades) == 10 and grades == sorted(grades, reverse=True)
    lines = [json.loads(line) for line in (tmp_path / 'progress.jsonl').read_text().splitlines()]
    assert [line['n_above_call'] for line in lines if line['stage'] == 'grades of pool'] == [0]


def test_new_labels_are_judged_before_they_are_learnt(first, tmp_path, monkeypatch):
    folder, _ = first
    frames = labelled_frames(4, 9)
    frames.save(tmp_path / 'dft.npz')
    rule = {'target_force_error': 1.0, 'coverage': 0.9}
    known = {'blocks': {'pool': str(folder / 'block_pool.npz')}, 'potential': str(folder)}
    result = run(tmp_path, monkeypatch, datasets={'dft': 'dft.npz'}, thresholds=rule, **known)
    assert result['status'] == 0, result
    found = result['sources']['dft']['before_learning']
    errors = graded_errors(frames, load_student(folder))  # of the potential that did not know them
    calm = errors.gamma <= 5.0
    assert found['n_atoms'] == len(errors.gamma) and found['n_at_or_below_call'] == calm.sum() > 0
    assert found['covered'] == pytest.approx(np.mean(errors.errors[calm] <= 1.0))
    assert (found['coverage_aimed_at'], found['target_force_error_eV_per_A']) == (0.9, 1.0)


@pytest.mark.parametrize(
    ('inputs', 'failure', 'message'),
    [
        ({}, 'NOTHING_LEFT', 'at least one source'),
        ({'datasets': {'pool': 'missing.npz'}}, 'UNREADABLE_FILE', 'missing.npz'),
        ({'datasets': {'pool': 'pool.npz'}, 'elements': ['Al']}, 'UNKNOWN_ELEMENT', 'Ni'),
        ({'blocks': {'pool': 'block_pool.npz'}}, 'INVALID_INPUT', 'give its folder'),
        ({'datasets': {'pool': 'pool.npz'}, 'held_out': 'missing.npz'}, 'UNREADABLE_FILE', 'missing.npz'),
        ({'datasets': {'pool': 'pool.npz'}, 'held_out': 'nan.npz'}, 'INVALID_INPUT', 'held_out: frame 0 announces'),
        ({'datasets': {'pool': 'pool.npz'}, 'elements': ['Al', 'Ni', 'Cu']}, 'TOO_FEW_ENVIRONMENTS', 'Cu'),
    ],
)
def test_failures_have_names(first, tmp_path, monkeypatch, inputs, failure, message):
    folder, _ = first
    for name in ('pool.npz', 'block_pool.npz'):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    pool = Frames.load(folder / 'pool.npz')
    pool.with_columns(forces=np.full_like(pool.forces, np.nan)).save(tmp_path / 'nan.npz')
    result = run(tmp_path, monkeypatch, **inputs)
    assert not (tmp_path / 'potential.yaml').exists()
    assert (result['failure'], message in result['message']) == (failure, True), result


def test_cross_validation_and_robust_weights_by_settings(tmp_path, monkeypatch):
    """A wrong force of 5 eV/Å in one frame: with robust weights it no longer spoils the forces of the others."""
    frames = labelled_frames(12, 1)
    forces = frames.forces.copy()
    forces[17] += 5.0
    frames.with_columns(forces=forces).save(tmp_path / 'pool.npz')
    labelled_frames(3, 5).save(tmp_path / 'held_out.npz')
    robust = {'robust_threshold': 3.0, 'ridge': 'cross-validation', 'n_folds': 3}
    results = {}
    for name, extra in (('plain', {}), ('robust', robust)):
        results[name] = run(
            tmp_path / name, monkeypatch, datasets={'pool': '../pool.npz'}, held_out='../held_out.npz',
            fit={**FIT, **extra}, baseline='ZBL',
        )
        assert results[name]['status'] == 0, results[name]
    errors = {name: result['held_out']['rmse_forces_eV_per_A'] for name, result in results.items()}
    assert errors['robust'] < 0.5 * errors['plain']
    assert len(FitBlock.load(tmp_path / 'robust' / 'block_pool.npz').folds) == 3


def test_flagged_labels_are_learnt_or_left_out(tmp_path, monkeypatch):
    """Of ten labels two are wrong and flagged: left out, the student is that of the other eight."""
    frames, wrong = labelled_frames(10, 1), (2, 7)
    forces, theory_id = frames.forces.copy(), np.zeros(10, dtype=int)
    for row in wrong:
        forces[frames.span(row)] += 3.0
        theory_id[row] = 1
    kind = frames.theories[0]
    flagged = frames.with_columns(forces=forces, theory_id=theory_id, theories=(kind, {**kind, 'flags': ['degauss']}))
    flagged.save(tmp_path / 'pool.npz')
    frames.select([row for row in range(10) if row not in wrong]).save(tmp_path / 'clean.npz')
    coefficients = {}
    for name, pool, policy in (('used', 'pool', 'use'), ('left', 'pool', 'leave_out'), ('clean', 'clean', 'use')):
        fit = {**FIT, 'flagged_labels': policy, 'ridge': 1e-8}
        chosen = {'datasets': {'pool': f'../{pool}.npz'}, 'fit': fit, 'baseline': 'ZBL'}
        result = run(tmp_path / name, monkeypatch, **chosen)
        assert result['status'] == 0, result
        assert result['sources']['pool']['n_frames_unweighted'] == (2 if name == 'left' else 0)
        coefficients[name] = load_student(tmp_path / name).potential.linear_coefficients
    scale = np.abs(coefficients['clean']).max()
    assert np.abs(coefficients['left'] - coefficients['clean']).max() < 1e-5 * scale
    assert np.abs(coefficients['used'] - coefficients['clean']).max() > 1e-2 * scale


def test_weights_of_old_blocks_cannot_be_changed(first, tmp_path, monkeypatch):
    folder, _ = first
    result = run(
        tmp_path, monkeypatch, blocks={'pool': str(folder / 'block_pool.npz')}, potential=str(folder),
        fit={**FIT, 'weight_forces': 7.0},
    )
    assert result['failure'] == 'INVALID_INPUT'
    assert 'forces=100.0' in result['message'] and 'forces=7.0' in result['message'] and 'frozen' in result['message']
