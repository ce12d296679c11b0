"""Fits by pacemaker that are cut off, run out of memory or go astray are recovered, and say what was changed."""

import inspect
import io
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager

from aiida_pyacemaker.calculations.pacemaker import EXIT_CODES, PacemakerCalculation, read_job
from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.parsers import pacemaker as pacemaker_parser
from aiida_pyacemaker.science.ace import evaluate
from aiida_pyacemaker.science.frames import Frames
from aiida_pyacemaker.science.pacemaker.learning_set import make_learning_set
from aiida_pyacemaker.science.student import load_student
from aiida_pyacemaker.workflows import pacemaker_base
from aiida_pyacemaker.workflows.pacemaker_base import PacemakerBaseWorkChain, draw_replay_rows

FIXTURES = Path(__file__).parents[1] / 'fixtures' / 'pacemaker'
BASIS = {'cutoff': 4.5, 'number_of_functions_per_element': 12, 'complete_active_set': True}
SETTINGS = {'elements': ['Cu'], 'fit': BASIS, 'pacemaker': {'maxiter': 8, 'batch_size': 8}, 'baseline': 'ZBL'}
CODES = PacemakerCalculation.exit_codes


@pytest.fixture(scope='module')
def frames():
    return Frames.load(FIXTURES / 'cu_frames.npz')


@pytest.fixture
def dataset(frames):
    return AtomicDatasetData.from_frames(frames.select(np.arange(0, 120, 4))).store()


@pytest.fixture
def inputs(dataset, aiida_code_installed, localhost, serial_options):
    code = aiida_code_installed(
        label='no-pacemaker', computer=localhost, filepath_executable='/bin/true',
        default_calc_job_plugin='pyacemaker.pacemaker',
    )
    return {
        'code': code,
        'datasets': {'teacher_00': dataset},
        'settings': orm.Dict(SETTINGS),
        'seed': orm.Int(3),
        'options': serial_options,
    }


@pytest.fixture
def process(inputs):
    built = instantiate_process(get_manager().get_runner(), PacemakerBaseWorkChain, **inputs)
    built.setup()
    built.ctx.iteration = 1
    return built


def calculation(process, code, n_iterations=0, interim=False):
    """A run of pacemaker with this exit code, with outputs that its specification has and no other."""
    computer = process.inputs.code.computer
    node = orm.CalcJobNode(computer=computer, process_type='aiida.calculations:pyacemaker.pacemaker')
    node.set_option('resources', {'num_machines': 1, 'num_mpiprocs_per_machine': 1})
    node.set_exit_status(code.status)
    node.set_exit_message(code.message)
    node.set_process_state('finished')
    node.store()
    outputs = {}
    if n_iterations:
        outputs['learning_curve'] = orm.ArrayData({'loss': np.ones(n_iterations + 1)})
    if interim:
        outputs['interim'] = orm.SinglefileData(io.BytesIO(b'metadata:\n'), filename='interim.yaml')
    assert set(outputs) <= set(PacemakerCalculation.spec().outputs)
    for label, output in outputs.items():
        output.base.links.add_incoming(node, LinkType.CREATE, label)
        output.store()
    return node


def reports(process):
    return ' '.join(log.message for log in orm.Log.collection.get_logs_for(process.node))


@pytest.mark.parametrize('code', [CODES.ERROR_OUT_OF_WALLTIME, CODES.ERROR_KILLED])
def test_a_fit_that_was_cut_off_goes_on(process, code):
    """It goes on from the potential it had, for what is left of its iterations; without one it begins again."""
    cut = calculation(process, code, n_iterations=5, interim=True)
    report = process.go_on(cut)
    assert report.do_break and report.exit_code.status == 0
    assert process.ctx.inputs['start'].uuid == cut.outputs.interim.uuid
    assert process.ctx.settings['pacemaker']['maxiter'] == 3
    assert 'iteration 5' in reports(process) and 'maxiter 8 -> 3' in reports(process)
    process.go_on(calculation(process, code))
    assert process.ctx.settings['pacemaker']['maxiter'] == 3 and 'begins again' in reports(process)
    given_up = process.go_on(calculation(process, code))
    assert given_up.exit_code.status == 411 and 'Two runs' in given_up.exit_code.message


