"""A new potential is let in without a jolt, and is told to leave when it heats the atoms."""

import filecmp
import shutil

import numpy as np
import pytest
from stand_in import FIXTURES, PAIR_LINES, LennardJones, copper, run_in, run_segment

from aiida_pyacemaker.science.ace import AceCalculator, AcePotential
from aiida_pyacemaker.science.baseline import fit_baseline
from aiida_pyacemaker.science.baseline.table import TABLE_POINTS
from aiida_pyacemaker.science.config import ActiveLearningThresholds, MdConfig
from aiida_pyacemaker.science.md import Plan, read_checks, read_dump, read_log, read_segment, to_frames
from aiida_pyacemaker.science.md.soft_start import ramp_lines
from aiida_pyacemaker.science.md.student import load_student

PREVIOUS = ('pair_style pace', 'pair_coeff * * previous/potential.yace Cu')
SWAP = {'soft_start': True, 'previous_pair_lines': PREVIOUS, 'swapped': True}
MD = {'n_steps': 200, 'temperature_start_K': 600, 'temperature_end_K': 600, 'soft_start_steps': 40, 'swap_steps': 50}

CALM = {'threshold_add_train': 1e6, 'threshold_call_dft': 1e7, 'threshold_danger': 1e8}


class Bonds(LennardJones):
    """Lennard-Jones of which all lengths are ``scale`` times those of the other one."""

    def __init__(self, scale):
        self.scale, self.cutoff = scale, 5.5 * scale

    def evaluate(self, elements, pairs, *, with_gamma):
        shrunk = type(pairs)(starts=pairs.starts, second=pairs.second, vectors=pairs.vectors / self.scale)
        inner = LennardJones()
        energy, forces, virial, gamma = inner.evaluate(elements, shrunk, with_gamma=with_gamma)
        return energy, forces / self.scale, virial, gamma


def load_bonds(scale):
    """Return a loader: the old potential is Lennard-Jones, the new one has longer bonds."""
    return lambda path, *_: LennardJones() if 'previous' in path else Bonds(scale)


def prepare(folder, *, yace=None):
    """Make the folder of the old potential: that of the fixture, or ``yace``."""
    (folder / 'previous').mkdir(parents=True)
    potential = AcePotential.read(FIXTURES / 'md' / 'potential.yaml') if yace is None else yace
    potential.write_yace(folder / 'previous' / 'potential.yace')


def swap(folder, old, load=load_student, **options):
    prepare(folder)
    shutil.copy(old / 'final.restart', folder / 'start.restart')
    return run_segment(folder, load, **{**SWAP, **options})


def record_of(folder, log, md):
    plan = Plan(
        md=MdConfig(**{'n_steps': 100, 'dump_every': 10, 'timestep_ps': 0.002, **md}),
        thresholds=ActiveLearningThresholds(),
        elements=['Cu'],
        swapped=True,
    )
    return read_segment(folder, log, read_checks((folder / 'gamma.log').read_text()), plan)


def tilted():
    atoms = copper()
    strain = np.array([[1.0, 0.0, 0.0], [0.1, 1.02, 0.0], [-0.07, 0.12, 0.98]])
    atoms.set_cell(atoms.cell[:] @ strain, scale_atoms=True)
    return atoms


def softer(factor=0.97):
    """Return the fixture's potential with all its coefficients a little smaller."""
    potential = AcePotential.read(FIXTURES / 'md' / 'potential.yaml')
    return potential.with_coefficients(factor * np.array(potential.coefficients))


