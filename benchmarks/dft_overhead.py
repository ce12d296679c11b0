"""What the labelling factory adds to the time and the database that DFT itself takes, on this machine.

    python benchmarks/dft_overhead.py [--labels 40] [--lanes 2] [--stub 40 400] [--work FOLDER]

It makes a profile of its own in FOLDER (default: a temporary one), starts a daemon, labels rattled Si2 cells with the
real ``pw.x``, then with a stub that hands out the files of a finished run at once, and prints, an SCF:
overhead = (lanes x wall - sum of pw.x wall) / labels, the CPU time of the daemon's workers (on a machine that others
use as well, that is what can be compared), and by how much database and repository grew.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import stat
import sys
import tempfile
import time
from pathlib import Path

PSEUDOS = [Path('/usr/share/espresso/pseudo/Si.pz-vbc.UPF')]
LIMIT_S = 7200.0
DFT = {
    'ecutwfc': 12.0,
    'ecutrho': 48.0,
    'kpoints_distance': 0.6,
    'reuse_labels': False,
}
STUB = """#!/bin/bash
mkdir -p out/aiida.save
cp {folder}/data-file-schema.xml out/aiida.save/
cat {folder}/aiida.out
"""


def make_dataset(count: int, seed: int):
    """Return ``count`` rattled Si2 cells as a stored node."""
    import numpy as np
    from ase.build import bulk

    from aiida_pyacemaker.data.dataset import AtomicDatasetData

    rng = np.random.default_rng(seed)
    frames = [bulk('Si', 'diamond', a=5.43) for _ in range(count)]
    for atoms in frames:
        atoms.positions += rng.normal(scale=0.08, size=(2, 3))
    return AtomicDatasetData.from_atoms(*frames).store()


def label(code, dataset, lanes: int):
    """Label ``dataset`` through the daemon; return the finished node and the wall time, s."""
    from aiida import orm
    from aiida.engine import submit

    from aiida_pyacemaker.workflows.dft.label_dft import DftLabelWorkChain

    family = orm.load_group('bench')
    builder = DftLabelWorkChain.get_builder_from_protocol(
        code,
        dataset=dataset,
        pseudos=family.get_pseudos(elements=['Si']),
        protocol='fast',
        overrides={'dft': {**DFT, 'max_concurrent': lanes}},
    )
    began = time.monotonic()
    node = submit(builder)
    while not node.is_terminated:
        if time.monotonic() - began > LIMIT_S:
            raise TimeoutError(f'the labelling {node.pk} is not over after {LIMIT_S} s')
        time.sleep(0.5)
    if not node.is_finished_ok:
        raise RuntimeError(f'the labelling {node.pk} ended with {node.exit_status}: {node.exit_message}')
    return node, time.monotonic() - began


def worker_seconds() -> float:
    """Return the CPU seconds that the workers of the daemon have used: what a busy machine does not change."""
    import psutil
    from aiida.engine.daemon.client import get_daemon_client

    workers = get_daemon_client().get_worker_info()['info']
    return sum(sum(psutil.Process(int(pid)).cpu_times()[:2]) for pid in workers)


def disk_bytes() -> tuple[int, int]:
    """Return the bytes of the database, without its journal, and of the repository."""
    from aiida.manage.configuration import get_profile

    folder = Path(get_profile().storage_config['filepath'])
    connection = sqlite3.connect(folder / 'database.sqlite')
    database = 1
    for pragma in ('page_count', 'page_size'):
        database *= connection.execute(f'PRAGMA {pragma}').fetchone()[0]
    connection.close()
    return database, sum(path.stat().st_size for path in (folder / 'container').rglob('*') if path.is_file())


def measure(code, count: int, lanes: int, name: str) -> tuple[float, float]:
    """Label ``count`` frames and print the row of the table; return overhead and CPU of the workers a label, s."""
    from aiida import orm

    dataset = make_dataset(count, seed=count)
    nodes, before, used = orm.QueryBuilder().append(orm.Node).count(), disk_bytes(), worker_seconds()
    node, wall = label(code, dataset, lanes)
    runs = [child for child in node.called_descendants if isinstance(child, orm.CalcJobNode)]
    spent = 0.0
    if name == 'pw.x':
        spent = sum(run.outputs.output_parameters['wall_time_seconds'] for run in runs)
    overhead = (lanes * wall - spent) / count
    used = (worker_seconds() - used) / count
    new = (orm.QueryBuilder().append(orm.Node).count() - nodes) / count
    grown = [(now - then) / count / 1000 for now, then in zip(disk_bytes(), before, strict=True)]
    print(
        f'{name:8} {count:6d} {lanes:5d} {wall:9.1f} {spent:9.1f} {overhead:12.2f} {used:8.2f} {new:11.1f} '
        f'{grown[0]:12.1f} {grown[1]:14.1f}',
        flush=True,
    )
    return overhead, used


def make_stub(folder: Path, lanes: int):
    """Return a code whose program hands out at once what one finished ``pw.x`` run left."""
    from aiida import orm

    folder.mkdir(exist_ok=True)
    node, _ = label(orm.load_code('pw@localhost'), make_dataset(1, seed=0), lanes)
    run = next(child for child in node.called_descendants if isinstance(child, orm.CalcJobNode))
    for name in ('aiida.out', 'data-file-schema.xml'):
        (folder / name).write_text(run.outputs.retrieved.base.repository.get_object_content(name))
    script = folder / 'stub.sh'
    script.write_text(STUB.format(folder=folder))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    code = orm.InstalledCode(
        label='stub',
        computer=orm.load_computer('localhost'),
        filepath_executable=str(script),
        default_calc_job_plugin='quantumespresso.pw',
        with_mpi=False,
    )
    return code.store()


def main() -> None:
    """Set up, measure, print, stop the daemon."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--labels', type=int, default=40, help='frames through the real pw.x; 0: none')
    parser.add_argument('--stub', type=int, nargs='*', default=[40, 400], help='frames through the stub')
    parser.add_argument('--lanes', type=int, default=2)
    parser.add_argument('--work', type=Path, help='folder of the profile')
    choice = parser.parse_args()
    folder = (choice.work or Path(tempfile.mkdtemp(prefix='dft_overhead_'))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    programs = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    os.environ |= {'AIIDA_PATH': str(folder), 'PATH': programs, 'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1'}
    from aiida import orm

    from aiida_pyacemaker.cli.daemon import start_daemon, stop_daemon
    from aiida_pyacemaker.cli.setup import set_up_machine

    set_up_machine('bench', pseudos=PSEUDOS, family='bench', cutoffs=(12.0, 48.0))
    start_daemon(workers=2)
    try:
        print('                                           a label:')
        print('program  labels lanes    wall/s    pw.x/s   overhead/s    CPU/s       nodes  database/kB  repository/kB')
        if choice.labels:
            measure(orm.load_code('pw@localhost'), choice.labels, choice.lanes, 'pw.x')
        if choice.stub:
            stub = make_stub(folder / 'stub', choice.lanes)
            costs = [measure(stub, count, choice.lanes, 'stub') for count in choice.stub]
            wall, used = (last / first for first, last in zip(costs[0], costs[-1], strict=True))
            print(f'cost a label at {choice.stub[-1]} / at {choice.stub[0]} frames: {wall:.2f}, CPU {used:.2f}')
    finally:
        stop_daemon()


if __name__ == '__main__':
    main()
