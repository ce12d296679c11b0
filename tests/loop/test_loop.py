"""The four phases through a real daemon, MACE, LAMMPS and pw.x: run once, then looked at from all sides."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.daemon
HERE = Path(__file__).resolve().parent
PROGRAMS = Path(sys.executable).parent
EXAMPLE = HERE.parents[1] / 'examples' / 'silicon'
LIMIT_S = 2400


@pytest.fixture(scope='module')
def facts(tmp_path_factory):
    """What the run of the loop left behind; a failure shows the end of its output."""
    folder = tmp_path_factory.mktemp('loop')
    environment = os.environ | {
        'AIIDA_PATH': str(folder),
        'PATH': f'{PROGRAMS}:{os.environ["PATH"]}',
        'PYTHONPATH': f'{HERE}:{EXAMPLE}',
        'OMP_NUM_THREADS': '1',
        'OPENBLAS_NUM_THREADS': '1',
    }
    command = [sys.executable, str(HERE / 'run_loop.py')]
    run = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, env=environment)
    path = folder / 'facts.json'
    assert run.returncode == 0 and path.is_file(), run.stdout[-2000:] + run.stderr[-4000:]
    return json.loads(path.read_text())


def test_four_phases_reach_the_md_goal(facts):
    """At least one halt -> cutout -> DFT -> update -> resume, and then the goal, with at most three SCFs."""
    loop = facts['loop']
    assert loop['exit_status'] == 0, loop
    assert loop['summary']['n_halts'] >= 1
    assert loop['summary']['outcomes'][-1] == 'goal'
    assert loop['summary']['md_steps_done'] == loop['summary']['md_steps_goal']
    assert 1 <= loop['n_pw'] <= 3
    assert loop['n_pw'] == loop['summary']['n_dft_calls']
    assert {'potential', 'teacher', 'blocks', 'held_out_dataset', 'summary'} <= set(loop['outputs'])


def test_the_student_is_ignorant_where_md_halts(facts):
    """Its force error against the teacher at the first epicentre is at least twice the median over the pool."""
    assert facts['ignorance']['epicentre'] >= 2 * facts['ignorance']['pool_median'], facts['ignorance']


def test_known_bulk_does_not_halt(facts):
    """Negative control: bulk at 300 K for 2 ps."""
    assert facts['negative_control'] == {'outcome': 'goal', 'last_step': 2000}


def test_killed_workers_change_nothing(facts):
    """Workers were killed in the middle of a calculation: no step ran twice, no calculation failed."""
    assert facts['workers_killed'] == 2
    assert facts['loop']['duplicate_children'] == []
    assert facts['loop']['failed'] == []


def test_kill_between_submit_and_end_of_step_buys_no_label_twice(facts):
    """A worker killed inside a step, after `submit`: the step runs again and adopts the child."""
    killed = facts['step_killed']
    assert killed['killed'] and killed['finished']
    assert killed['children'] == ['DftLabelWorkChain']
    assert killed['n_pw'] == 1


def test_splices_are_bitwise(facts):
    """The new segment's first frame is the old segment's last: x, v, box and step, bit for bit."""
    assert len(facts['splices']) >= 1
    assert all(all(row.values()) for row in facts['splices']), facts['splices']


def test_replay_of_a_segment_gives_the_same_bits(facts):
    """The first segment again, from its stored inputs."""
    assert all(facts['replay'].values()), facts['replay']


def test_provenance_is_closed(facts):
    """Every node that holds results is an input of the root or has a creator."""
    assert facts['orphans'] == []


def test_submitting_again_with_caching_computes_nothing(facts):
    """Every calculation of the second submission comes from the cache; labels are re-used without one."""
    again = facts['again']
    assert again['exit_status'] == 0
    assert again['n_pw'] == 0
    assert again['n_calculations'] == facts['loop']['n_calculations'] - facts['loop']['n_pw']
    assert again['n_from_cache'] == again['n_calculations'], again
