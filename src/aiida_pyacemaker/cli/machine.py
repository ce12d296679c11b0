"""What a machine needs before anything runs: a profile, the computer ``localhost``, the codes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .services import Services, read_services

DEFAULT_PROFILE = 'pyacemaker'
PREPEND_TEXT = 'export OMP_NUM_THREADS=1\nexport OPENBLAS_NUM_THREADS=1'
DAEMON_TIMEOUT_S = 20

State = Literal['there', 'made', 'missing', 'refused']


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One row of the set-up table: what, whether it is there, the detail, and what a person should do about it."""

    what: str
    state: State
    detail: str
    remedy: str = ''


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program that may become an AiiDA code; ``needs`` is a word its ``-h`` must print."""

    label: str
    executable: str
    plugin: str | None = None
    remedy: str = ''
    needs: str | None = None


PROGRAMS = (
    Program(label='pyacemaker-task', executable='pyacemaker-task', remedy='pip install aiida-pyacemaker[mace]'),
    Program(
        label='pyacemaker-lmp',
        executable='pyacemaker-lmp',
        plugin='pyacemaker.lammps',
        remedy='pip install aiida-pyacemaker[lammps]',
    ),
    Program(
        label='pw',
        executable='pw.x',
        plugin='quantumespresso.pw',
        remedy='apt-get install quantum-espresso, or conda install -c conda-forge qe; without it there is no DFT',
    ),
    Program(
        label='lmp',
        executable='lmp',
        plugin='pyacemaker.lammps',
        remedy='optional: a LAMMPS built with ML-PACE is faster and parallel; pyacemaker-lmp serves until then',
        needs='pace',
    ),
    Program(
        label='pacemaker',
        executable='pacemaker',
        plugin='pyacemaker.pacemaker',
        remedy='optional: fits nonlinear ACE (trainer.pacemaker), in an environment of its own: docs/pacemaker.md',
        needs='--no-predict',
    ),
    Program(
        label='ld1',
        executable='ld1.x',
        plugin='pyacemaker.pseudo_hydrogen',
        remedy='optional: makes pseudo-hydrogens; it comes with quantum-espresso',
    ),
)


def ensure_profile(name: str | None, *, postgres: str | None = None, rabbitmq: str | None = None) -> Finding:
    """Load profile ``name`` (else the default one, else ``pyacemaker``); make it when it is new.

    A new one uses the services at the addresses ``postgres`` and ``rabbitmq``, or none. ``ValueError`` when an address
    is none, or belongs to a profile that exists with another kind of service.
    """
    from aiida.manage.configuration import create_profile, get_config, load_profile
    from aiida.plugins import BrokerFactory

    config = get_config(create=True)
    name = name or config.default_profile_name or DEFAULT_PROFILE
    services = read_services(postgres, rabbitmq, Path(config.dirpath) / 'repository' / name)
    created = name not in config.profile_names
    if not created:
        _check_services(config.get_profile(name), services)
    else:
        create_profile(
            config,
            name=name,
            email='aiida@localhost',
            storage_backend=services.storage,
            storage_config=services.storage_config or {},
            broker_backend=services.broker,
            broker_config=services.broker_config or BrokerFactory(services.broker).get_default_config(),
        )
        config.set_option('runner.poll.interval', 1, scope=name)
        if config.default_profile_name in (None, name):
            config.set_default_profile(name, overwrite=True)
    if (config.get_option('daemon.timeout', scope=name) or 0) < DAEMON_TIMEOUT_S:
        config.set_option('daemon.timeout', DAEMON_TIMEOUT_S, scope=name)
    config.store()
    journal = ensure_wal(config.get_profile(name))
    load_profile(name, allow_switch=True)
    profile = config.get_profile(name)
    broker = profile.process_control_backend
    detail = f'{name}: {profile.storage_backend}{journal}, broker {broker or "none"}, in {config.dirpath}'
    remedy = '' if broker else 'no daemon without a broker: verdi profile configure-broker core.zeromq'
    return Finding(what='profile', state='made' if created else 'there', detail=detail, remedy=remedy)


def _check_services(profile: Any, services: Services) -> None:
    """Raise ``ValueError`` when an address was given of a kind that ``profile`` does not have."""
    for given, wanted, found in (
        (services.storage_config, services.storage, profile.storage_backend),
        (services.broker_config, services.broker, profile.process_control_backend),
    ):
        if given and wanted != found:
            raise ValueError(f'profile {profile.name} exists with {found}, not {wanted}: name another --profile')


def ensure_wal(profile: Any) -> str:
    """Switch an SQLite profile to write-ahead logging (it stays so), and return words on its journal."""
    if profile.storage_backend != 'core.sqlite_dos':
        return ''
    database = Path(profile.storage_config['filepath']) / 'database.sqlite'
    connection = sqlite3.connect(database, timeout=5)
    try:
        mode = connection.execute('PRAGMA journal_mode=WAL').fetchone()[0]
    except sqlite3.OperationalError:
        return ' (busy: stop the daemon and run setup again for write-ahead logging)'
    finally:
        connection.close()
    return f' ({mode.upper()})'


def ensure_computer() -> tuple[Any, Finding]:
    """Return the computer ``localhost``: local transport, direct scheduler, no login shell, no waiting."""
    from aiida import orm
    from aiida.common.exceptions import NotExistent
    from aiida.manage.configuration import get_config, get_profile

    state: State = 'there'
    try:
        computer = orm.load_computer('localhost')
    except NotExistent:
        scratch = Path(get_config().dirpath) / 'scratch' / get_profile().name
        computer = orm.Computer(
            label='localhost',
            hostname='localhost',
            description='This machine.',
            transport_type='core.local',
            scheduler_type='core.direct',
            workdir=str(scratch),
        ).store()
        computer.set_minimum_job_poll_interval(0.25)
        computer.set_default_mpiprocs_per_machine(1)
        state = 'made'
    if not computer.is_configured:
        computer.configure(safe_interval=0, use_login_shell=False)
    detail = f'localhost: {computer.transport_type}, {computer.scheduler_type}, work in {computer.get_workdir()}'
    return computer, Finding(what='computer', state=state, detail=detail)


def find_program(program: Program, given: str | None = None) -> tuple[Path | None, str]:
    """Return the absolute path of ``program`` (beside this Python first, then on ``PATH``), or why there is none."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get('PATH', '')])
    found = shutil.which(given or program.executable, path=places)
    if found is None:
        return None, f'{given or program.executable} not found on PATH'
    path = Path(found).absolute()
    if program.needs:
        text = subprocess.run([path, '-h'], capture_output=True, text=True, timeout=60, check=False).stdout
        if program.needs not in text.split():
            return None, f'{path} is there, but its help does not know {program.needs!r}'
    return path, ''


def ensure_code(program: Program, computer: Any, given: str | None = None) -> Finding:
    """Make ``label@localhost`` of a program that is here; one whose file moved keeps its history, renamed."""
    from aiida import orm
    from aiida.common.exceptions import NotExistent

    path, why_not = find_program(program, given)
    label = f'{program.label}@{computer.label}'
    if path is None:
        return Finding(what=label, state='missing', detail=why_not, remedy=program.remedy)
    try:
        code = orm.load_code(label)
    except NotExistent:
        code = None
    if code is not None and Path(str(code.filepath_executable)) == path:
        return Finding(what=label, state='there', detail=str(path))
    moved = ''
    if code is not None:
        moved = f' (was {code.filepath_executable}, now {program.label}-{code.pk})'
        code.label = f'{program.label}-{code.pk}'
    orm.InstalledCode(
        label=program.label,
        computer=computer,
        filepath_executable=str(path),
        default_calc_job_plugin=program.plugin,
        prepend_text=PREPEND_TEXT,
        with_mpi=False,
    ).store()
    return Finding(what=label, state='made', detail=f'{path}{moved}')
