"""Labels through a real Slurm of one node on loopback, with daemons of its own; skipped where it is not installed.

Four labels; `PYACEMAKER_SLURM_LABELS=20` takes more.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

PROGRAMS = ('munged', 'slurmctld', 'slurmd', 'sbatch', 'squeue', 'sinfo')
READY_S = 30
CONFIGURATION = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_min_interval=100000
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def free_port():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


def start_daemons(folder):
    """Start munged, slurmctld and slurmd in the foreground of processes of ours; return these."""
    key = folder / 'munge' / 'key'
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    munge = [f'--{name}-file={folder}/munge/{name}' for name in ('key', 'pid', 'log', 'seed')]
    commands = [
        ['munged', '--foreground', '--force', f'--socket={folder}/munge/socket', *munge],
        ['slurmctld', '-D', '-f', f'{folder}/slurm.conf'],
        ['slurmd', '-D', '-f', f'{folder}/slurm.conf'],
    ]
    processes = []
    for command in commands:
        quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
        processes.append(subprocess.Popen(command, **quiet))
        time.sleep(0.5)
    return processes


def wait_until_idle(folder):
    """Return when the node takes jobs; skip the test, with the last lines of the logs, where it never does."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        said = subprocess.run(['sinfo', '-h', '-o', '%T'], capture_output=True, text=True, check=False).stdout
        if said.strip() == 'idle':
            return
        time.sleep(0.5)
    logs = [path.read_text().splitlines()[-2:] for path in sorted(folder.glob('slurm*.log'))]
    pytest.skip(f'Slurm does not start here: {said.strip() or "sinfo says nothing"}; {logs}')


@pytest.fixture
def slurm(monkeypatch):
    """A Slurm of one node, started and ended here."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f'no {", ".join(missing)}: apt-get install slurmctld slurmd munge')
    if os.getuid() != 0:
        pytest.skip('slurmd starts jobs for others: only root can run it')
    folder = Path(tempfile.mkdtemp(prefix='slurm'))
    folder.chmod(0o755)
    for name in ('munge', 'state', 'spool'):
        (folder / name).mkdir(mode=0o755)
    ports = {'controller': free_port(), 'node': free_port()}
    host = socket.gethostname().split('.')[0]
    text = CONFIGURATION.format(folder=folder, cpus=os.cpu_count(), host=host, **ports)
    (folder / 'slurm.conf').write_text(text)
    monkeypatch.setenv('SLURM_CONF', f'{folder}/slurm.conf')
    processes = start_daemons(folder)
    try:
        wait_until_idle(folder)
        yield folder
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(timeout=20)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(slurm, aiida_computer):
    """The computer of that Slurm, by the local transport."""
    computer = aiida_computer(
        label='cluster',
        transport_type='core.local',
        scheduler_type='core.slurm',
        configuration_kwargs={'safe_interval': 0.0, 'use_login_shell': False},
    )
    computer.set_minimum_job_poll_interval(0.5)
    computer.set_default_mpiprocs_per_machine(1)
    return computer


@pytest.mark.dft
def test_labels_come_through_the_queue(cluster, label_through):
    resources = {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
    runs = label_through(cluster, resources=resources, queue_name='all')
    assert all('slurm' in run.computer.scheduler_type for run in runs)
