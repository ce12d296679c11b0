"""``aiida-pyacemaker potential`` as a person uses it, on files and on a node."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from click.testing import CliRunner

from aiida_pyacemaker.cli import main
from aiida_pyacemaker.cli.potential.evaluate import evaluated
from aiida_pyacemaker.science.ace import AceCalculator, AcePotential, ActiveSet, evaluate
from aiida_pyacemaker.science.baseline import fit_baseline
from aiida_pyacemaker.science.student import Student, load_student, write_canary

FIXTURES = Path(__file__).parents[1] / 'fixtures' / 'ace'
POTENTIAL, ASI = FIXTURES / 'Cu_SBessel_lin.yaml', FIXTURES / 'Cu_SBessel_lin.asi'


def run(*arguments, code=0):
    result = CliRunner().invoke(main, ['potential', *map(str, arguments)], env={'COLUMNS': '200'})
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def as_json(*arguments, code=0):
    return json.loads(run(*arguments, '--json', code=code))


def copper(count, seed=0, *, shift=0.0):
    """Rattled copper, labelled by the potential itself (energies raised by ``shift`` eV an atom)."""
    calculator, frames = AceCalculator(AcePotential.read(POTENTIAL)), []
    for index in range(count):
        atoms = bulk('Cu', a=3.6, cubic=True)
        atoms.rattle(0.1, seed=seed + index)
        atoms.calc = calculator
        labels = {'energy': atoms.get_potential_energy() + shift * len(atoms), 'forces': atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **labels, stress=atoms.get_stress())
        frames.append(atoms)
    return frames


@pytest.fixture
def student_folder(tmp_path):
    """A folder as a fit leaves it: potential, active set, baseline and canary."""
    folder = tmp_path / 'student'
    folder.mkdir()
    shutil.copy(POTENTIAL, folder / 'potential.yaml')
    shutil.copy(ASI, folder / 'potential.asi')
    baseline = fit_baseline(['Cu'], 'ZBL')
    (folder / 'baseline.json').write_text(baseline.to_json())
    potential = AcePotential.read(POTENTIAL)
    active_set = ActiveSet.read(ASI)
    write_canary(folder, Student(potential=potential, active_set=active_set, baseline=baseline), copper(1)[0])
    return folder


def test_info_says_what_the_file_and_the_folder_hold(student_folder):
    bare = as_json('info', POTENTIAL)
    assert (bare['functions'], bare['linear'], bare['active set'], bare['baseline']) == (53, True, False, 'none')
    assert bare['elements'][0]['by body order'] == '2:6 3:18 4:26 5:3'
    assert bare['bonds'][0]['bond'] == 'Cu-Cu' and bare['bonds'][0]['cut-off (Å)'] == 5.0
    assert bare['short_range'][0]['repulsive'] is False
    whole = as_json('info', student_folder)
    assert whole['active set'] and whole['baseline'].startswith('ZBL, ends at')
    assert whole['elements'][0]['condition of active set'] > 1.0
    table = run('info', student_folder)
    assert 'Cu-Cu' in table and 'digest of the basis' in table


def test_laws_exit_with_one_when_one_is_broken():
    skipped = [word for law in ('smooth cut-off', 'rotation', 'stress') for word in ('--skip', law)]
    findings = as_json('laws', POTENTIAL, *skipped, code=1)
    assert not findings['repulsive wall']['holds'] and findings['forces']['holds']
    run('laws', POTENTIAL, *skipped, '--skip', 'repulsive wall')
    assert 'no law is called gravity' in run('laws', POTENTIAL, '--skip', 'gravity', code=1)


def test_evaluate_writes_results_and_compares_with_labels(tmp_path):
    write(tmp_path / 'frames.xyz', copper(3, shift=0.25))
    out = tmp_path / 'out.xyz'
    report = as_json('evaluate', POTENTIAL, tmp_path / 'frames.xyz', '--asi', ASI, '-o', out)
    assert (report['n_frames'], report['n_atoms']) == (3, 12)
    assert report['errors']['energy (eV/atom)']['rms'] == pytest.approx(0.25, abs=1e-9)
    assert report['errors']['forces (eV/Å)']['largest'] < 1e-6  # the file holds eight digits
    written = read(out, index=':')
    potential, active_set = AcePotential.read(POTENTIAL), ActiveSet.read(ASI)
    for atoms in written:
        found = evaluate(potential, atoms, active_set=active_set)
        assert atoms.get_potential_energy() == pytest.approx(found.energies.sum(), abs=1e-6)
        assert atoms.arrays['gamma'] == pytest.approx(found.gamma, rel=1e-5)
    assert report['largest_gamma'] == pytest.approx(max(a.arrays['gamma'].max() for a in written), rel=1e-5)
    assert 'against the labels' in run('evaluate', POTENTIAL, tmp_path / 'frames.xyz')
    assert 'among the structures' in run('evaluate', POTENTIAL, out, '-o', out, code=2)


def test_structures_are_read_one_at_a_time():
    read_so_far = []

    def frames():
        for number in range(100):
            read_so_far.append(number)
            yield copper(1)[0]

    student = Student(potential=AcePotential.read(POTENTIAL))
    next(evaluated(student, frames()))
    assert read_so_far == [0]


def test_convert_goes_both_ways_and_compare_finds_no_difference(tmp_path):
    yace, yaml = tmp_path / 'a.yace', tmp_path / 'b.yaml'
    assert as_json('convert', POTENTIAL, '-o', yace)['energy_eV'] < 1e-12
    assert as_json('convert', yace, '-o', yaml)['energy_eV'] < 1e-12
    same = as_json('compare', POTENTIAL, yaml)
    assert same['differences']['forces (eV/Å)']['largest'] < 1e-10
    other = as_json('compare', POTENTIAL, FIXTURES / 'Cu_ChebExpCos_lin.yaml')
    assert not other['same basis'] and other['differences']['forces (eV/Å)']['rms'] > 1e-3
    assert "suffix '.txt'" in run('convert', POTENTIAL, '-o', tmp_path / 'a.txt', code=2)


def test_active_set_counts_atoms_with_weight_only(tmp_path):
    frames = copper(30)
    write(tmp_path / 'frames.xyz', frames)
    out = tmp_path / 'new.asi'
    report = as_json('active-set', POTENTIAL, tmp_path / 'frames.xyz', '-o', out)
    assert report['coverage']['Cu'] == {'n_functions': 53, 'n_active': 53, 'n_unpopulated': 0}
    assert report['trained']['n_atoms'] == 120 and report['trained']['largest_gamma'] <= 1.01 + 1e-6
    assert ActiveSet.read(out).inverses['Cu'].shape == (53, 53)
    for atoms in frames:
        atoms.set_array('force_weight', np.array([1.0, 0.0, 0.0, 0.0]))
    write(tmp_path / 'cores.xyz', frames)
    message = run('active-set', POTENTIAL, tmp_path / 'cores.xyz', '-o', out, code=1)
    assert '30 independent environments of Cu' in message and 'expected 53' in message
    completed = as_json('active-set', POTENTIAL, tmp_path / 'cores.xyz', '-o', out, '--complete')
    assert completed['coverage']['Cu']['n_active'] == 30 and completed['trained']['n_atoms'] == 30


def test_plot_draws_curves_grades_and_calibration(student_folder, tmp_path):
    rng = np.random.default_rng(0)
    for name in ('first', 'second'):
        frames = copper(30, seed=len(name))
        for atoms in frames:
            atoms.calc.results['forces'] = atoms.calc.results['forces'] + rng.normal(scale=0.02, size=(4, 3))
        write(tmp_path / f'{name}.xyz', frames)
    figures = tmp_path / 'figures'
    output = run('plot', student_folder, tmp_path / 'first.xyz', tmp_path / 'second.xyz', '-o', figures)
    names = {'pairs', 'trimers', 'decohesion', 'gamma', 'calibration', 'coverage'}
    assert {path.stem for path in figures.iterdir()} == names
    assert all(path.stat().st_size > 5000 for path in figures.iterdir())
    assert '95 % of the labelled forces are within 0.1 eV/Å up to γ = ' in output
    assert 'has no active set' in run('plot', POTENTIAL, tmp_path / 'first.xyz', '-o', figures, code=1)


def other_set(path):
    """Write an active set of the right shape that belongs to another potential."""
    shuffled = ActiveSet.read(ASI).inverses['Cu'][::-1]
    ActiveSet(inverses={'Cu': shuffled}).write(path)


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda folder: other_set(folder / 'potential.asi'), 'are not of one fit'),
        (lambda folder: (folder / 'potential.asi').write_bytes(ASI.read_bytes()[:3000]), 'not an active set'),
        (
            lambda folder: ActiveSet(inverses={'Cu': np.eye(7)}).write(folder / 'potential.asi'),
            'built for another potential',
        ),
        (
            lambda folder: (folder / 'potential.yaml').write_bytes(POTENTIAL.read_bytes()[:3000]),
            'potential.yaml',
        ),
        (lambda folder: (folder / 'potential.yaml').unlink(), 'holds no potential.yaml'),
        (lambda folder: (folder / 'canary.json').write_text('{"numbers": [29]'), 'is not a canary'),
        (lambda folder: (folder / 'baseline.json').write_text('{}'), 'is not a baseline'),
    ],
)
def test_files_that_are_damaged_or_of_another_fit_are_refused(student_folder, spoil, message):
    assert load_student(student_folder).active_set is not None
    spoil(student_folder)
    output = run('info', student_folder, code=1)
    assert message in output and 'Traceback' not in output


def test_structures_that_cannot_be_evaluated_are_named(tmp_path):
    frames = [*copper(1), Atoms('CuAu', positions=[[0, 0, 0], [0, 0, 2.5]])]
    write(tmp_path / 'gold.xyz', frames)
    assert 'structure 1 (AuCu): element Au is unknown' in run('evaluate', POTENTIAL, tmp_path / 'gold.xyz', code=1)
    text = (tmp_path / 'gold.xyz').read_text().splitlines()
    (tmp_path / 'cut.xyz').write_text('\n'.join(text[:-1]))
    assert 'cut.xyz cannot be read after' in run('evaluate', POTENTIAL, tmp_path / 'cut.xyz', code=1)
    (tmp_path / 'empty.xyz').write_text('')
    assert 'empty.xyz' in run('evaluate', POTENTIAL, tmp_path / 'empty.xyz', code=1)
    lost = copper(1)
    lost[0].positions[0, 0] = np.nan
    write(tmp_path / 'nan.xyz', lost)
    report = as_json('evaluate', POTENTIAL, tmp_path / 'nan.xyz', '--asi', ASI)
    assert report['largest_gamma'] is None and report['above_danger'] == 4
    message = run('active-set', POTENTIAL, tmp_path / 'nan.xyz', '-o', tmp_path / 'n.asi', '--complete', code=1)
    assert 'structure 0' in message and 'NaN or inf' in message


@pytest.mark.usefixtures('aiida_profile_clean')
def test_a_node_is_as_good_as_its_folder(student_folder):
    from aiida_pyacemaker.data.ace_potential import AcePotentialData

    node = AcePotentialData.from_folder(student_folder).store()
    assert as_json('info', node.pk) == as_json('info', node.uuid) == as_json('info', student_folder)
    assert 'no file or folder, and no node' in run('info', node.pk + 1000, code=1)


def test_files_need_no_profile(tmp_path):
    """A fresh interpreter with an empty AiiDA folder."""
    program = Path(sys.executable).parent / 'aiida-pyacemaker'
    done = subprocess.run(
        [program, 'potential', 'info', POTENTIAL, '--json'],
        env={'AIIDA_PATH': str(tmp_path), 'PATH': '/usr/bin:/bin', 'HOME': str(tmp_path)},
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)['functions'] == 53
