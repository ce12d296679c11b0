"""A run of segments is one trajectory: splices lose no bit, replays repeat every bit, ramps go on."""

import filecmp
import shutil

import numpy as np
import pytest
from ase import Atoms
from stand_in import LennardJones, Table, copper, run_segment

from aiida_pyacemaker.science.config import ActiveLearningThresholds, MdConfig
from aiida_pyacemaker.science.md import (
    Plan,
    Segment,
    read_checks,
    read_dump,
    read_restart_step,
    read_segment,
    write_script,
    write_structure,
)
from aiida_pyacemaker.science.md.student import load_student


def record_of(folder, log, md=None, rule=None, **options):
    md = MdConfig(**{'n_steps': 100, 'dump_every': 10, 'timestep_ps': 0.002, **(md or {})})
    rule = ActiveLearningThresholds(**(rule or {}))
    checks = read_checks((folder / 'gamma.log').read_text())
    return read_segment(folder, log, checks, Plan(md=md, thresholds=rule, elements=['Cu'], **options)), checks


def resume(folder, old, load=load_student, *, restart='final.restart', **options):
    folder.mkdir()
    shutil.copy(old / restart, folder / 'start.restart')
    return run_segment(folder, load, **options)


@pytest.mark.parametrize('ensemble', ['nve', 'nvt', 'npt', 'langevin'])
def test_a_segment_begins_on_the_last_bits_of_the_one_before(tmp_path, ensemble):
    md = {'ensemble': ensemble, 'temperature_start_K': 500, 'temperature_end_K': 900}
    run_segment(tmp_path / 'a', load_student, md={**md, 'n_steps': 45})
    status, log = resume(tmp_path / 'b', tmp_path / 'a', md=md)
    assert status == 0, log.error
    last, first = read_dump(tmp_path / 'a' / 'last.dump')[0], read_dump(tmp_path / 'b' / 'first.dump')[0]
    assert last.step == first.step == 45
    assert np.array_equal(last.cell, first.cell)
    for name in ('id', 'type', 'x', 'y', 'z', 'vx', 'vy', 'vz'):
        assert np.array_equal(last.columns[name], first.columns[name])


def tilted():
    atoms = copper()
    strain = np.array([[1.0, 0.0, 0.0], [0.1, 1.02, 0.0], [-0.07, 0.12, 0.98]])
    atoms.set_cell(atoms.cell[:] @ strain, scale_atoms=True)
    return atoms


@pytest.mark.parametrize('cell', ['orthogonal', 'triclinic'])
@pytest.mark.parametrize(
    ('ensemble', 'soft_start'),
    [('nve', False), ('nvt', False), ('npt', False), ('langevin', False), ('langevin', True)],
)
def test_a_replayed_segment_gives_the_same_bits_on_any_number_of_threads(
    tmp_path, monkeypatch, ensemble, soft_start, cell
):
    barostat = {'barostat': 'tri' if cell == 'triclinic' else 'aniso', 'pressure_end_GPa': 2.0}
    md = {'ensemble': ensemble, 'soft_start_steps': 20, 'temperature_start_K': 900, 'restart_every': 20, **barostat}
    atoms = tilted() if cell == 'triclinic' else copper()
    run_segment(tmp_path / 'a', load_student, md={**md, 'n_steps': 30}, atoms=atoms)
    for name, threads in (('b', 1), ('c', 1), ('d', 2)):
        monkeypatch.setenv('OMP_NUM_THREADS', str(threads))
        status, log = resume(tmp_path / name, tmp_path / 'a', md=md, soft_start=soft_start)
        assert status == 0, log.error
    for name in ('last.dump', 'gamma.log', 'ring.100.dump', 'final.restart', 'restart.a', 'restart.b'):
        for other in ('c', 'd'):
            assert filecmp.cmp(tmp_path / 'b' / name, tmp_path / other / name, shallow=False), (other, name)
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    status, _ = resume(tmp_path / 'e', tmp_path / 'a', md=md, soft_start=soft_start, seed=2)
    same = filecmp.cmp(tmp_path / 'b' / 'last.dump', tmp_path / 'e' / 'last.dump', shallow=False)
    assert status == 0
    assert same == (ensemble != 'langevin')  # only random forces draw from the seed of a resumed run
    first, last = (read_dump(tmp_path / 'b' / f'{end}.dump')[0] for end in ('first', 'last'))
    assert np.array_equal(first.cell, last.cell) == (ensemble != 'npt')


