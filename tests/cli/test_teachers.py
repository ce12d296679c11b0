"""Teachers on the command line."""

import pytest
from aiida import orm
from click.testing import CliRunner

from aiida_pyacemaker.cli import main


def run(*words: str):
    return CliRunner().invoke(main, ['teacher', *map(str, words)])


def test_the_list_tells_licences_and_plug_ins():
    rows = {line.split()[0]: line for line in run('list').output.splitlines()}
    assert 'MIT' in rows['medium-mpa-0'] and 'academic' in rows['small-omat-0'] and 'academic' in rows['off23-small']
    assert 'plug-in' in rows['chgnet'] and 'plug-in' in rows['ase']


def test_a_committee_is_described_and_becomes_a_node(teacher_files, aiida_profile_clean):
    info = run('info', *teacher_files)
    assert info.exit_code == 0, info.output
    for words in ('mace, 3 members', 'H Si', '4.30 Å', 'trains    on DFT', 'licence of this teacher is not'):
        assert words in info.output
    done = run('install', *teacher_files, '--licence', 'MIT', '-p', aiida_profile_clean.name)
    assert done.exit_code == 0, done.output
    node = orm.load_node(int(done.output.split()[-1]))
    assert node.n_members == 3 and node.licence == 'MIT' and 'silicon_0.model' in node.label


@pytest.mark.parametrize('words', [('info', 'nobody'), ('install', 'nobody')])
def test_an_unknown_name_lists_the_known_ones(words, aiida_profile_clean):
    answer = run(*words, *(['-p', aiida_profile_clean.name] if words[0] == 'install' else []))
    assert answer.exit_code == 1 and "'nobody' is no file and no known name" in answer.output
