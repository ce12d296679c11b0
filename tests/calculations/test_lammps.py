"""One segment as a process: the real program, real files, every ending."""

import io
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory
from ase.build import bulk

from aiida_pyacemaker.data.ace_potential import AcePotentialData
from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.science.baseline import fit_baseline

FIXTURES = Path(__file__).parents[1] / 'fixtures'
LammpsCalculation = CalculationFactory('pyacemaker.lammps')


@pytest.fixture
def potential():
    return AcePotentialData.from_folder(FIXTURES / 'md').store()


@pytest.fixture
def structure():
    return AtomicDatasetData.from_atoms(bulk('Cu', cubic=True, a=3.6) * (2, 2, 2)).store()


@pytest.fixture
def inputs(lammps_code, potential, structure, serial_options):
    return {
        'code': lammps_code,
        'potential': potential,
        'structure': structure,
        'md': orm.Dict({'n_steps': 40, 'restart_every': 20, 'dump_every': 20, 'ring_size': 3}),
        'thresholds': orm.Dict({}),
        'seed': orm.Int(3),
        'metadata': {'options': serial_options},
    }


def test_a_segment_reaches_its_goal_and_the_next_goes_on(inputs):
    outputs, node = run_get_node(LammpsCalculation, inputs)
    assert node.is_finished_ok, node.exit_message
    assert outputs['outcome'].value == 'goal'
    summary = outputs['summary'].get_dict()
    assert (summary['first_step'], summary['last_step'], summary['goal_step']) == (0, 40, 40)
    frames = outputs['frames'].get_frames()
    assert summary['frame_steps'] == [0, 20, 30, 40]
    assert np.isfinite(frames.gamma).all()
    assert outputs['gamma'].get_array('step').tolist() == [0, 10, 20, 30, 40]
    assert outputs['gamma'].get_array('max_gamma')[-1] == pytest.approx(frames.gamma[frames.span(3)].max())
    assert outputs['thermo'].get_array('total_energy_eV').shape == (5,)
    assert outputs['restart_previous'].filename == 'previous.restart'
    retrieved = outputs['retrieved'].base.repository.list_object_names()
    assert sorted(retrieved) == [
        '_scheduler-stderr.txt',
        '_scheduler-stdout.txt',
        'gamma.log',
        'log.lammps',
        'screen.out',
    ]
    assert 'in.lmp' in node.base.repository.list_object_names()
    assert 'potential.asi' not in node.base.repository.list_object_names()

    again = {key: value for key, value in inputs.items() if key != 'structure'}
    again |= {'restart': outputs['restart'], 'soft_start': orm.Bool(True)}
    again['md'] = orm.Dict({**inputs['md'].get_dict(), 'n_steps': 65, 'soft_start_steps': 10})
    resumed, node = run_get_node(LammpsCalculation, again)
    assert node.is_finished_ok, node.exit_message
    for name in ('positions', 'velocities', 'cell', 'step'):
        before, after = outputs['boundary'].get_array(f'last_{name}'), resumed['boundary'].get_array(f'first_{name}')
        assert np.array_equal(before, after), name
    assert resumed['summary']['soft_start_until'] == 50
    assert np.isnan(resumed['frames'].get_frames().gamma[-32:]).all()


@pytest.fixture
def potential_with_baseline(tmp_path):
    for name in ('potential.yaml', 'potential.asi'):
        (tmp_path / name).write_bytes((FIXTURES / 'md' / name).read_bytes())
    baseline = fit_baseline(['Cu'], 'ZBL')
    (tmp_path / 'baseline.json').write_text(baseline.to_json())
    baseline.write_lammps_table(tmp_path / 'baseline.table')
    return AcePotentialData.from_folder(tmp_path).store()


def test_a_halt_is_an_outcome_not_a_failure(inputs, potential_with_baseline):
    inputs['potential'] = potential_with_baseline
    inputs['structure'] = AtomicDatasetData.from_atoms(bulk('Cu', cubic=True, a=3.0) * (2, 2, 2)).store()
    inputs['thresholds'] = orm.Dict({'threshold_danger': 1e6, 'smooth_steps': 3})
    outputs, node = run_get_node(LammpsCalculation, inputs)
    assert node.is_finished_ok, node.exit_message
    assert outputs['outcome'].value == 'halted'
    assert outputs['summary']['halts'] == {'call': {'step': 30, 'value': 1.0}}
    assert outputs['summary']['learning_row'] == 0
    outputs, node = run_get_node(
        LammpsCalculation, {**inputs, 'thresholds': orm.Dict({})}
    )
    assert outputs['outcome'].value == 'danger'
    assert outputs['summary']['last_step'] == 10


def slab():
    atoms = bulk('Cu', cubic=True, a=3.6) * (2, 2, 2)
    atoms.center(vacuum=5.0, axis=2)
    atoms.pbc = (True, True, False)
    return atoms


def potential_without(folder, *names):
    for path in folder.iterdir():
        if path.name in names:
            path.unlink()
    return AcePotentialData.from_folder(folder).store()


def test_wrong_inputs_are_refused_before_anything_runs(inputs, structure, potential_with_baseline, tmp_path):
    cases = {
        'without an active set there is no γ': {'potential': potential_without(tmp_path, 'potential.asi')},
        'expected exactly one': {'structure': None},
        'no multiple of': {'md': orm.Dict({'dump_every': 15})},
        'restart_every = 25': {'md': orm.Dict({'restart_every': 25})},
        'md.ensemble': {'md': orm.Dict({'ensemble': 'nph'})},
        'a barostat needs three periodic sides': {
            'md': orm.Dict({'ensemble': 'npt'}),
            'structure': AtomicDatasetData.from_atoms(slab()).store(),
        },
        '-log cannot be given': {'settings': orm.Dict({'cmdline': ['-log', 'none']})},
        'no restart file would be written': {
            'md': orm.Dict({'restart_every': 10**9, 'dump_every': 100}),
        },
        'structure: the potential': {'structure': AtomicDatasetData.from_atoms(bulk('Si')).store()},
        'expected 1': {'structure': AtomicDatasetData.from_atoms(bulk('Cu'), bulk('Cu')).store()},
    }
    for message, change in cases.items():
        changed = {key: value for key, value in {**inputs, **change}.items() if value is not None}
        with pytest.raises(ValueError, match=message):
            run_get_node(LammpsCalculation, changed)


def test_a_baseline_without_its_table_is_refused(inputs, potential_with_baseline, tmp_path):
    inputs['potential'] = potential_without(tmp_path, 'baseline.table')
    with pytest.raises(ValueError, match=r'without baseline\.table, which LAMMPS reads'):
        run_get_node(LammpsCalculation, inputs)


def test_a_file_that_is_no_restart_is_refused_by_lammps(inputs):
    del inputs['structure']
    inputs['restart'] = orm.SinglefileData(io.BytesIO(b'not a restart file'), filename='x').store()
    _, node = run_get_node(LammpsCalculation, inputs)
    assert node.exit_status == 310
    assert 'restart' in node.exit_message
