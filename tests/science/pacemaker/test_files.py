"""pacemaker's files: the input as it reads it, the log and the potentials as it writes them."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from ase.build import bulk

from aiida_pyacemaker.science.ace import AcePotential, build_potential, evaluate
from aiida_pyacemaker.science.ace.basis import pacemaker_section
from aiida_pyacemaker.science.config import FitConfig, PacemakerConfig
from aiida_pyacemaker.science.pacemaker import read_fitted, read_log, read_metrics, write_start
from aiida_pyacemaker.science.pacemaker.input_file import input_document, write_input
from aiida_pyacemaker.science.pacemaker.log import has_diverged, last_error, why_it_stopped

FIXTURES = Path(__file__).parents[2] / 'fixtures' / 'pacemaker'
BEST = FIXTURES / 'cu' / 'interim_potential_best_cycle.yaml'
SECTION = pacemaker_section(['Cu'], FitConfig(cutoff=5.5).whole_basis)


def document(config, **changes):
    given = {'potential': SECTION, 'start': None, 'kappa': 0.25, 'reference_energies': {'Cu': -3.5}, 'seed': 7}
    return input_document(config, **{**given, **changes})


def test_a_first_fit_states_its_whole_basis_and_its_zero(tmp_path):
    write_input(tmp_path / 'input.yaml', document(PacemakerConfig(maxiter=30)))
    found = yaml.safe_load((tmp_path / 'input.yaml').read_text())
    assert found['cutoff'] == 5.5 and found['seed'] == 7 and found['potential'] == SECTION
    assert found['data'] == {'filename': 'training.pckl.gzip', 'reference_energy': {'Cu': -3.5}}
    assert found['fit']['loss']['kappa'] == 0.25 and found['fit']['maxiter'] == 30
    assert found['backend']['evaluator'] == 'tensorpot'  # without the section pacemaker ends with a traceback
    assert not {'repulsion', 'ladder_step', 'weighting', 'test_size'} & set(found['fit'])
    assert document(PacemakerConfig(kappa=0.5))['fit']['loss']['kappa'] == 0.5


def test_a_ladder_is_for_a_new_potential_only():
    """With a finished potential `ladder_step` would throw its coefficients away."""
    start, config = AcePotential.read(BEST), PacemakerConfig(ladder_step=(10, 0.02))
    first = document(config)
    assert first['fit']['ladder_step'] == [10, 0.02] and first['fit']['ladder_type'] == 'body_order'
    on_the_way = document(config, start=start)
    assert on_the_way['potential']['initial_potential'] == 'start.yaml' and 'ladder_step' in on_the_way['fit']
    upfit = document(config, potential=None, start=start)
    assert upfit['potential'] == 'start.yaml' and 'ladder_step' not in upfit['fit'] and upfit['cutoff'] == 5.5
    with pytest.raises(ValueError, match='nothing to fit'):
        document(config, potential=None)


@pytest.mark.parametrize('step', [(10, 20), (0.1, 0.2), (2.5,)])
def test_ladder_steps_that_pacemaker_refuses(step):
    with pytest.raises(ValueError, match='ladder_step'):
        PacemakerConfig(ladder_step=step)


def test_a_start_is_not_marked_as_fitted_and_has_no_core(tmp_path):
    assert '_fit_cycles: 1' in BEST.read_text()
    started = write_start(BEST, tmp_path / 'start.yaml')
    text = (tmp_path / 'start.yaml').read_text()
    assert '_fit_cycles' not in text and text == BEST.read_text().replace('  _fit_cycles: 1\n', '')
    again = read_fitted(tmp_path / 'start.yaml', 250)
    assert np.array_equal(again.coefficients, started.coefficients)
    with pytest.raises(ValueError, match='inner_cutoff_type zbl, expected distance'):
        write_start(FIXTURES / 'cu' / 'output_potential.yaml', tmp_path / 'start.yaml')


def test_a_student_of_the_embedded_trainer_can_be_gone_on_from(tmp_path):
    """Its file has radial functions that none uses, for which TensorPotential has no coefficient."""
    config = FitConfig(cutoff=5.0, number_of_functions_per_element=60)
    student = build_potential(['Al', 'Ni'], config)
    student = student.with_coefficients(np.random.default_rng(0).normal(size=sum(student.n_functions)))
    student.write_yaml(tmp_path / 'potential.yaml')
    started = write_start(tmp_path / 'potential.yaml', tmp_path / 'start.yaml')
    for functions, centre in zip(started.functions, range(2), strict=True):
        for mu in range(2):
            single = [f for f in functions if f.mus == (mu,)]
            assert len(single) == started.bonds[centre, mu].n_base < student.bonds[centre, mu].n_base
    atoms = bulk('NiAl', 'cesiumchloride', a=2.9) * (2, 2, 1)
    atoms.rattle(0.1, seed=1)
    before, after = (evaluate(potential, atoms) for potential in (student, read_fitted(tmp_path / 'start.yaml')))
    assert np.allclose(after.energies, before.energies, atol=1e-12)
    assert np.allclose(after.forces, before.forces, atol=1e-12)


def test_a_potential_cut_off_anywhere_is_not_whole(tmp_path):
    text, path = BEST.read_text(), tmp_path / 'x.yaml'
    lines = [at for at in range(len(text)) if text[at] == '\n']
    for end in [0, 100, 2000, 20000, *(lines[k] + 1 for k in (3, 60, 200, len(lines) - 2)), len(text) - 3]:
        path.write_text(text[:end])
        with pytest.raises(ValueError, match=r'x\.yaml'):
            read_fitted(path, 250)


LOGS = {
    # folder: started, saved, skipped, over, status, last iteration
    'cu': (True, True, False, True, 1, 99),
    'alni': (True, True, False, True, 1, 49),
    'upfit_p': (True, True, False, True, 1, 15),
    'upfit_ip': (True, True, False, True, 1, 5),
    'noop': (False, True, True, True, None, 0),
    'nofit_zbl': (False, False, False, True, None, 0),
    'sigterm': (True, False, False, False, None, 4),
}


@pytest.mark.parametrize('folder', LOGS)
def test_logs_of_real_runs(folder):
    log = read_log((FIXTURES / folder / 'log.txt').read_text())
    assert (log.started, log.saved, log.skipped, log.over, log.status, log.iterations) == LOGS[folder]
    assert log.versions['pacemaker'] == '0.3.0' and log.success in (False, None)


def test_a_log_that_was_appended_to_is_its_last_run():
    twice = (FIXTURES / 'cu' / 'log.txt').read_text() + (FIXTURES / 'sigterm' / 'log.txt').read_text()
    log = read_log(twice)
    assert (log.saved, log.iterations, log.status) == (False, 4, None) and log.seconds < 100
    lowered = read_log(twice + 'x I - Decrease batch size (by factor 1.618): 20 -> 12\n')
    assert lowered.batch_size == 12
    assert read_log('').seconds == 0.0


def test_metrics_are_columns_and_half_a_line_is_none():
    text = (FIXTURES / 'cu' / 'metrics.txt').read_text()
    metrics = read_metrics(text)
    assert len(metrics) == 21 and metrics['iter_num'].tolist() == list(range(101))
    assert metrics['rmse_epa'][-1] == 0.024029637994026635 and metrics['rmse_f_comp'][-1] == 0.22621187564670048
    assert len(read_metrics(text[:-300])['loss']) == 100 and len(read_metrics(text[:-1])['loss']) == 100
    assert read_metrics('') == {} and len(read_metrics(text[: text.index('\n') + 1])['loss']) == 0
    loss = metrics['loss']
    assert not has_diverged(loss, 2.0) and not has_diverged(loss[:0], 2.0)
    assert has_diverged(np.append(loss, np.nan), 2.0) and has_diverged(np.append(loss, 2.1 * loss[0]), 2.0)


def test_what_was_recovered_from_is_no_cause():
    """pacemaker lowers the batch size itself; a kill long after is a kill."""
    screen = 'ResourceExhaustedError: OOM when allocating\nDecrease batch size\nx I - Iteration   #7   (9 evals)\n'
    assert why_it_stopped(screen) == '' and why_it_stopped(screen + 'oom-kill') == 'out_of_memory'
    assert why_it_stopped((FIXTURES / 'sigterm' / 'stderr.txt').read_text()) == ''
    error = (FIXTURES / 'errors' / 'missing_dataset.stderr').read_text()
    assert why_it_stopped(error) == 'dataset'
    assert last_error(error) == "FileNotFoundError: [Errno 2] No such file or directory: 'nope.pckl.gzip'"
