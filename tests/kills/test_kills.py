"""Worker, ``pw.x`` and the whole daemon killed during one labelling: nothing is lost, nothing is paid for twice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.daemon
HERE = Path(__file__).resolve().parent
LIMIT_S = 1800


@pytest.fixture(scope='module')
def facts(tmp_path_factory):
    """What a run of 20 frames under three kills left behind; a failure shows the end of its output."""
    folder = tmp_path_factory.mktemp('kills')
    environment = os.environ | {
        'AIIDA_PATH': str(folder),
        'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
        'OMP_NUM_THREADS': '1',
        'OPENBLAS_NUM_THREADS': '1',
    }
    command = [sys.executable, str(HERE / 'run_kills.py'), '--kills', '3']
    run = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, env=environment)
    path = folder / 'facts.json'
    assert run.returncode == 0 and path.is_file(), run.stdout[-2000:] + run.stderr[-4000:]
    return json.loads(path.read_text())


def test_every_kind_of_kill_happened_and_the_run_ended_well(facts):
    assert facts['killed'] == ['kill_worker', 'kill_pw', 'kill_daemon']
    assert facts['exit_status'] == 0, facts['exit_message']


def test_no_label_is_lost_and_none_is_bought_twice(facts):
    """One SCF workflow a frame, one finished run in each; what is repeated are runs that were killed."""
    assert facts['report']['n_labelled'] == facts['n_scf_workchains'] == 20
    assert facts['labels_bought_twice'] == 0
    assert all(300 <= status < 400 for statuses in facts['repeated'] for status in statuses[:-1]), facts['repeated']


def test_rows_keep_their_order(facts):
    assert facts['order_A'] == 0.0


def test_labels_are_those_of_undisturbed_runs(facts):
    """Against ``pw.x`` run by hand on the same cells; it prints 1e-8 Ry, which is 1.4e-7 eV."""
    assert facts['energy_eV'] < 1e-6
    assert facts['forces_eV_per_A'] < 1e-4