def test_the_ramp_is_that_of_lammps_own_hybrid(tmp_path):
    """Lennard-Jones into one of half the depth: served through our lines, and as two styles of LAMMPS itself."""
    md = {**MD, 'n_steps': 80, 'ensemble': 'nvt', 'swap_temperature_limit': None}
    run_segment(tmp_path / 'a', lambda *_: LennardJones(), md={**md, 'n_steps': 30}, atoms=copper(4))
    own = ('pair_style lj/cut 5.5', 'pair_modify shift yes', 'pair_coeff * * 0.2 2.3')
    rows = {}
    for name in ('served', 'own'):

        class Half(LennardJones):
            def evaluate(self, elements, pairs, *, with_gamma):
                energy, forces, virial, gamma = super().evaluate(elements, pairs, with_gamma=with_gamma)
                return 0.5 * energy, 0.5 * forces, 0.5 * virial, gamma

        folder = tmp_path / name
        status, log = swap(
            folder, tmp_path / 'a', lambda path, *_: LennardJones() if 'previous' in path else Half(), md=md
        )
        assert status == 0, log.error
        if name == 'own':
            text = (folder / 'in.lmp').read_text()
            for line in ramp_lines(PAIR_LINES, PREVIOUS)[2:]:
                assert line in text
                text = text.replace(f'{line}\n', '')
            text = text.replace('neighbor 1.0 bin', '\n'.join([
                'pair_style hybrid/scaled v_RAMP lj/cut 5.5 v_RAMP_OLD lj/cut 5.5',
                'pair_modify shift yes', 'pair_coeff * * lj/cut 1 0.2 2.3', 'pair_coeff * * lj/cut 2 0.4 2.3',
                'neighbor 1.0 bin',
            ]))  # fmt: skip
            text = text.replace('\n'.join(PAIR_LINES), '\n'.join(own))
            gone = ('dump', 'compute', 'fix', 'unfix', 'if', 'restart', 'variable w', 'variable stop', 'variable hit')
            lines = [line for line in text.splitlines() if 'integrate' in line or not line.startswith(gone)]
            (folder / 'in.lmp').write_text('\n'.join(lines))
            assert run_in(folder, load_student) == 0, (folder / 'log.lammps').read_text()
            log = read_log((folder / 'log.lammps').read_text())
        rows[name] = log.thermo
    assert rows['served']['Step'].tolist() == rows['own']['Step'].tolist()
    for column in ('Temp', 'PotEng', 'Press', 'Pxy'):
        assert rows['served'][column] == pytest.approx(rows['own'][column], rel=1e-9, abs=1e-6)


def test_the_ramp_goes_from_the_old_potential_with_its_baseline_to_the_new_one_with_its_own(tmp_path):
    """Energies at the first step, half way and behind the ramp, against the calculators; γ is that of the new one."""
    new, old = fit_baseline(['Cu'], 'ZBL'), fit_baseline(['Cu'], 'LJ')
    prepare(tmp_path, yace=softer())
    lines = []
    for folder, baseline, style in (('', new, 'pace/extrapolation'), ('previous/', old, 'pace')):
        baseline.write_lammps_table(tmp_path / folder / 'baseline.table')
        files = 'potential.yaml potential.asi' if not folder else 'previous/potential.yace'
        table = baseline.lammps_pair_coeffs(['Cu'], f'{folder}baseline.table')
        lines.append((f'pair_style hybrid/overlay {style} table spline {TABLE_POINTS}',
                      f'pair_coeff * * {style} {files} Cu', *table))  # fmt: skip
    atoms = copper()
    atoms.set_cell(0.85 * atoms.cell, scale_atoms=True)
    atoms.rattle(0.05, seed=1)
    md = {**MD, 'n_steps': 60, 'ensemble': 'nve'}
    status, log = run_segment(
        tmp_path,
        load_student,
        md=md,
        atoms=atoms,
        rule=CALM,
        pair_lines=lines[0],
        **{**SWAP, 'previous_pair_lines': lines[1]},
    )
    assert status == 0, log.error
    energies = dict(zip(log.thermo['Step'], log.thermo['PotEng'], strict=True))
    for step, share in {20: 0.5, 40: 1.0, 50: 1.0}.items():
        frame = to_frames(read_dump(tmp_path / f'ring.{step}.dump'), ['Cu']).atoms(0)
        parts = []
        for potential, baseline in ((tmp_path / 'potential.yaml', new), (tmp_path / 'previous/potential.yace', old)):
            frame.calc = AceCalculator(AcePotential.read(potential), baseline=baseline)
            parts.append(frame.get_potential_energy())
        assert energies[step] == pytest.approx(share * parts[0] + (1 - share) * parts[1], abs=1e-7), step


