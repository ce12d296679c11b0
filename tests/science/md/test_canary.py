"""A program that does not know the potential does not start MD; nor does one whose inputs are wrong."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from stand_in import FIXTURES, copper, run_segment

from aiida_pyacemaker.science.ace import AcePotential, ActiveSet
from aiida_pyacemaker.science.baseline import PairBaseline, fit_baseline
from aiida_pyacemaker.science.config import MdConfig
from aiida_pyacemaker.science.md import check_baseline, check_box, check_wall_limit, judge_canary, read_log
from aiida_pyacemaker.science.md.script import write_canary
from aiida_pyacemaker.science.md.student import load_student
from aiida_pyacemaker.science.student import grade_canary
from aiida_pyacemaker.science.student import load_student as load_folder


def canary_of(atoms):
    return grade_canary(load_folder(FIXTURES / 'md'), atoms)


def rattled(**changes):
    atoms = copper()
    atoms.rattle(0.1, seed=1)
    for name, value in changes.items():
        setattr(atoms, name, value)
    return atoms


@pytest.mark.parametrize(
    'frame', [rattled(), Atoms('Cu3', [[0, 0, 0], [2.4, 0, 0], [0.3, 2.5, 0.2]])], ids=['crystal', 'cluster']
)
def test_a_program_that_knows_the_potential_goes_on(tmp_path, frame):
    canary = canary_of(frame)
    write_canary(tmp_path / 'canary.data', canary, ['Cu'])
    status, log = run_segment(tmp_path, load_student, canary=canary, md={'n_steps': 20, 'ensemble': 'nvt'})
    assert (status, log.ending, log.last_step) == (0, 'completed', 20), log.error
    for found, expected in log.canary.values():
        assert found == pytest.approx(expected, rel=1e-9)
    assert log.thermo['Step'].tolist() == [0, 10, 20]
    without = tmp_path / 'without'
    run_segment(without, load_student, md={'n_steps': 20, 'ensemble': 'nvt'})
    assert (without / 'last.dump').read_bytes() == (tmp_path / 'last.dump').read_bytes()


@pytest.mark.parametrize('which', ['all', 'those that the largest is not of'])
def test_an_active_set_of_another_fit_is_stopped(tmp_path, which):
    """MD does not start, and the exit status is 1, also when the largest γ is right and only the sum tells."""
    atoms = rattled()
    canary = canary_of(atoms)
    write_canary(tmp_path / 'canary.data', canary, ['Cu'])
    run_segment(tmp_path, load_student, canary=canary, md={'n_steps': 10})
    for name in ('last.dump', 'final.restart'):
        (tmp_path / name).unlink()
    inverse = ActiveSet.read(tmp_path / 'potential.asi').inverses['Cu']
    projections = AcePotential.read(tmp_path / 'potential.yaml').b_projections(atoms)[int(canary.gamma.argmax())]
    changed = inverse * 0.999
    if which != 'all':
        column = np.abs(projections @ inverse).argmax()
        changed[:, column] = inverse[:, column]
    with (tmp_path / 'potential.asi').open('wb') as handle:
        np.savez(handle, Cu=changed)
    program = Path(sys.executable).parent / 'pyacemaker-lmp'
    command = [program, '-in', 'in.lmp', '-log', 'log.lammps', '-screen', 'none']
    done = subprocess.run(command, cwd=tmp_path, check=False, timeout=120)
    assert done.returncode == 1
    found = read_log((tmp_path / 'log.lammps').read_text()).canary
    fault, _ = judge_canary(found, lambda: 0.0)
    assert fault.startswith('max_gamma' if which == 'all' else 'sum_gamma')
    assert not (tmp_path / 'last.dump').exists()


@pytest.mark.parametrize(
    ('changes', 'fault', 'knows'),
    [
        ({}, None, True),
        ({'energy': (-10.0, -12.0)}, None, False),
        ({'energy': (-11.0, -12.0)}, 'energy -11 eV, expected -12 eV', True),
        ({'max_gamma': (0.0, 1.0)}, 'max_gamma 0, expected 1', True),
        ({'sum_gamma': (20.1, 20.0)}, 'sum_gamma 20.1, expected 20', True),
        ({'sum_gamma': (float('nan'), 20.0)}, 'sum_gamma nan, expected 20', True),
    ],
)
def test_what_a_program_may_have_wrong(changes, fault, knows):
    canary = {'max_gamma': (1.0, 1.0), 'sum_gamma': (20.0, 20.0 + 1e-6), 'energy': (-12.0, -12.0), **changes}
    assert judge_canary(canary, lambda: -2.0) == (fault, knows)


def test_a_wall_limit_below_one_restart_interval_is_refused():
    md, job = MdConfig(restart_every=1000), {'n_atoms': 100_000, 'n_functions': 300}
    message = check_wall_limit(md, 120.0, n_processors=1, **job)
    assert 'md.restart_every = 1000' in message and 'at least 300 s' in message
    assert check_wall_limit(md, 120.0, n_processors=4, **job) is None
    assert check_wall_limit(md, 120.0, n_processors=1, accelerated=True, **job) is None


def test_a_barostat_needs_a_periodic_box():
    assert 'pbc = [True, True, False]' in check_box(MdConfig(ensemble='npt'), (True, True, False))
    assert check_box(MdConfig(ensemble='npt'), (True, True, True)) is None
    assert check_box(MdConfig(ensemble='nvt'), (False, False, False)) is None


def test_a_baseline_that_clashes_is_refused():
    baseline = fit_baseline(['Cu'], 'ZBL')
    potential = AcePotential.read(FIXTURES / 'md' / 'potential.yaml')
    assert check_baseline(potential, baseline, has_table=True) is None
    assert 'without baseline.table' in check_baseline(potential, baseline, has_table=False)
    nickel = PairBaseline(kind='ZBL', pairs=fit_baseline(['Ni'], 'ZBL').pairs)
    assert 'no term for Cu-Cu' in check_baseline(potential, nickel, has_table=True)
    repulsive = AcePotential.read(FIXTURES / 'ace' / 'Cu_fitted.yaml')
    assert 'Cu-Cu has a core repulsion of its own' in check_baseline(repulsive, baseline, has_table=True)
