"""A production profile: addresses, and a real PostgreSQL where there is one."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from aiida_pyacemaker.cli.machine import ensure_profile
from aiida_pyacemaker.cli.services import Services, read_services

PROGRAM = Path(sys.executable).parent / 'aiida-pyacemaker'


def test_addresses_become_configurations(monkeypatch):
    monkeypatch.setenv('PGPASSWORD', 'from outside')
    found = read_services('postgresql://me@db.host:5433/aiida', 'amqps://u:p%40ss@mq/site', Path('/data'))
    assert found.storage_config['database_password'] == 'from outside'
    assert (found.storage_config['database_hostname'], found.storage_config['database_port']) == ('db.host', 5433)
    assert found.storage_config['repository_uri'] == 'file:///data'
    broker = found.broker_config
    assert (broker['broker_password'], broker['broker_port'], broker['broker_virtual_host']) == ('p@ss', 5671, 'site')
    assert read_services(None, None, Path('/data')) == Services()


@pytest.mark.parametrize(
    ('postgres', 'rabbitmq', 'words'),
    [
        ('mysql://me@host/base', None, 'mysql in the address, expected postgresql://USER'),
        ('postgresql://me:secret@host', None, r'postgresql://host names no user or no database'),
        (None, 'localhost:5672', 'expected amqp://USER'),
        (None, 'amqp://guest:secret@host:port', 'amqp://host:port: Port could not be cast'),
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(postgres, rabbitmq, words):
    with pytest.raises(ValueError, match=words) as refused:
        read_services(postgres, rabbitmq, Path('/data'))
    assert 'secret' not in str(refused.value)


def test_a_profile_that_exists_keeps_its_services(aiida_profile):
    with pytest.raises(ValueError, match=r'exists with core.sqlite_dos, not core.psql_dos: name another'):
        ensure_profile(aiida_profile.name, postgres='postgresql://me@host/base')


@pytest.fixture
def postgres():
    """A PostgreSQL server of its own on a free port, as its address up to the database."""
    programs = sorted(Path('/usr/lib/postgresql').glob('*/bin/initdb')) or [shutil.which('initdb')]
    if programs[-1] is None:
        pytest.skip('no initdb: install postgresql')
    folder, binaries = Path(tempfile.mkdtemp(prefix='pg')), Path(programs[-1]).parent
    become = ['runuser', '-u', 'postgres', '--'] if os.getuid() == 0 else []  # it refuses to run as root
    if become:
        shutil.chown(folder, 'postgres')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]

    def call(name, *arguments):
        command = [*become, str(binaries / name), *arguments]
        subprocess.run(command, check=True, cwd='/', stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    call('initdb', '-D', f'{folder}/data', '-U', 'aiida', '-A', 'trust', '--no-sync')
    options = f'-p {port} -k {folder} -c fsync=off'
    call('pg_ctl', '-D', f'{folder}/data', '-w', '-o', options, '-l', f'{folder}/log', 'start')
    call('createdb', '-h', str(folder), '-p', str(port), '-U', 'aiida', '-E', 'UTF8', '-T', 'template0', 'site')
    yield f'postgresql://aiida@127.0.0.1:{port}'
    call('pg_ctl', '-D', f'{folder}/data', '-m', 'immediate', 'stop')
    shutil.rmtree(folder)


def test_a_profile_is_made_on_a_server(postgres, tmp_path):
    environment = {**os.environ, 'AIIDA_PATH': str(tmp_path), 'COLUMNS': '300'}

    def setup(*addresses):
        command = [PROGRAM, 'setup', '-p', 'site', *addresses]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    wrong = setup('--postgres', 'postgresql://aiida@127.0.0.1:1/site')
    assert wrong.returncode == 1 and 'Is the server running' in wrong.stderr and 'Traceback' not in wrong.stderr
    made = setup('--postgres', f'{postgres}/site', '--rabbitmq', 'amqp://guest@127.0.0.1')
    assert made.returncode == 0, made.stderr
    row = next(line for line in made.stdout.splitlines() if line.split()[:1] == ['profile'])
    assert row.split()[1] == 'made' and 'core.psql_dos, broker core.rabbitmq' in row
