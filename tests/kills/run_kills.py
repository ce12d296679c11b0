"""Twenty frames through a real daemon while workers, ``pw.x`` and the whole daemon are killed; facts go to a JSON file.

``test_kills.py`` runs it with three kills in a process and a profile of its own. ``AIIDA_PATH`` is the folder for
everything. More kills, by hand: ``AIIDA_PATH=$(mktemp -d) python tests/kills/run_kills.py --kills 20 --seed 2``.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil
from aiida import orm
from aiida.engine import submit
from aiida.engine.daemon.client import get_daemon_client
from ase.build import bulk
from qe_tools import CONSTANTS

from aiida_pyacemaker.cli.daemon import start_daemon, stop_daemon
from aiida_pyacemaker.cli.setup import set_up_machine
from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.workflows.dft.label_dft import DftLabelWorkChain
from aiida_pyacemaker.workflows.submission import STILLBORN

FOLDER = Path(os.environ.get('AIIDA_PATH', '.')).resolve()
PSEUDO = Path('/usr/share/espresso/pseudo/Si.pz-vbc.UPF')
CUTOFFS_RY = (12.0, 48.0)
LIMIT_S = 3600.0
N_FRAMES = 20
DFT = {'ecutwfc': 12.0, 'ecutrho': 48.0, 'kpoints_distance': 0.8, 'conv_thr_per_atom': 1e-10}
INPUT = """&CONTROL calculation='scf', tprnfor=.true., pseudo_dir='{pseudos}', outdir='out' /
&SYSTEM ibrav=0, nat=2, ntyp=1, ecutwfc=12.0, ecutrho=48.0, occupations='smearing', smearing='mv', degauss=0.015 /
&ELECTRONS conv_thr=2e-10, mixing_beta=0.7 /
ATOMIC_SPECIES
Si 28.0855 {upf}
CELL_PARAMETERS angstrom
{cell}
ATOMIC_POSITIONS angstrom
{positions}
K_POINTS automatic
{mesh} 0 0 0
"""


def make_frames():
    """Return rattled cells of two sizes, so that the lanes have something to balance."""
    rng = np.random.default_rng(11)
    frames = [bulk('Si', 'diamond', a=5.35 + 0.01 * number) for number in range(N_FRAMES)]
    for atoms in frames:
        atoms.positions += rng.normal(scale=0.05, size=(2, 3))
    return frames


def undisturbed(atoms, folder):
    """Return energy (eV) and forces (eV/Å) of a ``pw.x`` run outside AiiDA, from an input written here."""
    folder.mkdir(parents=True, exist_ok=True)
    lengths = 2 * np.pi * np.linalg.norm(atoms.cell.reciprocal()[:], axis=1)
    text = INPUT.format(
        pseudos=PSEUDO.parent,
        upf=PSEUDO.name,
        cell='\n'.join(' '.join(f'{value:.10f}' for value in row) for row in atoms.cell[:]),
        positions='\n'.join('Si ' + ' '.join(f'{value:.10f}' for value in row) for row in atoms.positions),
        mesh=' '.join(str(int(np.ceil(length / DFT['kpoints_distance']))) for length in lengths),
    )
    (folder / 'in').write_text(text)
    run = subprocess.run(['pw.x', '-in', 'in'], cwd=folder, capture_output=True, text=True, timeout=600, check=True)
    energy = float(re.findall(r'^!\s+total energy\s+=\s+(\S+) Ry', run.stdout, re.MULTILINE)[-1])
    rows = re.findall(r'atom\s+\d+ type\s+\d+\s+force =\s+(\S+)\s+(\S+)\s+(\S+)', run.stdout)[:2]
    forces = np.array(rows, dtype=float) * CONSTANTS.ry_to_ev / CONSTANTS.bohr_to_ang
    return energy * CONSTANTS.ry_to_ev, forces


def kill_worker(rng):
    """Kill one worker of the daemon; circus starts another."""
    workers = sorted(int(pid) for pid in get_daemon_client().get_worker_info()['info'])
    os.kill(workers[int(rng.integers(len(workers)))], signal.SIGKILL)


def kill_pw(rng):
    """Kill one running ``pw.x`` of this profile, as soon as there is one."""
    end = time.monotonic() + 120.0
    while time.monotonic() < end:
        for process in psutil.process_iter(['name']):
            try:
                if process.info['name'] == 'pw.x' and process.cwd().startswith(str(FOLDER)):
                    process.kill()
                    return
            except psutil.Error:
                continue
        time.sleep(0.02)
    raise TimeoutError('no pw.x ran within 120 s')


def kill_daemon(rng):
    """Kill circus, workers and broker at once, and start the daemon again as a user would."""
    circus = psutil.Process(get_daemon_client().get_daemon_pid())
    for process in [circus, *circus.children(recursive=True)]:
        process.kill()
    psutil.wait_procs([circus], timeout=30)
    time.sleep(1.0)
    repair = ['verdi', 'process', 'repair']
    subprocess.run(repair, input='y\n', text=True, capture_output=True, timeout=120, check=False)
    start_daemon(workers=2)


KILLS = (kill_worker, kill_pw, kill_daemon)


def finished_labels():
    """Return how many SCFs have ended."""
    filters = {'attributes.process_label': 'PwLabelWorkChain', 'attributes.process_state': 'finished'}
    return orm.QueryBuilder().append(orm.WorkChainNode, filters=filters).count()


def label_under_fire(frames, n_kills, seed):
    """Label ``frames`` and kill something every now and then; return the node and what was killed."""
    rng = np.random.default_rng(seed)
    family = orm.load_group('kills')
    builder = DftLabelWorkChain.get_builder_from_protocol(
        orm.load_code('pw@localhost'),
        dataset=AtomicDatasetData.from_atoms(*frames),
        pseudos=family.get_pseudos(elements=['Si']),
        protocol='fast',
        overrides={'dft': DFT},
    )
    node = submit(builder)
    marks = sorted(rng.choice(np.arange(1, max(len(frames), n_kills + 2) - 1), size=n_kills, replace=False).tolist())
    log, end = [], time.monotonic() + LIMIT_S
    while not node.is_terminated:
        if time.monotonic() > end:
            raise TimeoutError(f'the labelling {node.pk} is not over after {LIMIT_S} s')
        if marks and finished_labels() >= min(marks[0], len(frames) - 3):
            marks.pop(0)
            kill = KILLS[len(log) % len(KILLS)]
            time.sleep(float(rng.uniform(0, 2)))
            kill(rng)
            log.append(kill.__name__)
        time.sleep(0.2)
    return node, log


def gather(facts, n_kills, seed):
    """Run everything; ``facts`` fills up on the way."""
    frames = make_frames()
    node, facts['killed'] = label_under_fire(frames, n_kills, seed)
    facts |= {'exit_status': node.exit_status, 'exit_message': node.exit_message}
    report = node.outputs.report.get_dict()
    facts['report'] = {key: report[key] for key in ('n_labelled', 'n_failed', 'n_not_run', 'n_scf')}
    labels = node.outputs.labels.part_000.get_frames()
    # a frame whose run is killed a second time is set apart, by rule
    apart = node.outputs.quarantine.base.attributes.all if 'quarantine' in node.outputs else {'rows': [], 'reasons': []}
    facts['quarantine'] = dict(zip(apart['rows'], apart['reasons'], strict=True))
    frames = [atoms for row, atoms in enumerate(frames) if row not in apart['rows']]
    given = [np.abs(labels.atoms(row).positions - atoms.positions).max() for row, atoms in enumerate(frames)]
    facts['order_A'] = float(max(given))
    called = [child for child in node.called_descendants if child.process_status != STILLBORN]
    facts['set_aside'] = len(node.called_descendants) - len(called)
    scfs = [child for child in called if child.process_label == 'PwLabelWorkChain']
    runs = [[run for run in scf.called if run in called and isinstance(run, orm.CalcJobNode)] for scf in scfs]
    facts['n_scf_workchains'] = len(scfs)
    facts['labels_bought_twice'] = sum(sum(run.is_finished_ok for run in each) > 1 for each in runs)
    facts['repeated'] = [[run.exit_status for run in each] for each in runs if len(each) > 1]
    errors = []
    for row, atoms in enumerate(frames):
        energy, forces = undisturbed(atoms, FOLDER / 'undisturbed' / str(row))
        errors.append((abs(labels.energy[row] - energy), np.abs(labels.forces[labels.span(row)] - forces).max()))
    facts['energy_eV'], facts['forces_eV_per_A'] = (float(max(column)) for column in zip(*errors, strict=True))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--kills', type=int, default=3)
    parser.add_argument('--seed', type=int, default=1)
    choice = parser.parse_args()
    facts = {}
    set_up_machine('kills', pseudos=[PSEUDO], family='kills', cutoffs=CUTOFFS_RY)
    start_daemon(workers=2)
    began = time.monotonic()
    try:
        gather(facts, choice.kills, choice.seed)
    finally:
        facts['wall_s'] = time.monotonic() - began
        (FOLDER / 'facts.json').write_text(json.dumps(facts, indent=1))
        print(json.dumps(facts, indent=1))
        stop_daemon()


if __name__ == '__main__':
    main()