def test_a_resumed_nose_hoover_run_is_the_uninterrupted_one(tmp_path):
    """The thermostat's state is in the restart file, and the temperature ramp is that of the whole run."""
    md = {'ensemble': 'nvt', 'temperature_start_K': 300, 'temperature_end_K': 900}
    _, whole = run_segment(tmp_path / 'whole', load_student, md=md)
    run_segment(tmp_path / 'a', load_student, md={**md, 'n_steps': 50, 'temperature_end_K': 600})
    _, log = resume(tmp_path / 'b', tmp_path / 'a', md=md)
    assert log.thermo['Step'].tolist() == [50, 60, 70, 80, 90, 100]
    # the end of a segment sums forces in another order: equal to round-off, which 50 steps enlarge
    for name in ('Temp', 'PotEng', 'TotEng'):
        assert log.thermo[name] == pytest.approx(whole.thermo[name][5:], rel=1e-9)


@pytest.mark.parametrize('ensemble', ['nvt', 'npt'])
def test_strides_are_the_bits_of_a_run_with_the_same_boundary_and_ramps_are_over_the_goal(tmp_path, ensemble):
    """One run to the goal leaves a restart file at step 50; a stride ends there. Both are gone on from."""
    md = {'ensemble': ensemble, 'temperature_start_K': 300, 'temperature_end_K': 900, 'restart_every': 50}
    run_segment(tmp_path / 'whole', load_student, md=md)
    _, log = run_segment(tmp_path / 'stride', load_student, md=md, until_step=50)
    record, _ = record_of(tmp_path / 'stride', log, md, until_step=50)
    assert (record.outcome, record.summary['last_step'], record.summary['goal_step']) == ('stride', 50, 100)
    assert record.summary['learning_row'] is None
    resume(tmp_path / 'a', tmp_path / 'whole', md=md, restart='restart.a')
    _, log = resume(tmp_path / 'b', tmp_path / 'stride', md=md, until_step=200)
    for name in ('last.dump', 'gamma.log', 'ring.80.dump'):
        assert filecmp.cmp(tmp_path / 'a' / name, tmp_path / 'b' / name, shallow=False), name
    record, _ = record_of(tmp_path / 'b', log, md, until_step=200)
    assert (record.outcome, record.summary['last_step']) == ('goal', 100)


def test_frames_are_in_time_order_with_the_grades_of_their_step(tmp_path):
    md = {'n_steps': 95, 'dump_every': 40, 'ring_size': 3, 'restart_every': 30}
    _, log = run_segment(tmp_path, load_student, md=md)
    record, checks = record_of(tmp_path, log, md)
    assert record.outcome == 'goal'
    assert record.summary['frame_steps'] == [0, 40, 70, 80, 90, 95]
    graded = record.frames.gamma.reshape(6, -1)
    assert np.isnan(graded[-1]).all()
    rows = np.searchsorted(checks['step'], [0, 40, 70, 80, 90])
    assert graded[:-1].max(axis=1) == pytest.approx(checks['max_gamma'][rows], rel=1e-12)
    cell = record.frames.cells[0].diagonal()
    assert record.frames.positions.min() >= 0.0
    assert (record.frames.positions < cell).all()
    assert record.restart_previous == 'restart.a'
    assert read_restart_step(tmp_path / 'restart.a') == 90
    assert record.summary['end_is_physical']


def test_a_halted_segment_names_its_excursion_and_the_restart_before_it(tmp_path):
    quiet, over = [1.0, 0, 0, 0], [6.0, 0, 0, 0]
    evaluator = Table([quiet, quiet, over, quiet, quiet, over, over, over])
    atoms = Atoms('Cu4', positions=np.eye(4, 3) * 4.0, cell=[8.0] * 3, pbc=True)
    md = {'n_steps': 200, 'restart_every': 20, 'ensemble': 'nve', 'temperature_start_K': 1.0}
    rule = {'smooth_steps': 3}
    _, log = run_segment(tmp_path, lambda *_: evaluator, md=md, atoms=atoms, rule=rule)
    record, _ = record_of(tmp_path, log, md, rule)
    summary = record.summary
    assert (record.outcome, summary['last_step'], summary['excursion_start']) == ('halted', 70, 50)
    assert summary['frame_steps'][summary['learning_row']] == 50
    assert (record.restart_previous, summary['restart_previous_step']) == ('restart.b', 40)
    assert (summary['n_checks'], summary['n_checks_over_call']) == (8, 4)
    (tmp_path / 'restart.b').write_bytes((tmp_path / 'restart.b').read_bytes()[:500])
    cut_off, _ = record_of(tmp_path, log, md, rule)
    assert cut_off.summary['restart_previous_step'] == 0


