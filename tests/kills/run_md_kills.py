"""MD through a real daemon while LAMMPS is killed at random times; what it says must be what an undisturbed run says.

``test_md_kills.py`` runs it with three kills in a profile of its own. More, by hand, in portions if need be (a run goes
on from the kills that are in ``kills.jsonl``):
``AIIDA_PATH=$PWD/md_kills python tests/kills/run_md_kills.py --kills 20 --seed 2``.
"""

import argparse
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import psutil
from aiida import orm
from aiida.engine import submit
from ase.build import bulk

from aiida_pyacemaker.cli.daemon import start_daemon, stop_daemon
from aiida_pyacemaker.cli.setup import set_up_machine
from aiida_pyacemaker.data.ace_potential import AcePotentialData
from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.workflows.explore import ExplorationWorkChain
from aiida_pyacemaker.workflows.lammps_base import LammpsBaseWorkChain

FOLDER = Path(os.environ.get('AIIDA_PATH', '.')).resolve()
POTENTIAL = Path(__file__).parents[1] / 'fixtures' / 'md'
LIMIT_S = 3600.0
KILLS_OF_ONE_RUN = LammpsBaseWorkChain.defaults.tries - 1  # the last try has to be left alone
# copper heated until its grades say so: the halt is the end
MD = {
    'n_steps': 2000, 'temperature_start_K': 300.0, 'temperature_end_K': 6000.0, 'timestep_ps': 0.002,
    'restart_every': 100, 'dump_every': 100, 'ring_size': 10,
}  # fmt: skip
THRESHOLDS = {'threshold_add_train': 1.5, 'threshold_call_dft': 2.0, 'threshold_danger': 100.0}


def explore():
    """Submit one exploration; all are the same."""
    return submit(
        ExplorationWorkChain,
        lammps_code=orm.load_code('pyacemaker-lmp@localhost'),
        potential=AcePotentialData.from_folder(POTENTIAL),
        structure=AtomicDatasetData.from_atoms(bulk('Cu', cubic=True, a=3.6) * (2, 2, 2)),
        md=orm.Dict(MD),
        thresholds=orm.Dict(THRESHOLDS),
        seed=orm.Int(5),
        options={'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}, 'withmpi': False,
                 'max_wallclock_seconds': 3600},
    )  # fmt: skip


def running_lammps():
    """Return the processes of this profile that run MD: those whose log of checks has begun."""
    found = []
    for process in psutil.process_iter(['cmdline']):
        try:
            words = process.info['cmdline'] or []
            if any(word.endswith('pyacemaker-lmp') for word in words) and process.cwd().startswith(str(FOLDER)):
                found += [process] if (Path(process.cwd()) / 'gamma.log').exists() else []
        except psutil.Error:
            continue
    return found


def read_last_step(log):
    """Return the last whole step of a log that may have been cut off anywhere; 0 where there is none."""
    try:
        return int(log.read_text().split('\n')[-2].split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def kill_at_random(node, seconds, rng):
    """Kill a run of ``node`` after a random part of ``seconds``; return the killed step, None when MD ended before."""
    end = time.monotonic() + LIMIT_S
    while not node.is_terminated:
        if time.monotonic() > end:
            raise TimeoutError(f'the exploration {node.pk} is not over after {LIMIT_S} s')
        for process in running_lammps():
            log = Path(process.cwd()) / 'gamma.log'
            time.sleep(float(rng.uniform(0, seconds)))
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.Error:
                continue  # it ended before
            psutil.wait_procs([process], timeout=30)
            return read_last_step(log)
        time.sleep(0.05)
    return None


def wait(node):
    """Wait until ``node`` is over."""
    end = time.monotonic() + LIMIT_S
    while not node.is_terminated:
        if time.monotonic() > end:
            raise TimeoutError(f'the exploration {node.pk} is not over after {LIMIT_S} s')
        time.sleep(0.2)


def last_run(node):
    """Return the run of LAMMPS that ended the exploration."""
    runs = [called for called in node.called_descendants if called.process_label == 'LammpsCalculation']
    return max(runs, key=lambda run: run.pk), len(runs)


def compare(node, reference):
    """Return what differs between two explorations, bit by bit: nothing, if kills leave no trace."""
    (run, n_runs), (other, _) = last_run(node), last_run(reference)
    differs = []
    for name in ('thermo', 'gamma', 'boundary'):
        one, two = (each.outputs[name] for each in (run, other))
        differs += [f'{name}.{key}' for key in one.get_arraynames()
                    if not np.array_equal(one.get_array(key), two.get_array(key), equal_nan=True)]  # fmt: skip
    one, two = (each.outputs.frames.get_frames() for each in (node, reference))
    differs += [key for key in ('positions', 'cells', 'gamma')
                if not np.array_equal(getattr(one, key), getattr(two, key), equal_nan=True)]  # fmt: skip
    if node.outputs.restart.get_content('rb') != reference.outputs.restart.get_content('rb'):
        differs.append('restart')
    one, two = (each.outputs.summary.get_dict() for each in (node, reference))
    for summary in (one, two):
        for clock in ('seconds', 'microseconds_per_atom_step'):
            summary.pop(clock)
    differs += [f'summary.{key}' for key in one if one[key] != two[key]]
    return differs, n_runs


def undisturbed():
    """Return the exploration that nobody kills, run once in this profile."""
    path = FOLDER / 'reference'
    if not path.exists():
        node = explore()
        wait(node)
        assert node.is_finished_ok, node.exit_message
        path.write_text(str(node.pk))
    return orm.load_node(int(path.read_text()))


def count_kills(rows):
    """Return how many runs were killed before they had said all: each was run again."""
    return sum(row.get('n_runs', 1) - 1 for row in rows)


def explore_under_fire(n_kills, seed):
    """Append one row an exploration to ``kills.jsonl`` until ``n_kills`` are in it; return all rows."""
    path, reference = FOLDER / 'kills.jsonl', undisturbed()
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    while (done := count_kills(rows)) < n_kills:
        rng = np.random.default_rng([seed, len(rows)])
        node, seconds = explore(), reference.outputs.summary['seconds']
        steps = [kill_at_random(node, seconds, rng) for _ in range(min(KILLS_OF_ONE_RUN, n_kills - done))]
        wait(node)
        row = {'exit_status': node.exit_status, 'killed_at_steps': [step for step in steps if step is not None]}
        if node.is_finished_ok:
            row['differs'], row['n_runs'] = compare(node, reference)
            row['killed_at_steps'] = row['killed_at_steps'][: row['n_runs'] - 1]  # the last may have come too late
        rows.append(row)
        with path.open('a') as handle:
            handle.write(json.dumps(row) + '\n')
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--kills', type=int, default=3)
    parser.add_argument('--seed', type=int, default=1)
    choice = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    set_up_machine('md-kills')
    start_daemon(workers=1)
    began = time.monotonic()
    try:
        rows = explore_under_fire(choice.kills, choice.seed)
        summary = undisturbed().outputs.summary.get_dict()
        facts = {
            'outcome': summary['outcome'], 'last_step': summary['last_step'], 'halts': summary['halts'],
            'n_kills': count_kills(rows), 'explorations': rows,
            'wall_s': time.monotonic() - began,
        }  # fmt: skip
        (FOLDER / 'md_facts.json').write_text(json.dumps(facts, indent=1))
        print(json.dumps(facts))
    finally:
        stop_daemon()


if __name__ == '__main__':
    main()
