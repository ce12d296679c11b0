"""Frames that give an SCF trouble, through our labelling and through stock ``PwBaseWorkChain``, with the real ``pw.x``.

    python benchmarks/dft_nasty.py [--frames 30] [--work FOLDER]

It makes a profile of its own in FOLDER (default: a temporary one), labels the frames, runs the same inputs through
``PwBaseWorkChain`` as it is, and prints how many of each kind were labelled at once, recovered, kept out with a reason,
or lost: neither a label nor a reason. For the stock workflow a failed frame has an exit code and no label.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

FOLDER = Path('/usr/share/espresso/pseudo')
PSEUDOS = [FOLDER / name for name in ('Si.pz-vbc.UPF', 'H.pz-vbc.UPF', 'Fe.pz-nd-rrkjus.UPF', 'Al.pz-vbc.UPF')]
DFT = {
    'ecutwfc': 14.0,
    'ecutrho': 110.0,
    'kpoints_distance': 0.9,
    'conv_thr_per_atom': 1e-8,
    'electron_maxstep': 25,
    'vacuum': 2.5,
    'reuse_labels': False,
}
LIMIT_S = 5400.0


def make_frames(count: int):
    """Return ``count`` frames and the name of the kind of each; all random choices follow from the number."""
    import numpy as np
    from ase import Atoms
    from ase.build import bulk, molecule

    def iron(rng):
        return bulk('Fe', 'bcc', a=float(rng.uniform(2.5, 3.2)), cubic=True), 0.2

    def dimer(rng):
        return Atoms('Si2', positions=[[0, 0, 0], [0, 0, float(rng.uniform(3, 6))]]), 0.0

    def slab(rng):
        atoms = Atoms('Si2H', positions=[[0, 0, 0], [2.2, 1.2, 0.8], [2.2, 1.2, 2.3]], cell=[3.84, 3.84, 10.0])
        atoms.pbc = [True, True, False]
        return atoms, 0.15

    def overlap(rng):
        atoms = molecule('SiH4')
        atoms.positions *= float(rng.uniform(0.25, 0.7))
        return atoms, 0.0

    def aluminium(rng):
        return bulk('Al', 'fcc', a=4.05, cubic=True), 0.5

    def radical(rng):
        return molecule('SiH4')[[0, 1, 2, 3]], 0.2

    makers = (iron, dimer, slab, overlap, aluminium, radical)
    frames, kinds = [], []
    for number in range(count):
        rng, make = np.random.default_rng(number), makers[number % len(makers)]
        atoms, amplitude = make(rng)
        atoms.positions += rng.normal(scale=amplitude, size=atoms.positions.shape)
        frames.append(atoms)
        kinds.append(make.__name__)
    return frames, kinds


def wait(nodes) -> None:
    """Wait until all ``nodes`` have ended."""
    end = time.monotonic() + LIMIT_S
    while not all(node.is_terminated for node in nodes):
        if time.monotonic() > end:
            raise TimeoutError(f'not over after {LIMIT_S} s')
        time.sleep(1.0)


def label(frames):
    """Return what became of each frame in our labelling, the SCF runs it took, and the pks of the workflows."""
    from aiida import orm
    from aiida.engine import submit

    from aiida_pyacemaker.data.dataset import AtomicDatasetData
    from aiida_pyacemaker.workflows.dft.label_dft import DftLabelWorkChain

    builder = DftLabelWorkChain.get_builder_from_protocol(
        orm.load_code('pw@localhost'),
        dataset=AtomicDatasetData.from_atoms(*frames),
        pseudos=orm.load_group('nasty').get_pseudos(elements=['Al', 'Fe', 'H', 'Si']),
        overrides={'dft': DFT},
    )
    node = submit(builder)
    wait([node])
    report = node.outputs.report.get_dict()
    reasons = {row['row']: row['reason'] for row in report['failed']}
    ends = []
    for row in range(len(frames)):
        pk = report['pks'].get(str(row))
        runs = len([run for run in orm.load_node(pk).called if isinstance(run, orm.CalcJobNode)]) if pk else 0
        if row in report['labelled']:
            ends.append('at once' if runs == 1 else 'recovered')
        else:
            ends.append('kept out' if reasons.get(row) else 'lost')
    return ends, report


def run_stock(report):
    """Return what became of each frame that our labelling sent, in ``PwBaseWorkChain`` with the same inputs."""
    from aiida import orm
    from aiida.engine import submit
    from aiida_quantumespresso.workflows.pw.base import PwBaseWorkChain

    nodes = {}
    for row, pk in report['pks'].items():
        ours = orm.load_node(pk).inputs
        builder = PwBaseWorkChain.get_builder()
        for name in ('code', 'structure', 'parameters', 'settings'):
            if name in ours.pw:
                builder.pw[name] = ours.pw[name]
        builder.pw.pseudos = dict(ours.pw.pseudos)
        builder.kpoints = ours.kpoints
        options = {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}, 'max_wallclock_seconds': 3600}
        builder.pw.metadata.options = {**options, 'withmpi': False}
        nodes[int(row)] = submit(builder)
        wait(list(nodes.values()))  # one at a time: the machine has few cores
    runs = {row: len([run for run in node.called if isinstance(run, orm.CalcJobNode)]) for row, node in nodes.items()}
    return {
        row: ('at once' if runs[row] == 1 else 'recovered') if node.is_finished_ok else f'exit {node.exit_status}'
        for row, node in nodes.items()
    }, sum(runs.values())


def main() -> None:
    """Set up, run both, print one line a kind and the sums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, default=30)
    parser.add_argument('--work', type=Path, help='folder of the profile')
    choice = parser.parse_args()
    folder = (choice.work or Path(tempfile.mkdtemp(prefix='dft_nasty_'))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    programs = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    os.environ |= {'AIIDA_PATH': str(folder), 'PATH': programs, 'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1'}
    from aiida_pyacemaker.cli.daemon import start_daemon, stop_daemon
    from aiida_pyacemaker.cli.setup import set_up_machine

    set_up_machine('nasty', pseudos=PSEUDOS, family='nasty', cutoffs=(14.0, 110.0))
    start_daemon(workers=2)
    try:
        frames, kinds = make_frames(choice.frames)
        ours, report = label(frames)
        for row in report['failed']:
            print(f'kept out: frame {row["row"]} ({kinds[row["row"]]}): {row["reason"]}', flush=True)
        stock, stock_runs = run_stock(report)
        for kind in dict.fromkeys(kinds):
            rows = [row for row, name in enumerate(kinds) if name == kind]
            print(f'{kind:10} ours: {dict(Counter(ours[row] for row in rows))}', end='  ')
            print(f'stock: {dict(Counter(stock.get(row, "not sent") for row in rows))}')
        print(f'ours  {dict(Counter(ours))}, {report["n_scf"]} SCF runs')
        print(f'stock {dict(Counter(stock.values()))}, {stock_runs} SCF runs')
    finally:
        stop_daemon()


if __name__ == '__main__':
    main()
