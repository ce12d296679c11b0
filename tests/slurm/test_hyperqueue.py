"""Labels through a real HyperQueue server with one worker; skipped where `hq` or `aiida-hyperqueue` is missing."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from aiida_pyacemaker.workflows.dft.spending import count_cores

READY_S = 20


@pytest.fixture
def hyperqueue(monkeypatch, tmp_path):
    """A server and a worker of our own, started and ended here."""
    pytest.importorskip('aiida_hyperqueue', reason="no aiida-hyperqueue: pip install 'aiida-pyacemaker[hyperqueue]'")
    hq = shutil.which('hq')
    if hq is None:
        pytest.skip('no `hq` on PATH: https://github.com/It4innovations/hyperqueue/releases')
    monkeypatch.setenv('HQ_SERVER_DIR', str(tmp_path))
    quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
    processes = [subprocess.Popen([hq, 'server', 'start'], **quiet)]
    try:
        deadline = time.monotonic() + READY_S
        while subprocess.run([hq, 'job', 'list', '--output-mode=json'], check=False, **quiet).returncode:
            assert time.monotonic() < deadline, 'the server does not start'
            time.sleep(0.2)
        processes.append(subprocess.Popen([hq, 'worker', 'start', f'--cpus={os.cpu_count()}'], **quiet))
        yield Path(hq)
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(timeout=20)


@pytest.mark.dft
def test_labels_come_through_the_server(hyperqueue, aiida_computer, label_through):
    computer = aiida_computer(
        label='hyperqueue',
        transport_type='core.local',
        scheduler_type='hyperqueue',
        configuration_kwargs={'safe_interval': 0.0, 'use_login_shell': False},
    )
    computer.set_minimum_job_poll_interval(0.5)
    runs = label_through(computer, resources={'num_cpus': 1})
    assert all(run.computer.scheduler_type == 'hyperqueue' for run in runs)


def test_cores_are_counted_as_each_scheduler_says_them():
    """Of HyperQueue what it is told, whatever of machines comes with it by default."""
    assert count_cores({'num_cpus': 6, 'num_machines': 1, 'num_mpiprocs_per_machine': 1}) == 6
    assert count_cores({'num_machines': 2, 'num_mpiprocs_per_machine': 8, 'num_cores_per_mpiproc': 3}) == 48
    assert count_cores({'tot_num_mpiprocs': 12, 'parallel_env': 'mpi'}) == 12
    assert count_cores(None) == 1
