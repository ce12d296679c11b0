"""Fixtures of all tests: a temporary profile, this machine as computer, the real programs as codes."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

import pytest
from ase.build import bulk
from sqlalchemy import event
from sqlalchemy.engine import Engine

pytest_plugins = ['aiida.tools.pytest_fixtures']

ROOT = Path(__file__).parents[1]
TEACHERS = ROOT / 'examples' / 'silicon' / 'teachers'


@event.listens_for(Engine, 'connect')
def wait_for_no_disk(connection, _):
    """A profile of a test need not survive a power cut: waiting for the disk at each commit took a fifth of a test."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute('PRAGMA synchronous = OFF')


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Whatever a test asks of an engine in this process, programs of later ones start with one thread and its bits."""
    monkeypatch.setenv('OMP_NUM_THREADS', os.environ['OMP_NUM_THREADS'])


def find_program(name):
    """Return the path of a program that was installed beside this interpreter, else of one on the search path."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f'{name} is neither beside {sys.executable} nor on PATH: install the package first')
    return found


@pytest.fixture
def localhost(aiida_localhost):
    """This machine, without a waiting time between connections or polls."""
    aiida_localhost.configure(safe_interval=0.0, use_login_shell=False)
    aiida_localhost.set_minimum_job_poll_interval(0.1)
    return aiida_localhost


@pytest.fixture
def task_code(aiida_code_installed, localhost):
    """The `pyacemaker-task` program."""
    return aiida_code_installed(
        label='pyacemaker-task', computer=localhost, filepath_executable=find_program('pyacemaker-task')
    )


@pytest.fixture
def lammps_code(aiida_code_installed, localhost):
    """The `pyacemaker-lmp` program."""
    return aiida_code_installed(
        label='pyacemaker-lmp',
        computer=localhost,
        default_calc_job_plugin='pyacemaker.lammps',
        filepath_executable=find_program('pyacemaker-lmp'),
    )


@pytest.fixture
def pacemaker_code(aiida_code_installed, localhost):
    """The `pacemaker` program; what needs it is skipped where there is none, for no registry carries it."""
    path = os.environ.get('PACEMAKER') or shutil.which('pacemaker')
    if path is None:
        pytest.skip('no `pacemaker` on PATH: install it from its own repository, or set PACEMAKER=/path/to/pacemaker')
    return aiida_code_installed(
        label='pacemaker', computer=localhost, default_calc_job_plugin='pyacemaker.pacemaker', filepath_executable=path
    )


@pytest.fixture
def pw_code(aiida_code_installed, localhost):
    """The `pw.x` program, serial."""
    return aiida_code_installed(
        label='pw',
        computer=localhost,
        default_calc_job_plugin='quantumespresso.pw',
        filepath_executable=find_program('pw.x'),
        with_mpi=False,
        prepend_text='export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1',
    )


@pytest.fixture
def ld1_code(aiida_code_installed, localhost):
    """The `ld1.x` program, serial."""
    return aiida_code_installed(
        label='ld1',
        computer=localhost,
        default_calc_job_plugin='pyacemaker.pseudo_hydrogen',
        filepath_executable=find_program('ld1.x'),
        with_mpi=False,
    )


@pytest.fixture
def serial_options():
    """Scheduler options of a short serial job."""
    return {
        'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1},
        'withmpi': False,
        'max_wallclock_seconds': 600,
    }


@pytest.fixture(scope='session')
def teacher_files():
    """The three members of the silicon committee that the example ships."""
    files = sorted(TEACHERS.glob('*.model'))
    assert files, f'no teacher in {TEACHERS}: run examples/silicon/train_teachers.py'
    return files


@pytest.fixture
def teacher(teacher_files):
    """The silicon committee as a stored node."""
    from aiida_pyacemaker.data.teacher import TeacherModelData

    return TeacherModelData.from_files(teacher_files, source='examples/silicon', licence='MIT').store()


@pytest.fixture
def silicon_prototypes():
    """Diamond silicon, primitive cell, as a stored dataset."""
    from aiida_pyacemaker.data.dataset import AtomicDatasetData

    return AtomicDatasetData.from_atoms(bulk('Si', 'diamond', a=5.43)).store()