def test_each_rung_of_a_ladder_has_all_iterations(process):
    process.ctx.settings['pacemaker'] = {**SETTINGS['pacemaker'], 'ladder_step': [4]}
    process.go_on(calculation(process, CODES.ERROR_KILLED, n_iterations=20, interim=True))
    assert process.ctx.settings['pacemaker']['maxiter'] == 8 and 'start' in process.ctx.inputs


def test_memory_that_does_not_do_means_smaller_batches(process):
    sizes = []
    for _ in range(3):
        assert process.halve_batches(calculation(process, CODES.ERROR_OUT_OF_MEMORY)).exit_code.status == 0
        sizes.append(process.ctx.settings['pacemaker']['batch_size'])
    assert sizes == [4, 2, 1] and 'batch_size 8 -> 4' in reports(process)
    given_up = process.halve_batches(calculation(process, CODES.ERROR_OUT_OF_MEMORY))
    assert given_up.exit_code.status == 411 and 'one structure' in given_up.exit_code.message


@pytest.mark.parametrize('code', [CODES.ERROR_NOT_FINITE, CODES.ERROR_DIVERGED])
def test_a_fit_that_went_astray_is_regularised_once(process, code):
    process.ctx.inputs['start'] = 'what led astray'
    process.ctx.settings['pacemaker'] = {**SETTINGS['pacemaker'], 'maxiter': 3}
    report = process.regularise(calculation(process, code, n_iterations=4))
    assert report.exit_code.status == 0 and 'start' not in process.ctx.inputs
    assert process.ctx.settings['pacemaker']['L2_coeffs'] == pytest.approx(1e-6)
    assert process.ctx.settings['pacemaker']['maxiter'] == 8, 'a fit from its beginning has all its iterations'
    assert 'L2_coeffs 1e-08 -> 1e-06' in reports(process) and 'maxiter 3 -> 8' in reports(process)
    assert process.regularise(calculation(process, code)).exit_code.status == 411


def test_handlers_and_parser_speak_of_the_same_exit_codes():
    """Every code that the parser gives has a handler, every handler one that the parser gives."""
    source = inspect.getsource(pacemaker_parser)
    parser = set(re.findall(r'exit_codes\.(\w+)', source)) | set(pacemaker_parser.CAUSES.values())
    handlers = set(re.findall(r'CODES\.(\w+)', inspect.getsource(pacemaker_base)))
    assert handlers == parser == {name for _, (name, _) in EXIT_CODES.items()}


@pytest.mark.parametrize('code', [CODES.ERROR_NO_FIT, CODES.ERROR_NO_TENSORFLOW, CODES.ERROR_TRUNCATED_POTENTIAL])
def test_what_would_fail_again_is_not_tried_again(process, code):
    given_up = process.give_up(calculation(process, code)).exit_code
    assert given_up.status == 411 and code.message in given_up.message


def test_too_few_environments_are_said_to_whoever_can_make_more(process):
    asked = process.ask_for_more(calculation(process, CODES.ERROR_TOO_FEW_ENVIRONMENTS)).exit_code
    assert asked == PacemakerBaseWorkChain.exit_codes.ERROR_TOO_FEW_ENVIRONMENTS.format(message=asked.message)


def test_the_replay_buffer_is_fixed_seeded_and_shared_by_all_sources(dataset, frames):
    small = AtomicDatasetData.from_frames(frames.select(np.arange(6))).store()
    kept = orm.ArrayData({'indices': np.arange(0, 30, 2)})
    nodes = {'source_a': dataset, 'rows_a': kept, 'source_b': small, 'source_c': dataset}
    drawn = draw_replay_rows(orm.Int(24), orm.Int(1), **nodes)
    counts = {name: drawn.get_shape(name)[0] for name in drawn.get_arraynames()}
    assert counts == {'a': 9, 'b': 6, 'c': 9}
    assert set(drawn.get_array('a')) <= set(range(0, 30, 2)) and len(set(drawn.get_array('a'))) == 9
    again, other = (draw_replay_rows(orm.Int(24), orm.Int(seed), **nodes) for seed in (1, 2))
    assert np.array_equal(again.get_array('c'), drawn.get_array('c'))
    assert not np.array_equal(other.get_array('c'), drawn.get_array('c'))
    everything = draw_replay_rows(orm.Int(500), orm.Int(1), **nodes)
    assert everything.get_array('b').tolist() == list(range(6)) and everything.get_shape('c') == (30,)


