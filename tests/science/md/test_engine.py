"""``pyacemaker-lmp`` gives the physics of the potential it serves."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from stand_in import FIXTURES, PAIR_LINES, LennardJones, copper, run_in, run_segment

from aiida_pyacemaker.science.ace import AceCalculator, AcePotential, ActiveSet
from aiida_pyacemaker.science.baseline import fit_baseline
from aiida_pyacemaker.science.md import read_dump, read_log, to_frames
from aiida_pyacemaker.science.md.engine import EngineError, logical_lines, parse_arguments
from aiida_pyacemaker.science.md.script import write_structure
from aiida_pyacemaker.science.md.student import load_student
from aiida_pyacemaker.science.neighbours import VerletList

BAR = 1e5 * units.Pascal

STATIC = """
units metal
read_data start.data
mass 1 63.546
{pair}
fix gam all pair 10 pace/extrapolation gamma 1
thermo_style custom step pe press pxx pyy pzz pxy pxz pyz
thermo_modify norm no format float %.15g
dump out all custom 1 out.dump id type x y z fx fy fz f_gam
dump_modify out sort id format float %.17g
run 0
"""


def run_static(folder, atoms, pair, load=load_student):
    folder.mkdir(exist_ok=True)
    for name in ('potential.yaml', 'potential.asi'):
        (folder / name).write_bytes((FIXTURES / 'md' / name).read_bytes())
    write_structure(folder / 'start.data', atoms, ['Cu'])
    (folder / 'in.lmp').write_text(STATIC.format(pair='\n'.join(pair)))
    status = run_in(folder, load)
    return status, read_log((folder / 'log.lammps').read_text())


def rattled(cell):
    atoms = bulk('Cu', a=3.6, cubic=cell != 'primitive')
    atoms = atoms * ((3, 3, 3) if cell == 'primitive' else (2, 2, 2))
    if cell == 'tilted':
        strain = np.array([[1.0, 0.0, 0.0], [0.1, 1.02, 0.0], [-0.07, 0.12, 0.98]])
        atoms.set_cell(atoms.cell[:] @ strain, scale_atoms=True)
    atoms.rattle(0.1, seed=3)
    return atoms


@pytest.mark.parametrize('cell', ['cubic', 'tilted', 'primitive'])
def test_energy_forces_pressure_and_grades_are_those_of_the_calculator(tmp_path, cell):
    status, log = run_static(tmp_path, rattled(cell), PAIR_LINES)
    assert status == 0, log.error
    shot = read_dump(tmp_path / 'out.dump')[0]
    atoms = to_frames([shot], ['Cu']).atoms(0)
    potential = AcePotential.read(tmp_path / 'potential.yaml')
    atoms.calc = AceCalculator(potential, active_set=ActiveSet.read(tmp_path / 'potential.asi'))
    assert log.thermo['PotEng'][0] == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
    assert np.abs(shot.vectors('fx', 'fy', 'fz') - atoms.get_forces()).max() < 1e-8
    found = [log.thermo[name][0] for name in ('Pxx', 'Pyy', 'Pzz', 'Pyz', 'Pxz', 'Pxy')]
    # 1 bar is 6e-7 eV/Å³: the unit constants of ASE and LAMMPS agree to 1e-6 only
    assert np.array(found) * BAR == pytest.approx(-atoms.get_stress(), rel=3e-6, abs=1e-8)
    assert shot.columns['f_gam'] == pytest.approx(atoms.calc.results['gamma'], rel=1e-8)


def test_hybrid_overlay_adds_the_tabulated_baseline(tmp_path):
    baseline = fit_baseline(['Cu'], 'ZBL')
    atoms = copper()
    atoms.set_cell(atoms.cell * 0.85, scale_atoms=True)
    atoms.rattle(0.1, seed=3)
    baseline.write_lammps_table(tmp_path / 'baseline.table')
    points = next(int(line.split()[1]) for line in (tmp_path / 'baseline.table').open() if line.startswith('N '))
    pair = [
        f'pair_style hybrid/overlay pace/extrapolation table spline {points}',
        'pair_coeff * * pace/extrapolation potential.yaml potential.asi Cu',
        *baseline.lammps_pair_coeffs(['Cu']),
    ]
    status, log = run_static(tmp_path, atoms, pair)
    assert status == 0, log.error
    atoms.calc = AceCalculator(AcePotential.read(tmp_path / 'potential.yaml'), baseline=baseline)
    assert log.thermo['PotEng'][0] == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
    forces = read_dump(tmp_path / 'out.dump')[0].vectors('fx', 'fy', 'fz')
    assert np.abs(forces - atoms.get_forces()).max() < 1e-7
    assert log.thermo['Press'][0] * BAR == pytest.approx(-atoms.get_stress()[:3].mean(), rel=1e-5)


def test_a_served_pair_potential_equals_that_of_lammps(tmp_path):
    rows = []
    for name, pair in {
        'own': ('pair_style lj/cut 5.5', 'pair_modify shift yes', 'pair_coeff * * 0.4 2.3'),
        'served': PAIR_LINES,
    }.items():
        md = {'ensemble': 'nvt', 'n_steps': 50, 'temperature_start_K': 900}
        folder = tmp_path / name
        _, log = run_segment(folder, lambda *_: LennardJones(), md=md, atoms=copper(4))
        if name == 'own':
            script = (folder / 'in.lmp').read_text().replace('\n'.join(PAIR_LINES), '\n'.join(pair))
            keep = [line for line in script.splitlines() if 'gam' not in line and not line.startswith(('dump', 'fix '))]
            keep = [line for line in keep if not line.startswith(('compute', 'variable', 'if', 'run'))]
            keep += ['fix integrate all nvt temp 900 300 0.1', 'run 50 upto start 0 stop 50']
            (folder / 'in.lmp').write_text('\n'.join(keep))
            assert run_in(folder, lambda *_: LennardJones()) == 0
            log = read_log((folder / 'log.lammps').read_text())
        rows.append(log.thermo)
    for column in ('Temp', 'PotEng', 'Press', 'Pxy'):
        assert rows[0][column] == pytest.approx(rows[1][column], rel=1e-9, abs=1e-6)


def test_nve_conserves_energy(tmp_path):
    drift = []
    for halvings in (0, 1):
        md = {
            'ensemble': 'nve',
            'n_steps': 100 * 2**halvings,
            'timestep_ps': 0.002 / 2**halvings,
            'temperature_start_K': 400,
        }
        status, log = run_segment(tmp_path / str(halvings), load_student, md=md, rule={'check_every': 10})
        assert status == 0, log.error
        total = log.thermo['TotEng']
        drift.append(np.ptp(total) / 32)
    # eV/atom: velocity Verlet conserves to second order in the time step
    assert drift[0] < 5e-4
    assert drift[1] < 0.4 * drift[0]


@pytest.mark.parametrize('barostat', [False, True])
def test_lists_with_a_skin_give_the_pairs_of_a_fresh_list(barostat):
    """Atoms wander, drift out of the box and back in; under a barostat the box changes at every step, too."""
    rng = np.random.default_rng(2)
    atoms = rattled('tilted')
    held, steps = VerletList(4.6, skin=1.0), 40
    pbc = np.array([True, True, barostat])
    for _ in range(steps):
        atoms.positions += rng.normal(scale=0.06, size=(len(atoms), 3)) + 0.05
        if barostat:
            change = np.eye(3) + np.tril(rng.normal(scale=2e-3, size=(3, 3)))
            atoms.set_cell(atoms.cell[:] @ change, scale_atoms=True)
        atoms.pbc = pbc
        wrapped = atoms.get_positions(wrap=True)
        found = held.pairs(wrapped, atoms.cell[:], pbc)
        fresh = VerletList(4.6).pairs(wrapped, atoms.cell[:], pbc)
        assert np.array_equal(np.bincount(found.first), np.bincount(fresh.first))
        lengths = [np.sort(np.linalg.norm(pairs.vectors, axis=1)) for pairs in (found, fresh)]
        assert lengths[0] == pytest.approx(lengths[1], abs=1e-12)
    assert 1 < held.n_builds < steps / 2


def test_non_periodic_clusters_are_served(tmp_path):
    atoms = copper()
    atoms.center(vacuum=6.0)
    atoms.pbc = False
    status, log = run_segment(
        tmp_path, lambda *_: LennardJones(), md={'n_steps': 20, 'ensemble': 'nve'}, atoms=atoms, pbc=(False,) * 3
    )
    assert status == 0, log.error
    assert np.ptp(log.thermo['TotEng']) < 0.01


def test_arguments_of_lmp_are_understood():
    found = parse_arguments(['-sf', 'omp', '-in', 'x', '-v', 'T', '-300', 'K', '-log', 'none', '-k', 'on', 'g', '1'])
    assert found.script == Path('x')
    assert found.passed == ['-v', 'T', '-300', 'K', '-log', 'none']
    with pytest.raises(EngineError, match='-wrong'):
        parse_arguments(['-in', 'x', '-wrong'])
    with pytest.raises(EngineError, match='-in FILE'):
        parse_arguments(['-log', 'none'])


def test_continuations_and_quoted_blocks_are_one_command():
    text = 'a &\n b\nprint """one &\ntwo"""\nc'
    assert list(logical_lines(text)) == ['a   b', 'print """one &\ntwo"""', 'c']


@pytest.mark.parametrize(
    ('pair', 'message'),
    [
        (('pair_style pace/extrapolation', 'pair_coeff * * potential.yaml potential.asi Au'), 'Element Au'),
        (('pair_style pace/extrapolation', 'pair_coeff * * potential.yaml none.asi Cu'), 'cannot open none.asi'),
        (('pair_style pace/extrapolation', 'pair_coeff 1 1 potential.yaml potential.asi Cu'), 'Incorrect args'),
        (('pair_style nonsense',), 'nonsense'),
        (('pair_style pace/extrapolation',), 'coeffs are not set'),
    ],
)
def test_faults_are_error_lines_and_exit_status_1(tmp_path, pair, message):
    status, log = run_static(tmp_path, copper(), pair)
    assert status == 1
    assert log.ending == 'error'
    assert message in log.error


def test_an_exception_of_the_potential_ends_the_run(tmp_path):
    class Failing(LennardJones):
        def evaluate(self, elements, pairs, *, with_gamma):
            raise ArithmeticError('the potential gave up')

    status, log = run_static(tmp_path, copper(), PAIR_LINES, load=lambda *_: Failing())
    assert (status, log.ending) == (1, 'error')
    assert 'gave up' in log.error


def test_the_program_runs_a_script_with_variables(tmp_path):
    run_static(tmp_path, copper(), PAIR_LINES)
    text = (tmp_path / 'in.lmp').read_text().replace('Cu\nfix', '&\n ${EL}\nfix').replace('run 0', 'run ${NS}')
    (tmp_path / 'in.lmp').write_text(text)
    program = Path(sys.executable).parent / 'pyacemaker-lmp'
    flags = ['-in', 'in.lmp', '-log', 'log.lammps', '-var', 'EL', 'Cu', '-var', 'NS', '3', '-sf', 'omp']
    done = subprocess.run([program, *flags], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert 'Total wall time' in done.stdout
    assert read_log((tmp_path / 'log.lammps').read_text()).last_step == 3