def test_a_soft_start_is_damped_and_tagged(tmp_path):
    md = {'ensemble': 'nvt', 'temperature_start_K': 600, 'temperature_end_K': 600}
    run_segment(tmp_path / 'a', load_student, md={**md, 'n_steps': 30})
    _, log = resume(tmp_path / 'b', tmp_path / 'a', md={**md, 'soft_start_steps': 40}, soft_start=True)
    record, checks = record_of(tmp_path / 'b', log, md)
    assert record.summary['soft_start_until'] == 70
    assert record.summary['last_step'] == 100
    assert checks['step'].tolist() == [30, 40, 50, 60, 70, 80, 90, 100]


def test_atoms_that_fly_apart_are_lost_or_not_finite_but_reported(tmp_path):
    class Kick(LennardJones):
        def evaluate(self, elements, pairs, *, with_gamma):
            energy, forces, virial, gamma = super().evaluate(elements, pairs, with_gamma=with_gamma)
            return energy, forces + 1e9 * np.arange(len(elements))[:, None], virial, gamma

    atoms = copper()
    atoms.pbc = (True, True, False)
    atoms.center(vacuum=5.0, axis=2)
    md = {'n_steps': 50, 'ensemble': 'nve'}
    status, log = run_segment(tmp_path, lambda *_: Kick(), md=md, atoms=atoms, pbc=(True, True, False))
    assert status == 1
    assert log.failure in ('lost_atoms', 'non_finite')
    record, _ = record_of(tmp_path, log, md)
    assert record.outcome == log.failure
    assert record.restart_previous == 'begin.restart'


def test_forces_that_are_not_finite_between_two_checks_end_the_run(tmp_path):
    class Breaking(LennardJones):
        calls = 0

        def evaluate(self, elements, pairs, *, with_gamma):
            energy, forces, virial, gamma = super().evaluate(elements, pairs, with_gamma=with_gamma)
            self.calls += 1
            return energy, forces * (np.nan if self.calls == 15 else 1.0), virial, gamma

    evaluator = Breaking()
    status, log = run_segment(tmp_path, lambda *_: evaluator, md={'ensemble': 'nve', 'restart_every': 10})
    assert (status, log.failure) == (1, 'non_finite')
    record, _ = record_of(tmp_path, log)
    assert (record.outcome, record.summary['restart_previous_step']) == ('non_finite', 10)
    assert record.summary['frame_steps'] == [0, 10]


def test_a_check_without_a_finite_grade_is_no_grade_of_zero(tmp_path):
    """Our engine's maximum is then infinite; LAMMPS' own drops what is no number, and starts from -1e20."""
    evaluator = Table([[0.0] * 4, [np.nan] * 4])
    atoms = Atoms('Cu4', positions=np.eye(4, 3) * 4.0, cell=[8.0] * 3, pbc=True)
    md = {'n_steps': 30, 'ensemble': 'nve', 'temperature_start_K': 1e-6}
    _, log = run_segment(tmp_path, lambda *_: evaluator, md=md, atoms=atoms)
    assert record_of(tmp_path, log, md=md)[0].summary['largest_gamma'] == np.inf
    (tmp_path / 'gamma.log').write_text('# step max_gamma n_add n_call n_danger\n10 -1e+20 4 4 4\n')
    record, _ = record_of(tmp_path, log, md=md)
    assert (record.outcome, record.summary['largest_gamma']) == ('danger', None)


def test_a_wall_limit_is_a_soft_end(tmp_path):
    md = {'n_steps': 10_000_000, 'ensemble': 'nve', 'dump_every': 1000}
    status, log = run_segment(tmp_path, load_student, md=md, wall_seconds=1.0)
    assert (status, log.ending) == (0, 'walltime')
    record, _ = record_of(tmp_path, log, md)
    assert record.outcome == 'walltime'
    assert 0 < record.summary['last_step'] == read_restart_step(tmp_path / 'final.restart')


def test_faults_of_the_input_are_named(tmp_path):
    with pytest.raises(ValueError, match='= 15 is no multiple of thresholds'):
        write_script(
            Segment(
                md=MdConfig(dump_every=15),
                thresholds=ActiveLearningThresholds(),
                elements=['Cu'],
                pair_lines=[],
                seed=1,
            )
        )
    with pytest.raises(ValueError, match='structure holds Cu, the potential knows Si'):
        write_structure(tmp_path / 'x', copper(), ['Si'])
    flat = copper()
    flat.cell[2] = 0.0
    with pytest.raises(ValueError, match='expected three vectors'):
        write_structure(tmp_path / 'x', flat, ['Cu'])