def test_bad_input_is_refused_before_anything_runs(inputs, dataset):
    cases = [
        ({'blocks': {'teacher_00': dataset}}, 'datasets and blocks share teacher_00'),
        ({'blocks': {'old': dataset}}, 'give their `potential` too'),
        ({'settings': orm.Dict({**SETTINGS, 'baseline': 'Morse'})}, "settings.baseline: 'Morse'"),
        ({'settings': orm.Dict({**SETTINGS, 'fit': {'weight_stress': 1.0}})}, 'no stress'),
        ({'replay_buffer_size': orm.Int(-1)}, 'replay_buffer_size: -1'),
    ]
    for changes, words in cases:
        with pytest.raises(ValueError, match=words):
            instantiate_process(get_manager().get_runner(), PacemakerBaseWorkChain, **{**inputs, **changes})


def own_loss(fit, potential):
    """The parts of pacemaker's loss that energies and forces have, by our engine, on the data set of ``fit``."""
    inputs = fit.base.links.get_incoming(link_type=LinkType.INPUT_CALC).nested()
    job = read_job(inputs)
    rows = make_learning_set(job.sources, job.fit, job.reference)
    with tempfile.TemporaryDirectory() as folder:
        potential.write_to(folder)
        ace = load_student(folder).potential.with_reference_energies({'Cu': 0.0})
    energy, forces = 0.0, 0.0
    for index, atoms in enumerate(rows.frames.iter_atoms()):
        span, found = rows.frames.span(index), evaluate(ace, atoms)
        energy += rows.weights_energy[index] * ((found.energies.sum() - rows.corrected[index]) / len(atoms)) ** 2
        forces += rows.weights_forces[span] @ ((found.forces - rows.forces[span]) ** 2).sum(axis=1)
    return [(1 - rows.kappa) * energy / rows.weights_energy.sum(), rows.kappa * forces / rows.weights_forces.sum()]


def test_a_real_fit_and_one_on_top_of_it(inputs, pacemaker_code, dataset, frames):
    """The zero and the baseline stay; earlier data are replayed; the second fit begins where the first ended."""
    first, node = run_get_node(PacemakerBaseWorkChain, **{**inputs, 'code': pacemaker_code})
    assert node.is_finished_ok, (node.exit_status, node.exit_message)
    assert first['blocks']['teacher_00'].pk == dataset.pk
    loss = first['learning_curve'].get_array('loss')
    assert loss[-1] < 0.9 * loss[0] and len(loss) == 9
    dft = frames.select(np.arange(1, 40, 4)).with_columns(theories=({'kind': 'dft'},))
    again = {
        **inputs,
        'code': pacemaker_code,
        'datasets': {'dft_01': AtomicDatasetData.from_frames(dft)},
        'blocks': first['blocks'],
        'potential': first['potential'],
        'replay_buffer_size': orm.Int(12),
        'settings': orm.Dict({**SETTINGS, 'factors': {'teacher_00': 0.1}, 'own_zero': ['dft_01']}),
    }
    second, node = run_get_node(PacemakerBaseWorkChain, **again)
    assert node.is_finished_ok, (node.exit_status, node.exit_message)
    assert 'replaying 12 earlier frames' in ' '.join(log.message for log in orm.Log.collection.get_logs_for(node))
    before, after = (outputs['metrics'].get_dict() for outputs in (first, second))
    assert after['reference_energies'] == before['reference_energies']
    assert after['baseline'] == before['baseline']
    assert {name: row['factor'] for name, row in after['sources'].items()} == {'dft_01': 10.0, 'teacher_00': 0.1}
    fit = next(child for child in node.called if isinstance(child, orm.CalcJobNode))
    assert fit.inputs.replay.get_shape('teacher_00') == (12,)
    curve = second['learning_curve']
    for potential, row in ((first['potential'], 0), (second['potential'], -1)):
        expected = own_loss(fit, potential)
        found = [curve.get_array(name)[row] for name in ('e_loss_contrib', 'f_loss_contrib')]
        assert np.allclose(found, expected, rtol=1e-6)