@pytest.fixture
def core_labels(teacher_files):
    """Rattled cells whose first atom is a core with forces of a single member: a theory other than the committee's."""
    import numpy as np

    from aiida_pyacemaker.data.dataset import AtomicDatasetData
    from aiida_pyacemaker.science.frames import HAS_FORCES, SHELL_BUFFER, SHELL_CORE, Frames
    from aiida_pyacemaker.science.teacher import label_frames, load_teacher

    rng = np.random.default_rng(0)
    cells = [bulk('Si', 'diamond', a=5.5, cubic=True) for _ in range(3)]
    for atoms in cells:
        atoms.positions += rng.normal(scale=0.15, size=atoms.positions.shape)
    frames = label_frames(load_teacher(teacher_files[:1]), Frames.from_atoms(cells))
    core = np.arange(frames.n_atoms) % 8 == 0
    frames = frames.with_columns(
        label_mask=np.full(3, HAS_FORCES, dtype=np.uint8),
        force_weight=core.astype(float),
        shell=np.where(core, SHELL_CORE, SHELL_BUFFER).astype(np.int8),
        theories=({'kind': 'dft', 'code': 'one member of the committee'},),
    )
    return AtomicDatasetData.from_frames(frames).store()


TINY_DISTILLATION = {
    'distillation': {
        'n_selected': 20,
        'uncertainty_threshold': 1.0,
        'pool': {
            'n_strained': 12,
            'n_rattled': 14,
            'n_vacancy': 2,
            'n_md_frames': 4,
            'md_steps_between_frames': 2,
            'n_dimers': 12,
            'max_atoms': 16,
        },
    },
    'fit': {'number_of_functions_per_element': 25, 'cutoff': 4.5},
}


@pytest.fixture
def tiny_distillation(task_code, teacher, silicon_prototypes):
    """Return a function that makes the builder of a distillation of seconds, given overrides by port."""
    from aiida import orm

    from aiida_pyacemaker.workflows.distillation import DistillationWorkChain

    def build(**overrides):
        return DistillationWorkChain.get_builder_from_protocol(
            task_code,
            teacher=teacher,
            prototypes=silicon_prototypes,
            seed=orm.Int(7),
            protocol='fast',
            overrides={**TINY_DISTILLATION, **overrides},
            options={'max_wallclock_seconds': 600},
        )

    return build


@pytest.fixture(scope='session')
def finished():
    """Return a dictionary of what was run once in this session: name -> pk."""
    return {}


@pytest.fixture
def distilled(tiny_distillation, finished):
    """A finished tiny distillation, run once a session."""
    from aiida import orm
    from aiida.engine import run_get_node

    if not orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': finished.get('distilled', -1)}).count():
        _, node = run_get_node(tiny_distillation())
        assert node.is_finished_ok, node.exit_message
        finished['distilled'] = node.pk
    return orm.load_node(finished['distilled'])


def find_stock_lmp():
    """Return a LAMMPS with ML-PACE: of the environment variable PYACEMAKER_LMP, else on the search path, else None."""
    folders = os.environ.get('PATH', '').split(os.pathsep)
    given = os.environ.get('PYACEMAKER_LMP')
    for path in [given] if given else [shutil.which('lmp', path=folder) for folder in folders]:
        if path is not None:
            listed = subprocess.run([path, '-h'], capture_output=True, text=True, timeout=60, check=False).stdout
            if 'pace/extrapolation' in listed:
                return path
    return None


@pytest.fixture
def stock_lmp_code(aiida_code_installed, localhost):
    """A LAMMPS that has ML-PACE itself; a test that needs it is skipped where there is none."""
    program = find_stock_lmp()
    if program is None:
        pytest.skip('no lmp with pace/extrapolation on PATH or in PYACEMAKER_LMP')
    return aiida_code_installed(
        label='stock-lmp',
        computer=localhost,
        default_calc_job_plugin='pyacemaker.lammps',
        filepath_executable=program,
    )
