"""What the parser makes of the files that real runs of LAMMPS left, whole, killed and broken."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.plugins import CalculationFactory, ParserFactory
from ase.build import bulk

from aiida_pyacemaker.data.ace_potential import AcePotentialData
from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.science.ace import AcePotential
from aiida_pyacemaker.science.student import load_student, write_canary

FIXTURES = Path(__file__).parents[1] / 'fixtures'
LammpsCalculation = CalculationFactory('pyacemaker.lammps')


@pytest.fixture
def inputs(lammps_code, serial_options):
    return {
        'code': lammps_code,
        'potential': AcePotentialData.from_folder(FIXTURES / 'md').store(),
        'structure': AtomicDatasetData.from_atoms(bulk('Cu', cubic=True, a=3.6) * (2, 2, 2)).store(),
        'md': orm.Dict({'n_steps': 200, 'restart_every': 20, 'dump_every': 20, 'ring_size': 3}),
        'thresholds': orm.Dict({}),
        'seed': orm.Int(3),
        'metadata': {'options': serial_options},
    }


@pytest.fixture
def parse_folder(inputs, tmp_path):
    """Parse files as if LAMMPS had left them; return (outputs, exit code)."""

    def parse(log, checks='0 1.5 0 0 0\n10 9.5 3 2 0\n', *, screen='', scheduler=None, **files):
        node = orm.CalcJobNode(computer=inputs['code'].computer, process_type='aiida.calculations:pyacemaker.lammps')
        for key, value in inputs['metadata']['options'].items():
            node.set_option(key, value)
        node.set_option('output_filename', 'screen.out')
        for key in ('potential', 'structure', 'md', 'thresholds', 'seed'):
            node.base.links.add_incoming(inputs[key].store(), LinkType.INPUT_CALC, key)
        if scheduler is not None:
            node.set_exit_status(scheduler.status)
            node.set_exit_message(scheduler.message)
        node.store()
        retrieved = orm.FolderData()
        if log is not None:
            retrieved.base.repository.put_object_from_bytes(log.encode(), 'log.lammps')
            retrieved.base.repository.put_object_from_bytes(checks.encode(), 'gamma.log')
            retrieved.base.repository.put_object_from_bytes(screen.encode(), 'screen.out')
        retrieved.base.links.add_incoming(node, LinkType.CREATE, 'retrieved')
        retrieved.store()
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        parser = ParserFactory('pyacemaker.lammps')(node)
        code = parser.parse(retrieved_temporary_folder=str(tmp_path))
        assert set(parser.outputs) <= set(LammpsCalculation.spec().outputs)
        assert code is None or code.status in {known.status for known in LammpsCalculation.exit_codes.values()}
        return parser.outputs, code

    return parse


def read_fixture(name):
    return (FIXTURES / 'lammps' / name).read_text()


ONE_ATOM = (
    'ITEM: TIMESTEP\n20\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n0 14.4\n0 14.4\n0 14.4\n'
    'ITEM: ATOMS id type x y z vx vy vz\n1 1 0.5 1.5 2.5 0.25 -0.125 0\n'
)


def boundary_files():
    """Return what a run that reached its end leaves beside its log."""
    dump = gzip.compress(ONE_ATOM.encode())
    return {
        'first.dump.gz': dump,
        'last.dump.gz': dump,
        'final.restart': (FIXTURES / 'lammps' / 'final.restart').read_bytes(),
    }


# log, screen -> exit status (None: success), outcome, last step
CASES = {
    'completed': ('log.md', '', None, 'goal', 200),
    'hybrid/overlay': ('log.hybrid', '', None, 'goal', None),
    'halt': ('log.halt', '', None, 'halted', 120),
    'halt, second run': ('log.two', '', None, 'halted', 120),
    'hard halt': ('log.hardhalt', 'screen.hardhalt', None, 'halted', 100),
    'wall limit': ('log.timer', '', None, 'goal', 320),
    'lost atoms': ('log.lost', 'screen.lost', 410, 'lost_atoms', 0),
    'explosion': ('log.expl', '', 410, 'lost_atoms', 0),
    'MPI abort': ('log.mpilost', 'screen.mpilost', 410, 'lost_atoms', 0),
    'error in the run': ('log.pybad', 'screen.pybad', 401, None, 20),
    'full disk': ('log.disk_full', '', 402, None, 330),
    'SIGTERM': ('log.term', '', 400, None, None),
    'SIGKILL': ('log.kill', '', 400, None, 200),
    'truncated yaml': ('', 'screen.bad', 310, None, None),
    'missing asi': ('log.missing_asi', '', 310, None, None),
    'foreign asi': ('log.foreign_asi', '', 310, None, None),
    'types without an element': ('log.null', '', 310, None, None),
    'unknown element': ('log.unknown_element', '', 310, None, None),
}


@pytest.mark.parametrize('case', CASES)
def test_every_ending_of_real_runs(parse_folder, case):
    log, screen, status, outcome, last = CASES[case]
    text = read_fixture(log) if log else 'LAMMPS (28 Mar 2023)\n'
    outputs, code = parse_folder(text, screen=read_fixture(screen) if screen else '', **boundary_files())
    assert (code.status if code else None) == status, code
    if outcome is None:
        assert 'outcome' not in outputs
    else:
        assert outputs['outcome'].value == outcome
    if status == 310:
        assert not outputs
        return
    table = outputs['thermo'].get_array('step')
    if last is not None:
        assert table[-1] == last
    assert ('restart' in outputs) == (status is None)


@pytest.fixture
def with_canary(inputs, tmp_path):
    """Give the potential a canary and a free atom of -1.5 eV; return a log that begins with what a program found."""
    folder = tmp_path / 'student'
    folder.mkdir()
    for name in ('potential.yaml', 'potential.asi'):
        (folder / name).write_bytes((FIXTURES / 'md' / name).read_bytes())
    potential = AcePotential.read(folder / 'potential.yaml').with_reference_energies({'Cu': -1.5})
    potential.write_yaml(folder / 'potential.yaml')
    atoms = bulk('Cu', cubic=True, a=3.6)
    canary = write_canary(folder, load_student(folder), atoms)
    inputs['potential'] = AcePotentialData.from_folder(folder).store()
    expected = {'max_gamma': canary.gamma.max(), 'sum_gamma': canary.gamma.sum(), 'energy': canary.energy}

    def log(**found):
        words = ' '.join(f'{name} {found.get(name, value):.17g} {value:.17g}' for name, value in expected.items())
        text = read_fixture('log.md')
        return text.replace('run ${NS}\n', f'run ${{NS}}\nCANARY {words}\n', 1), expected

    return log


def test_a_program_that_has_the_known_frame_wrong_has_an_exit_code(parse_folder, with_canary):
    _, expected = with_canary()
    for name, value in {'max_gamma': 0.0, 'sum_gamma': 1.0, 'energy': expected['energy'] + 0.1}.items():
        outputs, code = parse_folder(with_canary(**{name: value})[0], **boundary_files())
        assert code.status == 311 and name in code.message
        assert not outputs


def test_energies_of_free_atoms_are_added_where_the_program_does_not_know_them(parse_folder, with_canary):
    log, expected = with_canary()
    known, code = parse_folder(log, **boundary_files())
    assert code is None, code
    without = with_canary(energy=expected['energy'] + 4 * 1.5)[0]
    added, _ = parse_folder(without, **boundary_files())
    for name in ('potential_energy_eV', 'total_energy_eV'):
        difference = added['thermo'].get_array(name) - known['thermo'].get_array(name)
        assert difference == pytest.approx(-1.5, abs=1e-12)  # the dump has one atom
    assert np.array_equal(added['thermo'].get_array('temperature_K'), known['thermo'].get_array('temperature_K'))


def test_a_wall_limit_before_the_goal_is_an_outcome(parse_folder, inputs):
    inputs['md'] = orm.Dict({'n_steps': 1000})
    outputs, code = parse_folder(read_fixture('log.timer'), **boundary_files())
    assert code is None
    assert outputs['outcome'].value == 'walltime'


def test_what_the_scheduler_said_wins_over_a_kill(parse_folder):
    limit = LammpsCalculation.exit_codes.ERROR_SCHEDULER_OUT_OF_WALLTIME
    assert parse_folder(read_fixture('log.kill'), scheduler=limit)[1].status == limit.status
    assert parse_folder(None, scheduler=limit)[1].status == limit.status
    assert parse_folder(read_fixture('log.halt'), scheduler=limit, **boundary_files())[1] is None


def test_a_killed_run_keeps_what_it_left(parse_folder):
    dump = (FIXTURES / 'lammps' / 'halt.dump').read_bytes()
    restart = (FIXTURES / 'lammps' / 'final.restart').read_bytes()
    packed = {'ring.20.dump': dump, 'ring.30.dump.gz': gzip.compress(dump)[:-2000], 'restart.a': restart}
    outputs, code = parse_folder(read_fixture('log.kill'), **packed)
    assert code.status == 400
    assert 'outcome' not in outputs
    assert len(outputs['frames']) == len(outputs['summary']['frame_steps'])
    assert outputs['thermo'].get_array('step')[-1] == 200
    assert outputs['gamma'].get_array('n_over_call').tolist() == [0, 2]
    assert 'restart' not in outputs


def test_lost_atoms_have_an_exit_code_and_an_outcome(parse_folder):
    outputs, code = parse_folder(read_fixture('log.lost'))
    assert code.status == 410
    assert 'original 365 current 279' in code.message
    assert outputs['outcome'].value == 'lost_atoms'


def test_nothing_and_half_of_it_have_exit_codes_of_their_own(parse_folder):
    assert parse_folder(None)[1].status == 302
    assert parse_folder(read_fixture('log.md'))[1].status == 303
    assert parse_folder('LAMMPS\nERROR: Unknown pair style {x}\n')[1].status == 310


def test_grades_that_are_all_zero_are_no_grades(parse_folder):
    """An older pair style with a newer library gives 0 everywhere and ends well."""
    log = read_fixture('log.md')
    assert parse_folder(log, checks='0 0 0 0 0\n10 0 0 0 0\n')[1].status == 312


def test_numbers_that_are_not_finite_have_an_exit_code(parse_folder):
    log = 'LAMMPS\n   Step Temp PotEng\n  0 300 -5.0\nERROR: Non-numeric positions - simulation unstable (x.cpp:1)\n'
    outputs, code = parse_folder(log)
    assert code.status == 411
    assert outputs['outcome'].value == 'non_finite'
