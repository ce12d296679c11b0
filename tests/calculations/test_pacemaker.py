"""pacemaker as a process: real outputs parsed to what they are, bad input refused before anything runs."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.plugins import CalculationFactory, ParserFactory
from ase.build import bulk

from aiida_pyacemaker.calculations.pacemaker_monitor import CURVE_EXTRA, watch_loss
from aiida_pyacemaker.data.ace_potential import AcePotentialData
from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.science.ace import AcePotential
from aiida_pyacemaker.science.frames import Frames
from aiida_pyacemaker.science.student import load_student, read_canary

FIXTURES = Path(__file__).parents[1] / 'fixtures' / 'pacemaker'
PacemakerCalculation = CalculationFactory('pyacemaker.pacemaker')
SETTINGS = {'elements': ['Cu'], 'fit': {'cutoff': 5.5}}
REFERENCE = {'baseline': {'kind': 'none', 'pairs': {}}, 'reference_energies': {'Cu': 3.51}, 'bond_length_A': 2.55}
OUTPUT = (FIXTURES / 'cu' / 'interim_potential_best_cycle.yaml').read_text()


@pytest.fixture(scope='module')
def frames():
    return Frames.load(FIXTURES / 'cu_frames.npz')


@pytest.fixture
def inputs(aiida_code_installed, localhost, frames):
    code = aiida_code_installed(
        label='no-pacemaker', computer=localhost, filepath_executable='/bin/true',
        default_calc_job_plugin='pyacemaker.pacemaker',
    )
    options = {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}, 'max_wallclock_seconds': 3600}
    return {
        'code': code,
        'datasets': {'teacher_00': AtomicDatasetData.from_frames(frames)},
        'reference': orm.Dict(REFERENCE),
        'settings': orm.Dict(SETTINGS),
        'seed': orm.Int(4),
        'metadata': {'options': options},
    }


@pytest.fixture
def parse(inputs, tmp_path):
    """Parse files as if pacemaker had left them; return (outputs, exit code)."""

    def parse(log='', metrics='', screen='', scheduler_status=None, settings=SETTINGS, **files):
        node = orm.CalcJobNode(computer=inputs['code'].computer, process_type='aiida.calculations:pyacemaker.pacemaker')
        for key, value in inputs['metadata']['options'].items():
            node.set_option(key, value)
        node.set_option('output_filename', 'pacemaker.out')
        node.set_option('scheduler_stderr', '_scheduler-stderr.txt')
        if scheduler_status is not None:
            node.set_exit_status(scheduler_status)
        given = {'reference': inputs['reference'], 'settings': orm.Dict(settings), 'seed': inputs['seed'],
                 'datasets__teacher_00': inputs['datasets']['teacher_00']}
        for key, value in given.items():
            node.base.links.add_incoming(value.store(), LinkType.INPUT_CALC, key)
        node.store()
        retrieved = orm.FolderData()
        for name, text in {'log.txt': log, 'metrics.txt': metrics, 'pacemaker.out': screen}.items():
            if text:
                retrieved.base.repository.put_object_from_bytes(text.encode(), name)
        retrieved.base.links.add_incoming(node, LinkType.CREATE, 'retrieved')
        retrieved.store()
        folder = tmp_path / str(node.pk)
        folder.mkdir()
        for name, content in files.items():
            (folder / f'{name}.yaml').write_text(content)
        parser = ParserFactory('pyacemaker.pacemaker')(node)
        code = parser.parse(retrieved_temporary_folder=str(folder))
        assert set(parser.outputs) <= set(PacemakerCalculation.spec().outputs)
        return parser.outputs, 0 if code is None else code.status, '' if code is None else code.message

    return parse


def fixture(name):
    return (FIXTURES / name).read_text()


def test_a_finished_fit_is_a_student(parse, frames, tmp_path):
    """Yaml, yace, active set and canary are of one fit; the zero is the one that was given; errors are our own."""
    outputs, status, _ = parse(fixture('cu/log.txt'), fixture('cu/metrics.txt'), output_potential=OUTPUT)
    assert status == 0
    curve = outputs['learning_curve']
    assert curve.get_array('iter_num').tolist() == list(range(101))
    assert curve.get_array('loss')[-1] == 0.0006614478875669423
    folder = tmp_path / 'student'
    outputs['potential'].write_to(folder)
    student = load_student(folder)
    assert student.potential.reference_energies == {'Cu': 3.51} and read_canary(folder) is not None
    original = AcePotential.read(FIXTURES / 'cu' / 'interim_potential_best_cycle.yaml')
    assert np.array_equal(student.potential.coefficients, original.coefficients)
    assert (folder / 'potential.yace').is_file()
    metrics = outputs['metrics'].get_dict()
    assert metrics['pacemaker']['converged'] is False and metrics['pacemaker']['iterations'] == 99
    assert metrics['pacemaker']['versions'] == {'pacemaker': '0.3.0', 'tensorpotential': '0.2.0+19.gfa5b8b0'}
    # pacemaker fitted 107 of these frames and tested 12, without ours of short distances: it printed 24 to 91 meV
    source = metrics['sources']['teacher_00']
    assert 0.002 < source['rmse_energy_eV_per_atom'] < 0.1 and source['gamma_quantiles']['max'] < 1.02
    assert outputs['potential'].base.attributes.get('metrics')['seed'] == 4


def test_success_is_what_it_says_and_nothing_else(parse):
    """The log says 'saved' in all of these cases; only one is a fit."""
    log, metrics = fixture('cu/log.txt'), fixture('cu/metrics.txt')
    outputs, status, message = parse(fixture('noop/log.txt'), output_potential=OUTPUT)
    assert (status, set(outputs)) == (412, set()) and 'marked as fitted' in message
    assert parse(log, metrics)[1] == 303
    assert parse(log, metrics, output_potential=OUTPUT[:20000])[1] == 303
    at_a_line = OUTPUT[: OUTPUT.rindex('\n', 0, 30000) + 1]
    outputs, status, message = parse(log, metrics, output_potential=at_a_line)
    assert status == 303 and 'expected 250' in message
    assert parse(log, metrics, output_potential=re.sub(r'c: \[[^,]+,', 'c: [.nan,', OUTPUT, count=1))[1] == 410
    assert parse(fixture('nofit_zbl/log.txt'))[1] == 412


def test_continued_and_laddered_fits_are_fits(parse):
    for name in ('upfit_p', 'upfit_ip'):
        potential = fixture(f'{name}/output_potential.yaml').replace('cutoff_type: zbl', 'cutoff_type: distance')
        settings = {**SETTINGS, 'fit': {'cutoff': 5.5, 'complete_active_set': True}}
        outputs, status, message = parse(fixture(f'{name}/log.txt'), output_potential=potential, settings=settings)
        assert status == 0, message
        assert sum(outputs['potential'].base.attributes.get('n_functions').values()) in (250, 300)


def test_a_minimiser_that_gives_up_leaves_a_usable_potential(parse):
    log = fixture('cu/log.txt').replace('status=1, message=Maximum number of iterations has been exceeded.',
                                        'status=2, message=Desired error not necessarily achieved due to {loss}')
    outputs, status, message = parse(log, fixture('cu/metrics.txt'), output_potential=OUTPUT)
    assert status == 501 and 'potential' in outputs and 'Desired error' in message


def test_a_fit_that_was_cut_off_leaves_what_it_had(parse):
    """A kill leaves no line; the interim potential is attached when it is whole and may be gone on from."""
    log = fixture('sigterm/log.txt')
    whole = OUTPUT
    outputs, status, _ = parse(log, interim_potential_0=whole)
    assert status == 401 and '_fit_cycles' not in outputs['interim'].get_content()
    assert parse(log, interim_potential_0=whole[:9000])[0].keys() == set()
    outputs, _, _ = parse(log, interim_potential_0=whole[:9000], interim_potential_ladder_step_0=whole)
    assert 'interim' in outputs
    zbl = fixture('sigterm/interim_potential_0.yaml')  # TensorPotential would leave its core out
    assert 'interim' not in parse(log, interim_potential_0=zbl)[0]
    assert parse(log, scheduler_status=120)[1] == 400
    assert parse(log, scheduler_status=110)[1] == 413
    late = log.replace('2026-11-20 16:32:22', '2026-11-20 17:30:22')
    assert parse(late)[1] == 400
    assert parse()[1] == 302
    missing = 'pacemaker: error while loading shared libraries: libmpi.so\n'
    assert 'libmpi.so' in parse(screen=missing)[2]


@pytest.mark.parametrize(
    ('screen', 'status', 'word'),
    [
        (fixture('errors/missing_dataset.stderr'), 311, 'nope.pckl.gzip'),
        (fixture('errors/no_backend_section.stderr'), 310, 'query_data'),
        (fixture('errors/p_and_ip.stderr'), 310, 'initial_potential'),
        ("Traceback (most recent call last):\n  File 'fitadapter.py'\nModuleNotFoundError: No module named "
         "'tensorflow'\n", 312, 'tensorflow'),
        ("Traceback (most recent call last):\n  in process_dataset\nAssertionError: forces column contains NaN\n",
         311, 'NaN'),
        ('Traceback (most recent call last):\n  in fit\nRuntimeError: No further batch size reduction is possible\n',
         413, ''),
        ('slurmstepd: error: Detected 1 oom-kill event(s)', 413, ''),
    ],
)
def test_what_the_screen_says_has_an_exit_code_of_its_own(parse, screen, status, word):
    _, found, message = parse('2026-11-20 16:03:56,628 I - Start pacemaker\n', screen=screen)
    assert found == status and word in message


def test_losses_that_no_fit_should_have(parse):
    metrics = fixture('cu/metrics.txt').split('\n')
    last = metrics[-2].split()

    def ending(loss):
        return '\n'.join([*metrics[:5], ' '.join([*last[:3], loss, *last[4:]]), ''])

    assert parse(fixture('sigterm/log.txt'), ending('nan'))[1] == 410
    assert parse(fixture('sigterm/log.txt'), ending('1e9'))[1] == 411
    outputs, status, _ = parse(fixture('sigterm/log.txt'), ending('0.5') + '0 0 5 0.4')  # a line being written
    assert status == 401 and len(outputs['learning_curve'].get_array('loss')) == 5


def test_bad_input_is_refused_before_submission(inputs, frames):
    """One line names the port, what it holds and what is allowed."""
    unlabelled = AtomicDatasetData.from_atoms(bulk('Cu', cubic=True))
    holed = frames.with_columns(energy=np.where(np.arange(len(frames)) == 7, np.nan, frames.energy))
    silicon = AtomicDatasetData.from_atoms(bulk('Si'))
    zbl = {'basis': {'bonds': {'ALL': {'inner_cutoff_type': 'zbl'}}}}
    cases = [
        ({'datasets': {'a': unlabelled}}, ('datasets.a', 'no frame has an energy or a force')),
        ({'datasets': {'a': AtomicDatasetData.from_frames(holed)}}, ('datasets.a', 'frame 7', 'NaN')),
        ({'datasets': {'a': silicon}}, ('datasets.a', 'holds Si')),
        ({'reference': None}, ('potential, reference', '0 given')),
        ({'rows': {'b': orm.ArrayData(np.arange(3))}}, ('rows: b', 'allowed: teacher_00')),
        ({'settings': {**SETTINGS, 'fit': {'weight_stress': 10.0}}}, ('weight_stress', 'no stress')),
        ({'settings': {**SETTINGS, 'fit': zbl}}, ('inner_cutoff_type', 'allowed: distance')),
        ({'settings': {**SETTINGS, 'pacemaker': {'kappa': 2.0}}}, ('settings.pacemaker.kappa', 'less than')),
        ({'settings': {**SETTINGS, 'pacemaker': {'display_step': 1}}}, ('display_step',)),
        ({'settings': {'fit': {}}}, ('settings.elements',)),
    ]
    for changes, words in cases:
        changed = {**inputs, **{key: orm.Dict(value) if isinstance(value, dict) and key == 'settings' else value
                                for key, value in changes.items()}}
        changed = {key: value for key, value in changed.items() if value is not None}
        with pytest.raises(ValueError) as caught:
            instantiate_process(get_manager().get_runner(), PacemakerCalculation, **changed)
        assert all(word in str(caught.value) for word in words), caught.value


class Transport:
    """Files of a running job in a local folder."""

    def __init__(self, folder):
        self.folder = folder

    def getfile(self, remote, local):
        Path(local).write_bytes((self.folder / Path(remote).name).read_bytes())


def test_the_monitor_keeps_the_curve_and_ends_what_has_diverged(localhost, tmp_path):
    node = orm.CalcJobNode(computer=localhost)
    node.set_option('resources', {'num_machines': 1})
    node.set_remote_workdir(str(tmp_path))
    node.base.links.add_incoming(orm.Dict(SETTINGS).store(), LinkType.INPUT_CALC, 'settings')
    node.store()
    assert watch_loss(node, Transport(tmp_path)) is None and CURVE_EXTRA not in node.base.extras.all
    text = fixture('cu/metrics.txt')
    (tmp_path / 'metrics.txt').write_text(text)
    assert watch_loss(node, Transport(tmp_path)) is None
    curve = node.base.extras.get(CURVE_EXTRA)
    assert (curve['iterations'], curve['maxiter'], len(curve['losses'])) == (100, 500, 24)
    assert curve['loss'] == pytest.approx(0.00066144788756694)
    (tmp_path / 'metrics.txt').write_text(text + ' '.join(['0', '0', '101', 'nan', *['0'] * 17]) + '\n')
    result = watch_loss(node, Transport(tmp_path))
    assert result.action.value == 'kill' and not result.override_exit_code and 'nan after 101' in result.message
    assert json.dumps(node.base.extras.get(CURVE_EXTRA)).count('null') == 2
    assert watch_loss(node, Transport(tmp_path), factor=2.0).action.value == 'kill'


def test_a_start_without_its_baseline_is_no_end(inputs, frames, tmp_path):
    """A potential made elsewhere has no baseline: nothing is subtracted and none is written."""
    AcePotential.read(FIXTURES / 'cu' / 'interim_potential_best_cycle.yaml').write_yaml(tmp_path / 'potential.yaml')
    potential = AcePotentialData.from_folder(tmp_path)
    assert not potential.has_baseline
    del inputs['reference']
    process = instantiate_process(
        get_manager().get_runner(), PacemakerCalculation, **{**inputs, 'potential': potential.store(),
        'start': orm.SinglefileData(io.BytesIO(OUTPUT.encode()), filename='interim.yaml')},
    )
    assert process.inputs.potential.pk == potential.pk
