"""``aiida-pyacemaker setup`` as a person runs it: in a folder of its own, twice."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from aiida_pyacemaker.cli.machine import PROGRAMS, Program, find_program

PROGRAM = Path(sys.executable).parent / 'aiida-pyacemaker'


def run(folder, *arguments):
    environment = {**os.environ, 'AIIDA_PATH': str(folder), 'COLUMNS': '300'}
    command = [PROGRAM, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def states(output):
    """Return the state of each row by its first word."""
    rows = [line.split() for line in output.splitlines()]
    return {row[0]: row[1] for row in rows if len(row) > 1 and row[1] in ('there', 'made', 'missing', 'refused')}


def test_setup_is_complete_and_idempotent(tmp_path):
    first = run(tmp_path, 'setup', '--profile', 'scratch')
    assert first.returncode == 0, first.stderr
    made = states(first.stdout)
    for what in ('profile', 'computer', 'pyacemaker-task@localhost', 'pyacemaker-lmp@localhost', 'pw@localhost'):
        assert made[what] == 'made', first.stdout
    assert made['pseudopotentials'] == 'missing'
    second = run(tmp_path, 'setup')
    again = states(second.stdout)
    assert 'made' not in again.values(), second.stdout
    assert {what: 'there' for what, state in made.items() if state == 'made'}.items() <= again.items()
    database = next(tmp_path.rglob('database.sqlite'))
    with sqlite3.connect(database) as connection:
        assert connection.execute('PRAGMA journal_mode').fetchone() == ('wal',)
    unknown = run(tmp_path, 'report', '99')
    assert unknown.returncode == 2
    assert 'no Node found with ID<99>' in unknown.stderr


def test_status_without_a_profile_says_what_to_run(tmp_path):
    done = run(tmp_path, 'status', '1')
    assert done.returncode == 1
    assert 'run aiida-pyacemaker setup' in done.stderr


def test_unknown_code_label_is_refused(tmp_path):
    done = run(tmp_path, 'setup', '--executable', 'vasp', '/bin/true')
    assert done.returncode == 2
    assert 'unknown code vasp, allowed: pyacemaker-task' in done.stderr


def test_programs_are_absolute_and_lammps_must_know_pace(tmp_path):
    path, _ = find_program(PROGRAMS[0])
    assert path.is_absolute()
    fake = tmp_path / 'lmp'
    fake.write_text('#!/bin/sh\necho "lj/cut eam"\n')
    fake.chmod(0o755)
    path, why = find_program(Program(label='lmp', executable='lmp', needs='pace'), str(fake))
    assert path is None
    assert "does not know 'pace'" in why
    fake.write_text('#!/bin/sh\necho "lj/cut pace pace/extrapolation"\n')
    assert find_program(Program(label='lmp', executable='lmp', needs='pace'), str(fake))[0] == fake


@pytest.mark.usefixtures('aiida_profile_clean')
def test_code_that_moved_keeps_its_history(aiida_localhost, tmp_path):
    from aiida import orm

    from aiida_pyacemaker.cli.machine import ensure_code

    program = Program(label='tool', executable='tool')
    for name in ('one', 'two'):
        (tmp_path / name).write_text('#!/bin/sh\n')
        (tmp_path / name).chmod(0o755)
    assert ensure_code(program, aiida_localhost).state == 'missing'
    assert ensure_code(program, aiida_localhost, str(tmp_path / 'one')).state == 'made'
    first = orm.load_code('tool@localhost')
    assert first.prepend_text.splitlines() == ['export OMP_NUM_THREADS=1', 'export OPENBLAS_NUM_THREADS=1']
    assert first.with_mpi is False
    assert ensure_code(program, aiida_localhost, str(tmp_path / 'two')).state == 'made'
    assert str(orm.load_code('tool@localhost').filepath_executable) == str(tmp_path / 'two')
    assert orm.load_code(first.pk).label == f'tool-{first.pk}'
