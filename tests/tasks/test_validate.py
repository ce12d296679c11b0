"""Task ``validate``: a student fitted to the silicon teacher against it, and one that is broken."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from aiida_pyacemaker.science.ace import build_potential
from aiida_pyacemaker.science.ace.blocks import make_fit_block
from aiida_pyacemaker.science.ace.fit import fit_reference_energies, solve_blocks
from aiida_pyacemaker.science.ace.weights import RowWeights
from aiida_pyacemaker.science.baseline import fit_baseline
from aiida_pyacemaker.science.config import FitConfig, PoolConfig
from aiida_pyacemaker.science.frames import Frames
from aiida_pyacemaker.science.pools import join_samples, make_pool
from aiida_pyacemaker.science.student import load_student
from aiida_pyacemaker.science.teacher import label_frames, load_teacher, teacher_calculator
from aiida_pyacemaker.tasks.main import run_task

MODEL = Path(__file__).parents[2] / 'examples/silicon/teachers/silicon_0.model'
POOL = PoolConfig(n_strained=30, n_rattled=30, n_vacancy=0, n_md_frames=0, rattle_amplitudes=(0.03, 0.1), max_atoms=16)
CONFIG = FitConfig(number_of_functions_per_element=40)


@pytest.fixture(scope='module')
def student_folder(tmp_path_factory):
    """A potential as the fit leaves it: 40 functions on sixty small cells labelled by one teacher."""
    folder = tmp_path_factory.mktemp('student')
    teacher = load_teacher([MODEL])
    rng = np.random.default_rng(0)
    pool = join_samples(make_pool([bulk('Si', cubic=True)], POOL, calculator=teacher_calculator(teacher), rng=rng))
    frames = label_frames(teacher, pool.frames)
    baseline = fit_baseline(['Si'], 'ZBL')
    empty = build_potential(['Si'], CONFIG, bond_length=2.35)
    empty = empty.with_reference_energies(fit_reference_energies([frames], ['Si'], baseline))
    block = make_fit_block(frames, empty, name='pool', baseline=baseline, weights=RowWeights.from_config(CONFIG))
    fitted = solve_blocks([block], empty, factors={}, ridge=None)
    fitted.potential.write_yaml(folder / 'potential.yaml')
    fitted.active_set.write(folder / 'potential.asi')
    (folder / 'baseline.json').write_text(baseline.to_json())
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Frames.from_atoms([bulk('Si', 'sc', a=2.55), bulk('Si', cubic=True)]).save('structures.npz')

    def run_with(potential, **changes):
        validation = {'md_steps': 60, 'md_max_gamma': 10.0, 'tolerance_elastic': 0.5}
        task = {'potential': str(potential), 'models': [str(MODEL)], 'structures': 'structures.npz', 'seed': 2}
        Path('task.json').write_text(json.dumps({**task, 'validation': validation, **changes}))
        return run_task('validate', Path('task.json'))

    return run_with


def test_a_fitted_student_passes_and_a_second_run_reuses_every_piece(student_folder, run):
    result = run(student_folder)
    assert result['status'] == 0, result
    json.dumps(result, allow_nan=False)
    assert result['passed'], result['gates']
    assert result['phase'] == {**result['phase'], 'structure': 1, 'formula': 'Si8', 'cubic': True}
    arrays = dict(np.load('arrays.npz'))
    assert (
        arrays['eos_volume'].shape == arrays['eos_energy_student'].shape == arrays['eos_energy_teacher'].shape == (9,)
    )
    assert arrays['md_step'].tolist() == list(range(0, 61, 10))
    assert arrays['md_gamma_max'].max() == pytest.approx(result['md']['largest_gamma'])
    written = {path: path.stat().st_mtime_ns for path in Path('.').glob('piece_*.npz')}
    assert len(written) == 4 and run(student_folder) == result
    assert all(path.stat().st_mtime_ns == before for path, before in written.items())


def test_a_student_with_wrong_coefficients_fails_its_gates_with_numbers(student_folder, run, tmp_path):
    student = load_student(student_folder)
    broken = tmp_path / 'broken'
    broken.mkdir()
    for name in ('potential.asi', 'baseline.json'):
        (broken / name).write_bytes((student_folder / name).read_bytes())
    student.potential.with_coefficients(-student.potential.coefficients).write_yaml(broken / 'potential.yaml')
    result = run(broken)
    assert result['status'] == 0 and not result['passed']
    json.dumps(result, allow_nan=False)
    failed = {gate['name'] for gate in result['gates'] if not gate['passed']}
    assert {'lattice', 'bulk_modulus'} <= failed


def test_failures_have_names(student_folder, run, tmp_path):
    assert run(tmp_path / 'nowhere')['failure'] == 'UNREADABLE_FILE'
    Frames.from_atoms([bulk('Cu')]).save('copper.npz')
    result = run(student_folder, structures='copper.npz')
    assert result['failure'] == 'UNKNOWN_ELEMENT' and 'Cu' in result['message']
    bare = tmp_path / 'bare'
    bare.mkdir()
    (bare / 'potential.yaml').write_bytes((student_folder / 'potential.yaml').read_bytes())
    assert 'active set' in run(bare)['message']


def test_a_student_without_a_baseline_is_its_ace_alone(student_folder):
    student = load_student(student_folder)
    atoms = bulk('Si', cubic=True)
    atoms.rattle(0.1, seed=3)
    full, ace = student.calculator(), replace(student, baseline=None).calculator(with_gamma=False)
    pair = student.baseline.evaluate(atoms)[0].sum()
    assert full.get_potential_energy(atoms) == pytest.approx(ace.get_potential_energy(atoms) + pair, abs=1e-10)
    assert full.results['gamma'].shape == (8,) and 'gamma' not in ace.results
