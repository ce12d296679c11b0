"""LAMMPS killed at random times: the MD that comes out has the bits of one that nobody killed."""

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
    """What three kills in a daemon of its own left behind; a failure shows the end of its output."""
    folder = tmp_path_factory.mktemp('md_kills')
    environment = os.environ | {
        'AIIDA_PATH': str(folder),
        'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
        'OMP_NUM_THREADS': '1',
        'OPENBLAS_NUM_THREADS': '1',
    }
    command = [sys.executable, str(HERE / 'run_md_kills.py'), '--kills', '3']
    run = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, env=environment)
    path = folder / 'md_facts.json'
    assert run.returncode == 0 and path.is_file(), run.stdout[-2000:] + run.stderr[-4000:]
    return json.loads(path.read_text())


def test_lammps_was_killed_and_every_exploration_ended_as_the_undisturbed_one(facts):
    assert facts['n_kills'] == 3
    assert facts['outcome'] == 'halted' and facts['halts']
    for row in facts['explorations']:
        assert row['exit_status'] == 0
        assert row['n_runs'] == 1 + len(row['killed_at_steps'])


def test_trajectory_grades_halt_and_restart_file_have_the_bits_of_the_undisturbed_run(facts):
    assert [row['differs'] for row in facts['explorations']] == [[]] * len(facts['explorations'])