@pytest.mark.parametrize('cell', ['orthogonal', 'triclinic'])
@pytest.mark.parametrize('ensemble', ['nve', 'nvt', 'npt', 'langevin'])
def test_a_swap_loses_no_bit_of_positions_velocities_box_and_step_and_is_replayed(tmp_path, ensemble, cell):
    """Positions of a tilted box go through reduced coordinates: LAMMPS rounds them when it sets up."""
    barostat = {'barostat': 'tri' if cell == 'triclinic' else 'aniso', 'pressure_end_GPa': 1.0}
    md = {**MD, **barostat, 'ensemble': ensemble, 'n_steps': 90}
    atoms = tilted() if cell == 'triclinic' else copper()
    run_segment(tmp_path / 'a', load_student, md={**md, 'n_steps': 35}, atoms=atoms)
    for name in ('b', 'c'):
        status, log = swap(tmp_path / name, tmp_path / 'a', md=md)
        assert status == 0, log.error
    last, first = read_dump(tmp_path / 'a' / 'last.dump')[0], read_dump(tmp_path / 'b' / 'first.dump')[0]
    assert last.step == first.step == 35
    assert np.array_equal(last.cell, first.cell)
    assert np.array_equal(last.vectors('vx', 'vy', 'vz'), first.vectors('vx', 'vy', 'vz'))
    moved = np.abs(last.vectors('x', 'y', 'z') - first.vectors('x', 'y', 'z')).max()
    assert moved == 0.0 if cell == 'orthogonal' else moved < 1e-13
    for name in ('last.dump', 'gamma.log', 'final.restart'):
        assert filecmp.cmp(tmp_path / 'b' / name, tmp_path / 'c' / name, shallow=False), name


def test_a_ramp_keeps_the_state_of_the_thermostat_and_damping_loses_it(tmp_path):
    """From a potential to itself: what a resumed Nosé-Hoover run says to round-off, or not."""
    md = {**MD, 'ensemble': 'nvt', 'n_steps': 100, 'swap_steps': 20}
    run_segment(tmp_path / 'a', load_student, md={**md, 'n_steps': 50})
    rows = {}
    for kind in ('lambda', 'langevin', 'none'):
        status, log = swap(tmp_path / kind, tmp_path / 'a', md={**md, 'soft_start': kind})
        assert status == 0, log.error
        rows[kind] = log.thermo
        found = record_of(tmp_path / kind, log, {**md, 'soft_start': kind}).summary['swap']
        assert (found['soft_start'], found['from_step']) == (kind, 50)
        assert found['thermostat_state'] == ('discarded' if kind == 'langevin' else 'kept')
        assert found['soft_start_until'] == (50 if kind == 'none' else 90)
    assert rows['lambda']['TotEng'] == pytest.approx(rows['none']['TotEng'], rel=1e-8)
    assert np.abs(rows['langevin']['TotEng'] - rows['none']['TotEng']).max() > 1e-2


def test_a_potential_that_heats_the_atoms_is_rejected_and_one_that_does_not_is_kept(tmp_path):
    md = {**MD, 'ensemble': 'nvt', 'damping_ps': 0.5}
    run_segment(tmp_path / 'a', lambda *_: LennardJones(), md={**md, 'n_steps': 100}, atoms=copper(3))
    cases = {'calm': (1.0, {}, 'goal'), 'hot': (1.2, {}, 'overshoot'),
             'unjudged': (1.2, {'swap_temperature_limit': None}, 'goal')}  # fmt: skip
    found = {}
    for name, (scale, change, outcome) in cases.items():
        _, log = swap(tmp_path / name, tmp_path / 'a', load_bonds(scale), md={**md, **change, 'n_steps': 250})
        record = record_of(tmp_path / name, log, {**md, **change, 'n_steps': 250})
        found[name] = record.summary['swap']
        assert record.outcome == outcome, (name, found[name])
    assert found['calm']['overshoot'] < 0.2 and not found['calm']['rejected']
    assert found['hot']['overshoot'] > 0.5 and found['hot']['rejected']
    assert found['hot']['temperature_after_K'] == pytest.approx(found['unjudged']['temperature_after_K'])
    assert found['hot']['judged_until'] == 190
    record = record_of(tmp_path / 'hot', read_log((tmp_path / 'hot' / 'log.lammps').read_text()), md)
    assert record.summary['halts']['swap']['value'] == pytest.approx(found['hot']['overshoot'], rel=1e-6)
    assert (record.summary['last_step'], record.restart_previous) == (190, None), 'MD goes back to where it was swapped'
